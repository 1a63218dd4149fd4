//! Records → a receiver. In: records of each signal, ticks, and replies to our own calls. Out: OTLP exports to one
//! Envoy cluster, at most `batch.maxInFlight` at once and `batch.maxQueueBytes` held, and a count for everything that
//! did not arrive. An exporter is shared by all root contexts of a worker that send to the same place, and outlives a
//! change of their configuration.

mod backoff;
mod date;
mod gzip;
mod reply;
mod request;
mod wire;

use std::collections::VecDeque;

use self::backoff::Backoff;
pub use self::reply::Reply;
use self::reply::Verdict;
use self::request::{Encoding, Request};
use crate::batch::{Batch, Offer, Payload};
use crate::config::{self, DropPolicy};
use crate::host::{Host, LogLevel, Status};
use crate::metric::{Meter, Portion};
use crate::otlp;
use crate::propagation::id::Generator;
use crate::stats::{Counter, Signal, Stats};

/// Names us to receivers, and to ourselves where a collector has a sidecar (OTLP exporter specification, "User Agent").
pub const USER_AGENT: &str =
    concat!("otelmesh/", env!("CARGO_PKG_VERSION"), " OTel-OTLP-Exporter-Rust/", env!("CARGO_PKG_VERSION"));

/// The shared number of the next writer of metrics in this process.
pub const WRITERS: &str = "otelmesh.writers";

/// How [`USER_AGENT`] begins in every version.
pub const USER_AGENT_PREFIX: &str = "otelmesh/";

pub use self::request::GRPC_PATHS;

/// Where exports go, and the bounds on the way: what makes two exporters the same.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// The receiver.
    pub exporter: config::Exporter,
    /// The bounds.
    pub batch: config::Batch,
    /// How exchanges are measured.
    pub metrics: config::Metrics,
    /// The encoded `Resource` of every export.
    pub resource: Vec<u8>,
}

/// One worker's way to one receiver.
#[derive(Debug)]
pub struct Exporter {
    target: Target,
    lanes: [Lane; Signal::ALL.len()],
    in_flight: Vec<InFlight>,
    backoff: Backoff,
    encoding: Encoding,
    health: Health,
    meter: Option<Meter>,
}

/// The records of one signal, oldest first: sealed ones, then those of the batch.
#[derive(Debug)]
struct Lane {
    signal: Signal,
    sealed: VecDeque<Payload>,
    batch: Batch,
}

#[derive(Debug)]
struct InFlight {
    token: u32,
    /// The root context that Envoy made the call for, and whose end would cancel it.
    root: u32,
    signal: Signal,
    payload: Payload,
    is_compressed: bool,
}

/// What the last export came to; only a change is worth a line in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Unknown,
    Up,
    Partial,
    Down,
}

/// How hard to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// What is full or has waited long enough, if the receiver is not known to be down.
    Usual,
    /// Everything, at once: there may be no later.
    Drain,
}

/// What an exporter works with.
pub struct Means<'a, H> {
    /// Envoy.
    pub host: &'a mut H,
    /// The books.
    pub stats: &'a mut Stats,
    /// Randomness for jitter.
    pub ids: &'a mut Generator,
    /// Unix time in nanoseconds.
    pub now: u64,
}

// === impl Lane ===

impl Lane {
    /// Since when the oldest record that can be dropped or sent has been here.
    fn since(&self) -> Option<u64> {
        self.sealed.front().map(|payload| payload.since).or_else(|| self.batch.since())
    }

    /// The oldest payload.
    fn take(&mut self) -> Option<Payload> {
        self.sealed.pop_front().or_else(|| self.batch.take())
    }
}

// === impl Exporter ===

impl Exporter {
    /// An exporter with nothing to send yet.
    pub fn new(target: Target) -> Self {
        let lane = |signal| Lane { signal, sealed: VecDeque::new(), batch: Batch::default() };
        Self {
            encoding: Encoding::new(target.exporter.compression),
            meter: Meter::new(&target.metrics),
            target,
            lanes: Signal::ALL.map(lane),
            in_flight: Vec::new(),
            backoff: Backoff::default(),
            health: Health::Unknown,
        }
    }

