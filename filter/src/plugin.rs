//! The callbacks of one VM, that is of one worker thread. In: Envoy's context ids and events. Out: the same events to
//! the exchange or the exporter that they are for. Knows no error: a configuration that cannot be used switches its root
//! context off, an id that is not known is passed over.

use crate::config::{Config, MAX_LIVE_EXCHANGES};
use crate::exchange::{Exchange, Scene};
use crate::export::{Effort, Exporter, Means, Reply, Target, WRITERS};
use crate::hash;
use crate::host::{Host, LogLevel, MapKind};
use crate::otlp::Buffer;
use crate::propagation::id::Generator;
use crate::resource;
use crate::settings::Settings;
use crate::stats::{Counter, Signal, Stats};
use crate::table::Table;

/// Milliseconds between two heartbeats, and nanoseconds.
const HEARTBEAT_MS: u32 = 1_000;
const HEARTBEAT: u64 = HEARTBEAT_MS as u64 * 1_000_000;
/// No tick is so late: the clock was set.
const CLOCK_SET: u64 = 60 * HEARTBEAT;

/// Everything that a worker remembers. Batches live here, not in a root context, so that inbound and outbound share
/// them and a change of configuration does not lose them.
pub struct Plugin<H> {
    pub(crate) host: H,
    ids: Generator,
    stats: Stats,
    roots: Table<Root>,
    /// Root contexts of exchanges that began while there were several.
    parents: Table<u32>,
    exchanges: Table<Exchange>,
    exporters: Table<Exporter>,
    next_exporter: u32,
    /// Until when heartbeats are counted.
    beaten: u64,
    scratch: Buffer,
}

/// A root context: one pluginConfig at work.
struct Root {
    /// `None` where the filter is off.
    settings: Option<Settings>,
    /// Envoy wants to be rid of it, and waits until we are done.
    draining: bool,
}

// === impl Plugin ===

impl<H: Host> Plugin<H> {
    /// A worker without any context yet.
    pub fn new(mut host: H) -> Self {
        let mut seed = [0; 32];
        host.random(&mut seed);
        let beaten = host.now();
        // Should the host have no randomness, workers still differ by the time of their start.
        for (byte, time) in seed.iter_mut().zip(beaten.to_le_bytes()) {
            *byte ^= time;
        }
        Self {
            host,
            ids: Generator::seeded(seed),
            stats: Stats::default(),
            roots: Table::for_about(4),
            parents: Table::for_about(16),
            exchanges: Table::for_about(256),
            exporters: Table::for_about(1),
            next_exporter: 0,
            beaten,
            scratch: Buffer::default(),
        }
    }

    /// A root context where `parent` is 0, else an exchange. Nearly always there is one root context, which is the parent of
    /// all of them; another one is on its way out, or belongs to another filter.
    pub fn on_context_create(&mut self, id: u32, parent: u32) {
        if parent != 0 && self.roots.len() > 1 && self.parents.len() < MAX_LIVE_EXCHANGES {
            self.parents.insert(id, parent);
        }
    }

    /// The root context of an exchange. Of one that began when there was one alone, it is the oldest: Envoy counts ids up,
    /// and keeps it for as long as the exchange is there.
    fn root_of(&self, id: u32) -> Option<u32> {
        self.parents.get(&id).copied().or_else(|| self.roots.iter().map(|(id, _)| *id).min())
    }

    /// Reads the pluginConfig of a root context. Never refuses one: see [`Config::parse`].
    pub fn on_configure(&mut self, id: u32) {
        let json = self.host.configuration().unwrap_or_default();
        let settings = match Config::parse(&json) {
            Ok(config) => {
                if self.is_news("ok", &json) {
                    let line =
                        format!("otelmesh {}: on, exporting to {}", env!("CARGO_PKG_VERSION"), config.exporter.cluster);
                    self.host.log(LogLevel::Info, &line);
                }
                // Heartbeats that come late look like a worker that has none.
                self.host.set_tick_period(HEARTBEAT_MS.min(config.batch.schedule_delay.0 / 2));
                Some(self.settle(config))
            }
            Err(error) => {
                if self.is_news("rejected", &json) {
                    self.stats.count(Counter::ConfigRejected);
                    let line = format!(
                        "otelmesh {}: off, the pluginConfig cannot be used: {error}. Traffic is not affected; \
                         correct it and apply it again",
                        env!("CARGO_PKG_VERSION")
                    );
                    self.host.log(LogLevel::Error, &line);
                }
                // It beats all the same: a refusal has its own counter, and is no trap.
                self.host.set_tick_period(HEARTBEAT_MS);
                None
            }
        };
        self.roots.insert(id, Root { settings, draining: false });
        self.publish();
    }

