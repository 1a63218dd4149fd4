//! A host that answers as it is told, or with an error, or with rubbish. In: bytes, one for each answer; what lies beyond
//! them is answered well. Out: the filter's stats, which must add up whatever was answered.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use otelmesh_filter::host::{Call, Headers, Host, LogLevel, MapKind, MetricKind, Status};
use otelmesh_filter::plugin::Plugin;

/// A handle on it, which the plugin and the harness share.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hostile(Rc<RefCell<State>>);

#[derive(Debug, Default)]
struct State {
    /// What the next answers are, last one first.
    answers: Vec<u8>,
    time: u64,
    config: Vec<u8>,
    request: Headers,
    response: Headers,
    reply: Headers,
    trailers: Headers,
    body: Vec<u8>,
    shared: BTreeMap<String, Vec<u8>>,
    metrics: Vec<(MetricKind, String, i64)>,
    /// Whether a stat could not be defined, without which books cannot be read.
    is_blind: bool,
    calls: Vec<u32>,
    tokens: u32,
}

// === impl Hostile ===

impl Hostile {
    pub(crate) fn new(config: Vec<u8>) -> Self {
        let host = Self::default();
        host.set_config(config);
        host.advance(1_700_000_000_000_000_000);
        host
    }

    pub(crate) fn turn(&self, mut answers: Vec<u8>) {
        answers.reverse();
        self.0.borrow_mut().answers = answers;
    }

    pub(crate) fn set_config(&self, config: Vec<u8>) {
        self.0.borrow_mut().config = config;
    }

    pub(crate) fn set_request(&self, request: Headers, response: Headers) {
        let mut state = self.0.borrow_mut();
        (state.request, state.response) = (request, response);
    }

    pub(crate) fn set_reply(&self, reply: Headers, trailers: Headers, body: Vec<u8>) {
        let mut state = self.0.borrow_mut();
        (state.reply, state.trailers, state.body) = (reply, trailers, body);
    }

    pub(crate) fn advance(&self, nanos: u64) {
        let mut state = self.0.borrow_mut();
        state.time = state.time.saturating_add(nanos);
    }

    pub(crate) fn take_calls(&self) -> Vec<u32> {
        std::mem::take(&mut self.0.borrow_mut().calls)
    }

    /// Asserts that for each signal recorded = exported + rejected + dropped + waiting, once the host answers well.
    /// Answers how many records were exported, rejected or dropped.
    pub(crate) fn assert_balanced(&self, plugin: &mut Plugin<Self>) -> i64 {
        self.turn(Vec::new());
        plugin.on_tick(u32::MAX);
        let state = self.0.borrow();
        if state.is_blind {
            return 0;
        }
        let mut gone = 0;
        for noun in ["spans", "logs", "data_points"] {
            let prefix = format!("otelmesh_{noun}_");
            let of = |suffix: &str| {
                let stats = state.metrics.iter().filter(|(_, name, _)| name.starts_with(&prefix));
                stats.filter(|(_, name, _)| name.contains(suffix)).map(|(_, _, value)| value).sum::<i64>()
            };
            assert!(state.metrics.iter().all(|(_, _, value)| *value >= 0), "{:?}", state.metrics);
            let [waiting, rest @ ..] = ["_waiting", "_exported", "_rejected", "_dropped_"].map(of);
            let rest = rest.iter().sum::<i64>();
            assert_eq!(of("_recorded"), rest + waiting, "{noun}: {:?}", state.metrics);
            gone += rest;
        }
        gone
    }

    /// The next decision: below 200 all is well.
    fn roll(&self) -> u8 {
        self.0.borrow_mut().answers.pop().unwrap_or(0)
    }

    fn status(&self) -> Result<(), Status> {
        match self.roll() {
            0..200 => Ok(()),
            other => Err(Status(u32::from(other - 199))),
        }
    }

    /// What was asked for, or nothing, or bytes that nobody expects.
    fn bytes(&self, otherwise: impl FnOnce(&State) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
        match self.roll() {
            0..200 => otherwise(&self.0.borrow()),
            200..228 => None,
            other => Some(vec![other; usize::from(self.roll())]),
        }
    }
}

impl Host for Hostile {
    fn log(&mut self, _level: LogLevel, message: &str) {
        assert!(message.len() < 64 * 1024, "a line of {} bytes", message.len());
    }