    /// Whether this exporter serves `target`.
    pub fn serves(&self, target: &Target) -> bool {
        self.target == *target
    }

    /// Takes an encoded record; answers whether a batch is full, so that it is time to [`Self::pump`].
    pub fn record(&mut self, signal: Signal, now: u64, stats: &mut Stats, record: &[u8]) -> bool {
        self.record_items(signal, now, 1, stats, record)
    }

    /// The same for a record that counts as several: the data points of a metric.
    fn record_items(&mut self, signal: Signal, now: u64, items: u32, stats: &mut Stats, record: &[u8]) -> bool {
        let ledger = signal.ledger();
        stats.add(ledger.recorded, u64::from(items));
        let limits = &self.target.batch;
        let room = match limits.drop_policy {
            DropPolicy::Newest => (limits.max_queue_bytes as usize).saturating_sub(self.bytes()),
            // Room is made afterwards, for as much as there is to make room for.
            DropPolicy::Oldest => usize::MAX,
        };
        let Some(lane) = self.lanes.iter_mut().find(|lane| lane.signal == signal) else { return false };
        let is_full = match lane.batch.offer(limits, room, now, items, record) {
            Offer::Taken => lane.batch.items() >= limits.max_export_batch_size,
            Offer::Sealed(payload) => {
                lane.sealed.push_back(payload);
                true
            }
            Offer::TooLarge => {
                stats.add(ledger.too_large, u64::from(items));
                false
            }
            Offer::NoRoom => {
                stats.add(ledger.queue_full, u64::from(items));
                false
            }
        };
        if limits.drop_policy == DropPolicy::Oldest {
            self.make_room(stats);
        }
        is_full
    }

    /// Where exchanges are measured; `None` where they are not.
    pub fn meter(&mut self) -> Option<&mut Meter> {
        self.meter.as_mut()
    }

    /// Turns what was measured into data points, once an interval, or for the last time.
    fn collect<H: Host>(&mut self, means: &mut Means<'_, H>, effort: Effort) {
        // As long as the last ones wait, more of them would only take the room of spans and logs: nothing is lost that
        // the meter still holds.
        let is_stuck = self.lanes.iter().any(|lane| lane.signal == Signal::Metrics && lane.since().is_some());
        let is_time = |meter: &Meter| match effort {
            Effort::Usual => meter.is_due(means.now) && !is_stuck,
            Effort::Drain => meter.is_fresh(),
        };
        let Some(mut meter) = self.meter.take_if(|meter| is_time(meter)) else { return };
        if meter.writer().is_none() {
            let number = means.host.next_number(WRITERS).map_or_else(|| means.ids.number() >> 32, u64::from);
            *meter.writer() = i64::try_from(number).ok();
        }
        let config::Batch { max_export_batch_size, max_export_batch_bytes, .. } = self.target.batch;
        let portion = Portion { points: max_export_batch_size, bytes: max_export_batch_bytes as usize / 4 };
        let Means { stats, now, .. } = means;
        meter.collect(*now, portion, &mut |points, metric| {
            self.record_items(Signal::Metrics, *now, points, stats, metric);
        });
        self.meter = Some(meter);
    }

    /// Drops whole batches, those that have waited longest first, until what is held is within bounds again.
    fn make_room(&mut self, stats: &mut Stats) {
        while self.bytes() > self.target.batch.max_queue_bytes as usize {
            let waiting = self.lanes.iter_mut().filter_map(|lane| Some((lane.since()?, lane)));
            let Some((_, lane)) = waiting.min_by_key(|(since, _)| *since) else { return };
            let Some(payload) = lane.take() else { return };
            stats.add(lane.signal.ledger().queue_full, u64::from(payload.items));
        }
    }

