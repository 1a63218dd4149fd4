//! An Envoy for tests, stricter than the real one: every hostcall that the real one would answer with an error in the
//! phase at hand, and every one that it would merely tolerate, is noted as a violation, and tests assert that there is
//! none.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::{Call, Headers, Host, LogLevel, MapKind, MetricKind, Status};

/// Which callback is running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Phase {
    /// A root context's own: creation, tick, done.
    #[default]
    Root,
    Configure,
    RequestHeaders,
    Log,
    CallResponse,
}

/// A call that the filter made.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) token: u32,
    pub(crate) cluster: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) phase: Phase,
}

#[derive(Debug, Default)]
pub(crate) struct Fake {
    pub(crate) phase: Phase,
    pub(crate) time: u64,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) config: Vec<u8>,
    pub(crate) request_headers: Vec<(String, Vec<u8>)>,
    pub(crate) response_headers: Vec<(String, Vec<u8>)>,
    pub(crate) reply_headers: Vec<(String, Vec<u8>)>,
    pub(crate) reply_body: Vec<u8>,
    pub(crate) reply_trailers: Vec<(String, Vec<u8>)>,
    pub(crate) shared: BTreeMap<String, Vec<u8>>,
    pub(crate) filter_state: BTreeMap<String, Vec<u8>>,
    pub(crate) lines: Vec<(LogLevel, String)>,
    pub(crate) tick_ms: u32,
    pub(crate) calls: Vec<Made>,
    /// What calls are answered with; `None` accepts them.
    pub(crate) refuse_calls: Option<Status>,
    /// Whether it offers compression.
    pub(crate) compresses: bool,
    /// What header writes are answered with.
    pub(crate) refuse_writes: Option<Status>,
    pub(crate) done: Vec<u32>,
    pub(crate) violations: RefCell<Vec<String>>,
    properties: BTreeMap<String, Vec<u8>>,
    metrics: Vec<(MetricKind, String, i64)>,
    tokens: u32,
}

// === impl Fake ===

impl Fake {
    pub(crate) fn set_property(&mut self, path: &[&str], value: &[u8]) {
        self.properties.insert(path.join("\0"), value.to_vec());
    }

    pub(crate) fn set_integer(&mut self, path: &[&str], value: u64) {
        self.set_property(path, &value.to_le_bytes());
    }

    pub(crate) fn clear_properties(&mut self, prefix: &str) {
        self.properties.retain(|path, _| !path.starts_with(prefix));
    }

    pub(crate) fn stat(&self, name: &str) -> i64 {
        self.metrics.iter().find(|(_, n, _)| n == name).map_or(0, |(_, _, value)| *value)
    }

    pub(crate) fn stats(&self) -> impl Iterator<Item = (&str, i64)> {
        self.metrics.iter().map(|(_, name, value)| (name.as_str(), *value))
    }

    fn require(&self, holds: bool, what: impl FnOnce() -> String) -> bool {
        if !holds {
            self.violations.borrow_mut().push(format!("{} in {:?}", what(), self.phase));
        }
        holds
    }

    fn write_headers(&mut self, name: &str) -> Result<(), Status> {
        if !self.require(self.phase == Phase::RequestHeaders, || format!("write of {name}")) {
            return Err(Status::BAD_ARGUMENT);
        }
        self.refuse_writes.map_or(Ok(()), Err)
    }
}

fn wire(pairs: &[(String, Vec<u8>)]) -> Headers {
    let mut out = (pairs.len() as u32).to_le_bytes().to_vec();
    for (name, value) in pairs {
        out.extend((name.len() as u32).to_le_bytes());
        out.extend((value.len() as u32).to_le_bytes());
    }
    for (name, value) in pairs {
        out.extend(name.as_bytes().iter().chain(b"\0").chain(value).chain(b"\0"));
    }
    Headers::from_wire(out)
}

impl Host for Fake {
    fn log(&mut self, level: LogLevel, message: &str) {
        self.lines.push((level, message.to_owned()));
    }

    fn now(&self) -> u64 {
        self.time
    }

    fn random(&mut self, seed: &mut [u8]) {
        seed.fill(42);
    }

    fn env(&self, name: &str) -> Option<String> {
        self.env.get(name).cloned()
    }

    fn configuration(&self) -> Option<Vec<u8>> {
        self.require(self.phase == Phase::Configure, || "configuration".into()).then(|| self.config.clone())
    }

    fn headers(&self, map: MapKind) -> Option<Headers> {
        let (pairs, phases): (_, &[Phase]) = match map {
            MapKind::RequestHeaders => (&self.request_headers, &[Phase::RequestHeaders, Phase::Log]),
            MapKind::ResponseHeaders => (&self.response_headers, &[Phase::Log]),
            MapKind::CallResponseHeaders => (&self.reply_headers, &[Phase::CallResponse]),
            MapKind::CallResponseTrailers => (&self.reply_trailers, &[Phase::CallResponse]),
        };
        self.require(phases.contains(&self.phase), || format!("{map:?}")).then(|| wire(pairs))
    }