    /// Whether no worker of this process has said the same of the same configuration last.
    fn is_news(&mut self, verdict: &str, json: &[u8]) -> bool {
        let name = self.host.property("plugin_name").unwrap_or_default();
        let key = format!("otelmesh.config.{}", String::from_utf8_lossy(&name));
        let said = format!("{verdict} {:08x}", hash::of(0, json));
        if self.host.shared(&key).as_deref() == Some(said.as_bytes()) {
            return false;
        }
        self.host.set_shared(&key, said.as_bytes());
        true
    }

    fn settle(&mut self, config: Config) -> Settings {
        let target = Target {
            exporter: config.exporter.clone(),
            batch: config.batch.clone(),
            metrics: config.metrics.clone(),
            resource: resource::encode(&config.resource, &self.host),
        };
        // Envoy configures its main thread first, so this is there before workers count it up.
        if config.metrics.enabled && self.host.shared(WRITERS).is_none() {
            self.host.set_shared(WRITERS, &0u32.to_le_bytes());
        }
        let known = self.exporters.iter().find(|(_, exporter)| exporter.serves(&target)).map(|(id, _)| *id);
        let exporter = known.unwrap_or_else(|| {
            let id = self.next_exporter;
            self.next_exporter = id.wrapping_add(1);
            self.exporters.insert(id, Exporter::new(target));
            id
        });
        Settings::new(config, exporter, &self.host)
    }

    /// Time to look whether something has waited for long enough.
    pub fn on_tick(&mut self, id: u32) {
        // A root context on its way out begins no more calls, which would only keep it.
        if self.roots.get(&id).is_some_and(|root| !root.draining) {
            let mut means = means(&mut self.host, &mut self.stats, &mut self.ids);
            for exporter in self.exporters.values_mut() {
                exporter.pump(&mut means, id, Effort::Usual);
            }
        }
        self.beat();
        self.publish();
    }

    /// A VM that trapped is gone without a word, so each one says that it is there. Counted by the clock, not by ticks,
    /// which come for each root context and now and then late.
    fn beat(&mut self) {
        let now = self.host.now();
        match now.checked_sub(self.beaten) {
            Some(passed) if passed < CLOCK_SET => {
                let beats = passed / HEARTBEAT;
                self.stats.add(Counter::Heartbeats, beats);
                self.beaten = self.beaten.saturating_add(beats.saturating_mul(HEARTBEAT));
            }
            _ => self.beaten = now,
        }
    }

    /// A request's headers are there, and, where it `ends` with them, all of it.
    pub fn on_request_headers(&mut self, id: u32, ends: bool) {
        let Some(root) = self.root_of(id) else { return };
        let Some(settings) = self.roots.get(&root).and_then(|root| root.settings.as_ref()) else { return };
        let Self { host, stats, ids, scratch, .. } = self;
        if self.exchanges.len() >= MAX_LIVE_EXCHANGES {
            stats.count(Counter::ExchangesOverLimit);
            return;
        }
        let mut scene = Scene { host, stats, ids, scratch };
        let Some(mut exchange) = Exchange::begin(settings, &mut scene, ends) else { return };
        if settings.config.metrics.active_requests {
            exchange.enter(settings.exporter, self.exporters.get_mut(&settings.exporter));
        }
        self.exchanges.insert(id, exchange);
    }

    /// An exchange is over. Envoy logs it before it is done with it.
    pub fn on_log(&mut self, id: u32) {
        let mut exchange = self.exchanges.remove(&id);
        if let Some(exchange) = &mut exchange {
            exchange.leave(&mut self.exporters);
        }
        let Some(root) = self.root_of(id) else { return };
        self.parents.remove(&id);
        let Some(settings) = self.roots.get(&root).and_then(|root| root.settings.as_ref()) else { return };
        let Some(exporter) = self.exporters.get_mut(&settings.exporter) else { return };
        let Self { host, stats, ids, scratch, .. } = self;
        let mut scene = Scene { host, stats, ids, scratch };
        let exchange = exchange.unwrap_or_else(|| Exchange::late(settings, &mut scene));
        if exchange.end(settings, &mut scene, exporter) {
            // Envoy makes a call from a stream on behalf of its root context, so it outlives the stream.
            let mut means = means(&mut self.host, &mut self.stats, &mut self.ids);
            exporter.pump(&mut means, root, Effort::Usual);
        }
    }