    /// Sends what is ready, on behalf of `root`.
    pub fn pump<H: Host>(&mut self, means: &mut Means<'_, H>, root: u32, effort: Effort) {
        self.collect(means, effort);
        loop {
            let may_send = match effort {
                Effort::Usual => {
                    // After a failure one call has to succeed before there are several again.
                    let cap = if self.backoff.is_reset() { self.target.batch.max_in_flight as usize } else { 1 };
                    self.in_flight.len() < cap && self.backoff.is_over(means.now)
                }
                Effort::Drain => true,
            };
            if !may_send {
                return;
            }
            let Some((signal, payload)) = self.next(means.now, effort) else { return };
            // After a failed drain the rest is tried too: each cluster call stands for itself.
            if !self.send(means, root, signal, payload, effort) && effort == Effort::Usual {
                return;
            }
        }
    }

    /// The next payload of the signal that has the fewest calls under way, so that neither waits for the other.
    fn next(&mut self, now: u64, effort: Effort) -> Option<(Signal, Payload)> {
        let Self { lanes, in_flight, target, .. } = self;
        let under_way = |signal| in_flight.iter().filter(|call| call.signal == signal).count();
        let ready = |lane: &&mut Lane| {
            !lane.sealed.is_empty()
                || lane.batch.should_flush(&target.batch, now)
                || (effort == Effort::Drain && lane.batch.items() > 0)
        };
        let lane = lanes.iter_mut().filter(ready).min_by_key(|lane| under_way(lane.signal))?;
        Some((lane.signal, lane.take()?))
    }

    /// Hands a payload to Envoy; answers whether that worked.
    fn send<H: Host>(
        &mut self,
        means: &mut Means<'_, H>,
        root: u32,
        signal: Signal,
        payload: Payload,
        effort: Effort,
    ) -> bool {
        let exporter = &self.target.exporter;
        let message = otlp::export_request(&self.target.resource, &payload.records);
        let request = Request::new(message, exporter.protocol, &mut self.encoding, means.host);
        match request.call(signal, exporter, means.host) {
            Ok(token) => {
                means.stats.count(Counter::ExportsStarted);
                let is_compressed = request.is_compressed;
                self.in_flight.push(InFlight { token, root, signal, payload, is_compressed });
                true
            }
            Err(status) => {
                let cause = match status {
                    Status::BAD_ARGUMENT => {
                        "Envoy has no such cluster; is the collector's Service visible to this proxy \
                         (Sidecar egress hosts, exportTo)?"
                    }
                    Status::INTERNAL_FAILURE => "the cluster has no healthy host; is the collector running?",
                    _ => "Envoy refused the call",
                };
                self.postpone(means, signal, payload, 0, effort);
                self.turn(means.host, Health::Down, cause);
                false
            }
        }
    }

    /// Takes the reply to the call `token`; answers the root context that the call was made for, or `None` where the
    /// token is not of this exporter.
    pub fn on_reply<H: Host>(
        &mut self,
        means: &mut Means<'_, H>,
        token: u32,
        reply: &Reply,
        effort: Effort,
    ) -> Option<u32> {
        let at = self.in_flight.iter().position(|call| call.token == token)?;
        // In order, so that what has to wait again does so in the order in which it was sent.
        let InFlight { root, signal, payload, is_compressed, .. } = self.in_flight.remove(at);
        let ledger = signal.ledger();
        match reply.verdict(self.target.exporter.protocol, means.now) {
            Verdict::Taken { rejected, message } => {
                let rejected = rejected.min(payload.items);
                means.stats.count(Counter::ExportsSucceeded);
                means.stats.add(ledger.rejected, u64::from(rejected));
                means.stats.add(ledger.exported, u64::from(payload.items.saturating_sub(rejected)));
                self.backoff.reset();
                if is_compressed {
                    self.encoding = Encoding::Gzip;
                }
                match rejected {
                    0 => self.turn(means.host, Health::Up, ""),
                    _ => self.turn(means.host, Health::Partial, &message),
                }
            }
            Verdict::Retry { cause, wait } => {
                self.postpone(means, signal, payload, wait, effort);
                self.turn(means.host, Health::Down, &cause);
            }
            // It may be the compression that it refuses; plain, it gets the same records once more.
            Verdict::Refused(_) if is_compressed && self.encoding != Encoding::Gzip && effort == Effort::Usual => {
                self.encoding = Encoding::Identity;
                means.stats.count(Counter::ExportsRetried);
                self.put_back(signal, payload);
            }
            Verdict::Refused(cause) => {
                means.stats.count(Counter::ExportsFailed);
                means.stats.add(ledger.export_failed, u64::from(payload.items));
                self.turn(means.host, Health::Down, &cause);
            }
        }
        Some(root)
    }