    fn call_response_body(&self, limit: usize) -> Option<Vec<u8>> {
        let readable = self.require(self.phase == Phase::CallResponse, || "reply body".into());
        readable.then(|| self.reply_body.iter().take(limit).copied().collect())
    }

    fn replace_request_header(&mut self, name: &str, value: &[u8]) -> Result<(), Status> {
        self.write_headers(name)?;
        self.require(!value.is_empty(), || format!("empty {name}"));
        self.request_headers.retain(|(n, _)| n != name);
        self.request_headers.push((name.to_owned(), value.to_vec()));
        Ok(())
    }

    fn remove_request_header(&mut self, name: &str) -> Result<(), Status> {
        self.write_headers(name)?;
        let before = self.request_headers.len();
        self.request_headers.retain(|(n, _)| n != name);
        self.require(self.request_headers.len() < before, || format!("needless removal of {name}"));
        Ok(())
    }

    fn property(&self, path: &str) -> Option<Vec<u8>> {
        let root = path.split('\0').next()?;
        let readable = match root {
            "response" | "upstream" => self.phase == Phase::Log,
            "request" | "source" | "connection" => matches!(self.phase, Phase::Log | Phase::RequestHeaders),
            "xds" | "plugin_name" => true,
            _ => false,
        };
        self.require(readable, || path.replace('\0', ".")).then(|| self.properties.get(path).cloned()).flatten()
    }

    fn set_property(&mut self, name: &str, value: &[u8]) -> Result<(), Status> {
        self.require(self.phase == Phase::RequestHeaders, || format!("set {name}"));
        self.filter_state.insert(name.to_owned(), value.to_vec());
        Ok(())
    }

    fn shared(&self, key: &str) -> Option<Vec<u8>> {
        self.require(key.starts_with("otelmesh."), || format!("shared key {key} without our prefix"));
        self.shared.get(key).cloned()
    }

    fn set_shared(&mut self, key: &str, value: &[u8]) {
        self.require(key.starts_with("otelmesh."), || format!("shared key {key} without our prefix"));
        self.shared.insert(key.to_owned(), value.to_vec());
    }

    fn next_number(&mut self, key: &str) -> Option<u32> {
        let now = self.shared.get(key).cloned();
        self.require(now.is_some(), || format!("number of {key}, which is not there"));
        let number = u32::from_le_bytes(now?.try_into().ok()?);
        self.set_shared(key, &number.checked_add(1)?.to_le_bytes());
        Some(number)
    }

    fn define_metric(&mut self, kind: MetricKind, name: &str) -> Result<u32, Status> {
        let known = self.metrics.iter().position(|(_, n, _)| n == name);
        let id = known.unwrap_or_else(|| {
            self.metrics.push((kind, name.to_owned(), 0));
            self.metrics.len() - 1
        });
        Ok(id as u32)
    }

    fn increment_metric(&mut self, id: u32, by: i64) -> Result<(), Status> {
        let Some((kind, name, value)) = self.metrics.get_mut(id as usize) else { return Err(Status::NOT_FOUND) };
        if *kind == MetricKind::Counter && by <= 0 {
            self.violations.borrow_mut().push(format!("counter {name} raised by {by}"));
            return Err(Status::BAD_ARGUMENT);
        }
        *value += by;
        Ok(())
    }

    fn set_tick_period(&mut self, ms: u32) {
        self.require(ms > 0, || "no tick".into());
        self.tick_ms = ms;
    }

    fn call(&mut self, call: &Call<'_>) -> Result<u32, Status> {
        let has = |name| call.headers.iter().any(|(n, v)| *n == name && !v.is_empty());
        let whole = [":method", ":path", ":authority"].into_iter().all(has);
        if !self.require(whole && call.timeout_ms > 0 && !call.cluster.is_empty(), || format!("call {call:?}")) {
            return Err(Status::BAD_ARGUMENT);
        }
        if let Some(status) = self.refuse_calls {
            return Err(status);
        }
        self.tokens += 1;
        self.calls.push(Made {
            token: self.tokens,
            cluster: call.cluster.to_owned(),
            headers: call.headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
            body: call.body.to_vec(),
            phase: self.phase,
        });
        Ok(self.tokens)
    }

    fn compress(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        self.compresses.then(|| encoder.write_all(bytes).and_then(|()| encoder.finish()).unwrap())
    }

    fn done(&mut self, id: u32) {
        self.done.push(id);
    }
}
