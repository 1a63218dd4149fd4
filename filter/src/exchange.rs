//! One HTTP exchange. In: its request headers, then its end. Out: the headers that carry the trace on, then a span and
//! an access log. An exchange that ends before its headers were shown is recorded all the same, from what Envoy's log
//! phase still has.

use crate::attributes::{Kind, Request, Response};
use crate::config::{Config, Direction, Propagation};
use crate::export::{Exporter, USER_AGENT};
use crate::host::{Headers, Host, MapKind};
use crate::propagation::{self, Carrier, Format, Found, Parent, Propagators, SpanContext, id::Generator};
use crate::sampling::Sampler;
use crate::span::Exchange as Record;
use crate::stats::{Counter, Signal, Stats};
use crate::{log, otlp, span};

/// What all exchanges under one pluginConfig share.
#[derive(Debug)]
pub struct Settings {
    /// The pluginConfig.
    pub config: Config,
    /// Its sampling ratio, ready for use.
    pub sampler: Sampler,
    /// Its propagation, inbound and outbound.
    pub propagators: [Propagators; 2],
    /// The exporter, by its number among the worker's.
    pub exporter: u32,
}

/// An exchange under way.
#[derive(Debug)]
pub struct Exchange {
    /// The root context that it belongs to.
    pub root: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Its headers have not been shown yet.
    Fresh,
    /// To be recorded, maybe.
    Open(Box<Open>),
    /// Not ours to look at.
    Ignored,
}

#[derive(Debug)]
struct Open {
    context: SpanContext,
    parent: Option<Parent>,
    tracestate: String,
    start: u64,
    request: Request,
}

/// What an exchange works with.
pub struct Scene<'a, H> {
    /// Envoy.
    pub host: &'a mut H,
    /// The books.
    pub stats: &'a mut Stats,
    /// New ids.
    pub ids: &'a mut Generator,
}

// === impl Settings ===

impl Settings {
    /// Settings of a pluginConfig, for an exporter that is there already.
    pub fn new(config: Config, exporter: u32) -> Self {
        let Propagation { inbound, outbound, .. } = &config.propagation;
        let propagators = [inbound, outbound].map(|side| Propagators::of(&config.propagation, side));
        Self { sampler: Sampler::new(&config.sampling), propagators, exporter, config }
    }

    /// The propagation of the exchange at hand. Its direction is asked for only where that makes a difference.
    fn propagators(&self, host: &impl Host) -> &Propagators {
        let [inbound, outbound] = &self.propagators;
        if inbound != outbound && kind(self.config.direction, host) == Kind::Client { outbound } else { inbound }
    }
}

// === impl Exchange ===

impl Exchange {
    /// An exchange of which nothing is known yet.
    pub fn new(root: u32) -> Self {
        Self { root, state: State::Fresh }
    }

    /// The request's headers are there, and may be changed.
    pub fn on_request_headers<H: Host>(&mut self, settings: &Settings, scene: &mut Scene<'_, H>) {
        let Some(headers) = scene.host.headers(MapKind::RequestHeaders) else {
            scene.stats.count(Counter::HostErrors);
            return;
        };
        let start = scene.host.now();
        let propagators = settings.propagators(scene.host);
        let (state, found) = open(settings, propagators, scene, &headers, start);
        if let State::Open(open) = &state {
            for change in propagation::inject(propagators, &found, &open.context) {
                let name = change.name.as_str();
                let done = match &change.value {
                    Some(value) => scene.host.replace_request_header(name, value.as_bytes()),
                    None => scene.host.remove_request_header(name),
                };
                if done.is_err() {
                    scene.stats.count(Counter::HostErrors);
                }
            }
        }
        self.state = state;
    }

    /// The exchange is over; answers whether a batch is full.
    pub fn on_log<H: Host>(&mut self, settings: &Settings, scene: &mut Scene<'_, H>, exporter: &mut Exporter) -> bool {
        let open = match std::mem::replace(&mut self.state, State::Ignored) {
            State::Ignored => return false,
            State::Open(open) => open,
            State::Fresh => {
                scene.stats.count(Counter::ExchangesLogOnly);
                let headers = scene.host.headers(MapKind::RequestHeaders).unwrap_or_default();
                let start = integer(scene.host, &["request", "time"]).unwrap_or_else(|| scene.host.now());
                let propagators = settings.propagators(scene.host);
                match open(settings, propagators, scene, &headers, start).0 {
                    State::Open(open) => open,
                    _ => return false,
                }
            }
        };
        let wants_span = wants_span(settings, &open.context);
        let wants_log = settings.config.logs.enabled;
        if !wants_span && !wants_log {
            return false;
        }
        let kind = kind(settings.config.direction, scene.host);
        let response = response(scene.host, kind, open.request.grpc, wants_log);
        let end = scene.host.now().max(open.start);
        let record = Record {
            context: &open.context,
            parent: open.parent.as_ref(),
            tracestate: &open.tracestate,
            kind,
            start: open.start,
            end,
            request: &open.request,
            response: &response,
        };
        let mut full = false;
        if wants_span {
            full |= exporter.record(Signal::Traces, end, scene.stats, |buf| span::write(buf, &record));
        }
        if wants_log {
            full |= exporter.record(Signal::Logs, end, scene.stats, |buf| log::write(buf, &record));
        }
        full
    }
}