    fn now(&self) -> u64 {
        match self.roll() {
            0..230 => self.0.borrow().time,
            230..240 => 0,
            240..250 => u64::MAX,
            other => self.0.borrow().time.wrapping_sub(u64::from(other) << 32),
        }
    }

    fn random(&mut self, seed: &mut [u8]) {
        seed.fill(self.roll());
    }

    fn env(&self, name: &str) -> Option<String> {
        (self.roll() >= 128).then(|| name.repeat(usize::from(self.roll())))
    }

    fn configuration(&self) -> Option<Vec<u8>> {
        self.bytes(|state| Some(state.config.clone()))
    }

    fn headers(&self, map: MapKind) -> Option<Headers> {
        let state = self.0.borrow();
        let headers = match map {
            MapKind::RequestHeaders => &state.request,
            MapKind::ResponseHeaders => &state.response,
            MapKind::CallResponseHeaders => &state.reply,
            MapKind::CallResponseTrailers => &state.trailers,
        };
        let headers = headers.clone();
        drop(state);
        match self.roll() {
            0..200 => Some(headers),
            200..228 => None,
            other => Some(Headers::from_wire(vec![other; usize::from(self.roll())])),
        }
    }

    fn call_response_body(&self, limit: usize) -> Option<Vec<u8>> {
        self.bytes(|state| Some(state.body.iter().take(limit).copied().collect()))
    }

    fn replace_request_header(&mut self, _name: &str, value: &[u8]) -> Result<(), Status> {
        assert!(!value.is_empty() && value.iter().all(|b| *b >= b' '), "{}", String::from_utf8_lossy(value));
        self.status()
    }

    fn remove_request_header(&mut self, _name: &str) -> Result<(), Status> {
        self.status()
    }

    fn set_property(&mut self, _name: &str, value: &[u8]) -> Result<(), Status> {
        assert!(!value.is_empty(), "an empty property");
        self.status()
    }

    fn property(&self, path: &str) -> Option<Vec<u8>> {
        let last = path.rsplit('\0').next();
        let number = matches!(last, Some("code" | "duration" | "time" | "flags" | "listener_direction"));
        match self.roll() {
            0..100 => None,
            100..180 if number => Some(u64::from(self.roll()).wrapping_mul(0x0101_0101).to_le_bytes().to_vec()),
            other => Some(vec![other; usize::from(self.roll() % 32)]),
        }
    }

    fn shared(&self, key: &str) -> Option<Vec<u8>> {
        self.bytes(|state| state.shared.get(key).cloned())
    }

    fn set_shared(&mut self, key: &str, value: &[u8]) {
        self.0.borrow_mut().shared.insert(key.to_owned(), value.to_vec());
    }

    fn next_number(&mut self, _key: &str) -> Option<u32> {
        (self.roll() < 128).then(|| u32::from(self.roll()))
    }

    fn define_metric(&mut self, kind: MetricKind, name: &str) -> Result<u32, Status> {
        if let Err(status) = self.status() {
            self.0.borrow_mut().is_blind = true;
            return Err(status);
        }
        let mut state = self.0.borrow_mut();
        let known = state.metrics.iter().position(|(_, n, _)| n == name);
        let id = known.unwrap_or_else(|| {
            state.metrics.push((kind, name.to_owned(), 0));
            state.metrics.len() - 1
        });
        Ok(id as u32)
    }

    fn increment_metric(&mut self, id: u32, by: i64) -> Result<(), Status> {
        self.status()?;
        let mut state = self.0.borrow_mut();
        let (kind, name, value) = state.metrics.get_mut(id as usize).ok_or(Status::NOT_FOUND)?;
        assert!(*kind == MetricKind::Gauge || by > 0, "counter {name} raised by {by}");
        *value += by;
        Ok(())
    }

    fn set_tick_period(&mut self, ms: u32) {
        assert!(ms > 0, "a period of none ends the ticks");
    }

    fn call(&mut self, call: &Call<'_>) -> Result<u32, Status> {
        assert!(call.timeout_ms > 0, "a call without an end");
        self.status()?;
        let mut state = self.0.borrow_mut();
        state.tokens += 1;
        let token = state.tokens;
        state.calls.push(token);
        Ok(token)
    }

    fn compress(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        // Not what zlib would make of it, but in its envelope.
        self.bytes(|_| Some([&[0x78, 0x9c][..], bytes, &[0; 4]].concat()))
    }

    fn done(&mut self, _id: u32) {}
}