    /// A reply to an export, or the news that there will be none: then there are no headers.
    pub fn on_call_response(&mut self, token: u32, headers: u32, body: u32, trailers: u32) {
        let mut reply = Reply::default();
        if headers > 0 {
            reply.headers = Some(self.host.headers(MapKind::CallResponseHeaders).unwrap_or_default());
            reply.body_len = body as usize;
            if body > 0 {
                reply.body = self.host.call_response_body(Reply::BODY_LIMIT).unwrap_or_default();
            }
            if trailers > 0 {
                reply.trailers = self.host.headers(MapKind::CallResponseTrailers).unwrap_or_default();
            }
        }
        let mut means = means(&mut self.host, &mut self.stats, &mut self.ids);
        let answered = self.exporters.iter_mut().find_map(|(id, exporter)| {
            let effort = effort(&self.roots, *id);
            let root = exporter.on_reply(&mut means, token, &reply, effort)?;
            let is_draining = self.roots.get(&root).is_some_and(|root| root.draining);
            // A root context on its way out is kept no longer than it has to be: another one sends the rest.
            if !is_draining || effort == Effort::Drain {
                exporter.pump(&mut means, root, effort);
            }
            Some((root, is_draining))
        });
        self.publish();
        // It may have made calls for other exporters too.
        if let Some((root, true)) = answered
            && !self.exporters.values().any(|exporter| exporter.is_calling(root))
        {
            self.host.done(root);
            self.forget(root);
        }
    }

    /// Envoy wants to be rid of a context; answers whether it may go at once.
    pub fn on_done(&mut self, id: u32) -> bool {
        let Some(root) = self.roots.get_mut(&id) else {
            // An exchange, which may never have been logged.
            self.parents.remove(&id);
            if let Some(mut exchange) = self.exchanges.remove(&id) {
                exchange.leave(&mut self.exporters);
            }
            return true;
        };
        root.draining = true;
        if self.roots.values().all(|root| root.draining) {
            // With its last root context Envoy destroys the VM, whatever is answered here, and cancels its calls; nothing
            // that is counted later would be seen.
            self.roots.remove(&id);
            self.close(|_| true);
            return true;
        }
        let mut means = means(&mut self.host, &mut self.stats, &mut self.ids);
        let mut calling = false;
        for (exporter_id, exporter) in self.exporters.iter_mut() {
            // What another root context can still send need not be hurried.
            if effort(&self.roots, *exporter_id) == Effort::Drain {
                exporter.pump(&mut means, id, Effort::Drain);
            }
            calling |= exporter.is_calling(id);
        }
        self.publish();
        if !calling {
            self.forget(id);
        }
        !calling
    }

    /// A root context is gone, and with it exporters that no other one has.
    fn forget(&mut self, id: u32) {
        self.roots.remove(&id);
        let used: Vec<u32> = self.roots.values().filter_map(|r| r.settings.as_ref()).map(|s| s.exporter).collect();
        self.close(|exporter| !used.contains(&exporter));
    }

    /// Gives up exporters.
    fn close(&mut self, which: impl Fn(u32) -> bool) {
        let ids: Vec<u32> = self.exporters.iter().map(|(id, _)| *id).filter(|id| which(*id)).collect();
        for exporter in ids.iter().filter_map(|id| self.exporters.remove(id)).collect::<Vec<_>>() {
            exporter.close(&mut means(&mut self.host, &mut self.stats, &mut self.ids));
        }
        self.publish();
    }

    fn publish(&mut self) {
        let waiting = |signal| self.exporters.values().map(|exporter| exporter.waiting(signal)).sum();
        self.stats.publish(&mut self.host, Signal::ALL.map(waiting));
    }
}

/// Whether an exporter has a root context left that will send for it later.
fn effort(roots: &Table<Root>, exporter: u32) -> Effort {
    let serves = |root: &Root| !root.draining && root.settings.as_ref().is_some_and(|s| s.exporter == exporter);
    if roots.values().any(serves) { Effort::Usual } else { Effort::Drain }
}

fn means<'a, H: Host>(host: &'a mut H, stats: &'a mut Stats, ids: &'a mut Generator) -> Means<'a, H> {
    let now = host.now();
    Means { host, stats, ids, now }
}

#[cfg(test)]
mod tests;