fn wants_span(settings: &Settings, context: &SpanContext) -> bool {
    settings.config.traces.enabled && context.flags.sampled()
}

/// Reads the context and begins our span.
fn open<H: Host>(
    settings: &Settings,
    propagators: &Propagators,
    scene: &mut Scene<'_, H>,
    headers: &Headers,
    start: u64,
) -> (State, Found) {
    let config = &settings.config;
    if is_own_export(config, headers) {
        scene.stats.count(Counter::ExchangesOwnExport);
        return (State::Ignored, Found::default());
    }
    let mut found = propagation::extract(&Carrier::of(headers), &propagators.extract);
    count(&found, scene.stats);
    let context = SpanContext::begin(&mut found, &settings.sampler, scene.ids);
    let recorded = wants_span(settings, &context) || config.logs.enabled;
    let open = Open {
        context,
        parent: found.parent,
        // Nothing of an exchange that leaves no record need be kept.
        tracestate: if recorded { found.tracestate.clone() } else { String::new() },
        start,
        request: if recorded { Request::of(headers) } else { Request::default() },
    };
    (State::Open(Box::new(open)), found)
}

/// A collector with a sidecar must not be asked to record that it was sent records.
fn is_own_export(config: &Config, headers: &Headers) -> bool {
    headers.get(b"user-agent").is_some_and(|agent| agent == USER_AGENT.as_bytes())
        && headers.get(b":path").is_some_and(|path| {
            [&config.exporter.traces_path, &config.exporter.logs_path].iter().any(|own| own.as_bytes() == path)
        })
}

fn count(found: &Found, stats: &mut Stats) {
    stats.count(if found.parent.is_some() { Counter::TracesContinued } else { Counter::TracesStarted });
    for format in &found.malformed {
        stats.count(match format {
            Format::TraceContext => Counter::MalformedTracecontext,
            Format::B3 => Counter::MalformedB3,
            Format::B3Multi => Counter::MalformedB3multi,
            Format::Jaeger => Counter::MalformedJaeger,
            Format::XRay => Counter::MalformedXray,
            Format::OtTrace => Counter::MalformedOttrace,
            Format::Baggage => continue,
        });
    }
    if found.conflict {
        stats.count(Counter::ConflictingContexts);
    }
    if found.tracestate_malformed {
        stats.count(Counter::MalformedTracestate);
    }
}

/// Envoy's `xds.listener_direction` (`TrafficDirection` of its API): 1 is inbound, 2 is outbound.
fn kind(direction: Direction, host: &impl Host) -> Kind {
    match direction {
        Direction::Inbound => Kind::Server,
        Direction::Outbound => Kind::Client,
        // Read for each exchange: Envoy may share one root context between listeners of both directions.
        Direction::Auto => match integer(host, &["xds", "listener_direction"]) {
            Some(2) => Kind::Client,
            _ => Kind::Server,
        },
    }
}

/// Reads the outcome; each property costs a crossing, so only what the records need.
fn response(host: &impl Host, kind: Kind, grpc: bool, sizes: bool) -> Response {
    let code = integer(host, &["response", "code"]).and_then(|code| u16::try_from(code).ok()).unwrap_or(0);
    let flags = integer(host, &["response", "flags"]).unwrap_or(0);
    let went_wrong = code == 0 || code >= 400 || flags != 0;
    let peer: &[&str] = match kind {
        Kind::Server => &["source", "address"],
        Kind::Client => &["upstream", "address"],
    };
    let size = |path: &[&str]| sizes.then(|| integer(host, path)).flatten();
    Response {
        code,
        flags,
        details: went_wrong.then(|| text(host, &["response", "code_details"])).flatten(),
        grpc_status: grpc
            .then(|| integer(host, &["response", "grpc_status"]))
            .flatten()
            .and_then(|s| s.try_into().ok()),
        protocol: text(host, &["request", "protocol"]),
        peer: text(host, peer),
        request_size: size(&["request", "size"]),
        response_size: size(&["response", "size"]),
    }
}

/// An integer, timestamp or duration attribute: eight bytes, little-endian.
fn integer(host: &impl Host, path: &[&str]) -> Option<u64> {
    Some(u64::from_le_bytes(host.property(path)?.try_into().ok()?))
}

fn text(host: &impl Host, path: &[&str]) -> Option<String> {
    Some(otlp::text(&host.property(path)?).into_owned()).filter(|text| !text.is_empty())
}