    /// Puts a payload back to where it came from, to be sent again after `wait` nanoseconds or more; where there is no
    /// later, it is lost.
    fn postpone<H: Host>(
        &mut self,
        means: &mut Means<'_, H>,
        signal: Signal,
        payload: Payload,
        wait: u64,
        effort: Effort,
    ) {
        if effort == Effort::Drain {
            means.stats.count(Counter::ExportsFailed);
            means.stats.add(signal.ledger().export_failed, u64::from(payload.items));
            return;
        }
        means.stats.count(Counter::ExportsRetried);
        self.backoff.fail(means.now, wait, means.ids.number());
        self.put_back(signal, payload);
    }

    fn put_back(&mut self, signal: Signal, payload: Payload) {
        if let Some(lane) = self.lanes.iter_mut().find(|lane| lane.signal == signal) {
            // Before all that came later, some of which may be back already.
            let at = lane.sealed.partition_point(|waiting| waiting.since < payload.since);
            lane.sealed.insert(at, payload);
        }
    }

    fn turn(&mut self, host: &mut impl Host, health: Health, detail: &str) {
        if health == self.health {
            return;
        }
        let cluster = &self.target.exporter.cluster;
        let (level, line) = match (self.health, health) {
            (Health::Unknown, Health::Up) => (LogLevel::Info, format!("otelmesh: exporting to {cluster}")),
            (_, Health::Up) => (LogLevel::Info, format!("otelmesh: exports to {cluster} succeed again")),
            (_, Health::Partial) => {
                (LogLevel::Warn, format!("otelmesh: {cluster} takes exports but rejects records: {detail}"))
            }
            (_, _) => (LogLevel::Warn, format!("otelmesh: cannot export to {cluster}: {detail}")),
        };
        self.health = health;
        host.log(level, &line);
    }

    /// Bytes of records held.
    pub(crate) fn bytes(&self) -> usize {
        let sealed = |lane: &Lane| lane.sealed.iter().map(|p| p.records.len()).sum::<usize>();
        let lanes: usize = self.lanes.iter().map(|lane| sealed(lane).saturating_add(lane.batch.bytes())).sum();
        let in_flight: usize = self.in_flight.iter().map(|call| call.payload.records.len()).sum();
        lanes.saturating_add(in_flight)
    }

    /// Records that wait or are under way.
    pub fn waiting(&self, signal: Signal) -> u64 {
        let lanes = self.lanes.iter().filter(|lane| lane.signal == signal);
        let waiting = lanes.map(|lane| {
            let sealed: u64 = lane.sealed.iter().map(|p| u64::from(p.items)).sum();
            sealed.saturating_add(u64::from(lane.batch.items()))
        });
        let in_flight = self.in_flight.iter().filter(|call| call.signal == signal);
        waiting.chain(in_flight.map(|call| u64::from(call.payload.items))).sum()
    }

    /// Whether a call that was made for `root` is under way.
    pub fn is_calling(&self, root: u32) -> bool {
        self.in_flight.iter().any(|call| call.root == root)
    }

    /// Gives up everything, measurements too: nobody is left to send it.
    pub fn close<H: Host>(mut self, means: &mut Means<'_, H>) {
        self.collect(means, Effort::Drain);
        means.stats.add(Counter::ExportsFailed, self.in_flight.len() as u64);
        for signal in Signal::ALL {
            means.stats.add(signal.ledger().shutdown, self.waiting(signal));
        }
    }
}
