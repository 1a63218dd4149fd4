//! One HTTP exchange. In: its request headers, then its end. Out: the headers that carry the trace on, then a span and
//! an access log. An exchange that ends before its headers were shown is recorded all the same, from what Envoy's log
//! phase still has.

use crate::attributes::custom::Custom;
use crate::attributes::{Kind, Request, Response};
use crate::config::pattern::PathTemplate;
use crate::config::{Config, Direction, Exporter, LogPolicy, Propagation};
use crate::export::USER_AGENT;
use crate::host::{Headers, Host, MapKind};
use crate::propagation::id::Generator;
use crate::propagation::{Carrier, Change, Decision, Format, Found, Parent, Propagators, SpanContext};
use crate::route::Routes;
use crate::sampling::Sampler;
use crate::sampling::keep::Keep;
use crate::sampling::rules::{self, Rule};
use crate::span::Exchange as Record;
use crate::stats::{Counter, Signal, Stats};
use crate::{log, otlp, span};

/// What all exchanges under one pluginConfig share.
#[derive(Debug)]
pub struct Settings {
    /// The exporter, by its number among the worker's.
    pub exporter: u32,
    config: Config,
    /// Inbound and outbound.
    propagators: [Propagators; 2],
    sampler: Sampler,
    rules: Vec<Rule>,
    log_sampler: Sampler,
    keep: Keep,
    excluded_paths: Vec<PathTemplate>,
    routes: Routes,
    custom: Vec<Custom>,
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
    link: Option<Parent>,
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
    pub fn new(config: Config, exporter: u32, host: &impl Host) -> Self {
        let Propagation { inbound, outbound, .. } = &config.propagation;
        let of = |side, kind| Propagators::of(&config.propagation, side, kind);
        Self {
            exporter,
            propagators: [of(inbound, Kind::Server), of(outbound, Kind::Client)],
            sampler: Sampler::new(config.sampling.ratio),
            rules: config.sampling.rules.iter().filter_map(Rule::new).collect(),
            log_sampler: Sampler::new(config.logs.ratio),
            keep: Keep::new(&config.sampling.keep),
            routes: Routes::new(&config.routes),
            custom: config.attributes.iter().filter_map(|a| Custom::new(a, |name| host.env(name))).collect(),
            excluded_paths: config.exclude.paths.iter().filter_map(|p| PathTemplate::parse(p)).collect(),
            config,
        }
    }

    /// The direction of the exchange at hand, asked for only where it makes a difference already.
    fn early_kind(&self, host: &impl Host) -> Kind {
        let [inbound, outbound] = &self.propagators;
        let matters = inbound != outbound || !self.rules.is_empty();
        if matters { kind(self.config.direction, host) } else { Kind::Server }
    }

    fn propagators(&self, kind: Kind) -> &Propagators {
        let [inbound, outbound] = &self.propagators;
        if kind == Kind::Client { outbound } else { inbound }
    }

    fn excludes(&self, headers: &Headers) -> bool {
        let agent = headers.get(b"user-agent").unwrap_or_default();
        let path = headers.get(b":path").unwrap_or_default();
        let path = path.split(|b| *b == b'?').next().unwrap_or_default();
        let path = std::str::from_utf8(path).unwrap_or_default();
        self.excluded_paths.iter().any(|template| template.matches(path))
            || self.config.exclude.user_agents.iter().any(|prefix| agent.starts_with(prefix.as_bytes()))
    }

    /// Everything of a request that its records will need.
    fn capture(&self, headers: &Headers, request: Option<Request>) -> Request {
        let mut request = request.unwrap_or_else(|| Request::of(headers));
        request.route = self.routes.of(request.url_path());
        request.custom = self.custom.iter().filter_map(|custom| custom.fill(headers, false)).collect();
        request
    }

    /// A collector with a sidecar must not be asked to record that it was sent records.
    fn is_own_export(&self, headers: &Headers) -> bool {
        let Exporter { traces_path, logs_path, .. } = &self.config.exporter;
        headers.get(b"user-agent").is_some_and(|agent| agent == USER_AGENT.as_bytes())
            && headers
                .get(b":path")
                .is_some_and(|path| [traces_path, logs_path].iter().any(|own| own.as_bytes() == path))
    }

    fn records_spans(&self, context: &SpanContext) -> bool {
        self.config.traces.enabled && context.flags.sampled()
    }

    /// Whether an exchange may leave a record, as far as that is known at its beginning.
    fn may_record(&self, context: &SpanContext) -> bool {
        self.config.logs.enabled || self.records_spans(context) || (self.config.traces.enabled && self.keep.is_on())
    }

    /// Whether a finished exchange has an access log.
    fn records_log(&self, context: &SpanContext, failed: bool, has_span: bool) -> bool {
        let logs = &self.config.logs;
        let is_due = match logs.policy {
            LogPolicy::All => true,
            LogPolicy::Sampled => context.flags.sampled(),
            LogPolicy::Errors => failed,
        };
        logs.enabled
            && is_due
            && !(logs.skip_with_span && has_span)
            && (failed || self.log_sampler.keeps(context.trace_id))
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
        let (state, changes) = open(settings, scene, &headers, start);
        for change in changes {
            let name = change.name.as_str();
            let done = match &change.value {
                Some(value) => scene.host.replace_request_header(name, value.as_bytes()),
                None => scene.host.remove_request_header(name),
            };
            if done.is_err() {
                scene.stats.count(Counter::HostErrors);
            }
        }
        self.state = state;
    }

    /// The exchange is over; answers whether a batch is full.
    pub fn on_log<H: Host>(
        &mut self,
        settings: &Settings,
        scene: &mut Scene<'_, H>,
        exporter: &mut crate::export::Exporter,
    ) -> bool {
        let mut open = match std::mem::replace(&mut self.state, State::Ignored) {
            State::Ignored => return false,
            State::Open(open) => open,
            State::Fresh => {
                scene.stats.count(Counter::ExchangesLogOnly);
                let headers = scene.host.headers(MapKind::RequestHeaders).unwrap_or_default();
                let start = integer(scene.host, &["request", "time"]).unwrap_or_else(|| scene.host.now());
                match open(settings, scene, &headers, start).0 {
                    State::Open(open) => open,
                    _ => return false,
                }
            }
        };
        if !settings.may_record(&open.context) {
            return false;
        }
        let kind = kind(settings.config.direction, scene.host);
        let response = response(scene.host, kind, open.request.grpc, settings.config.logs.enabled);
        let end = scene.host.now().max(open.start);
        let failed = response.failure(kind).is_some();
        let mut has_span = settings.records_spans(&open.context);
        let mut kept = None;
        if settings.config.traces.enabled && !has_span {
            kept = settings.keep.reason(failed, response.flags, end.saturating_sub(open.start));
            if kept.is_some() {
                // Until now the caller's span stood for ours.
                open.context.span_id = scene.ids.span_id();
                scene.stats.count(Counter::SpansKept);
                has_span = true;
            }
        }
        let has_log = settings.records_log(&open.context, failed, has_span);
        if (has_span || has_log) && settings.custom.iter().any(Custom::is_of_response) {
            let headers = scene.host.headers(MapKind::ResponseHeaders).unwrap_or_default();
            open.request.custom.extend(settings.custom.iter().filter_map(|custom| custom.fill(&headers, true)));
        }
        let record = Record {
            context: &open.context,
            parent: open.parent.as_ref(),
            link: open.link.as_ref(),
            kept,
            tracestate: &open.tracestate,
            kind,
            start: open.start,
            end,
            request: &open.request,
            response: &response,
        };
        let mut full = false;
        if has_span {
            full |= exporter.record(Signal::Traces, end, scene.stats, |buf| span::write(buf, &record));
        }
        if has_log {
            full |= exporter.record(Signal::Logs, end, scene.stats, |buf| log::write(buf, &record));
        }
        full
    }
}

/// Reads the context, begins our span, and says what to change in the headers.
fn open<H: Host>(settings: &Settings, scene: &mut Scene<'_, H>, headers: &Headers, start: u64) -> (State, Vec<Change>) {
    if settings.is_own_export(headers) {
        scene.stats.count(Counter::ExchangesOwnExport);
        return (State::Ignored, Vec::new());
    }
    if settings.excludes(headers) {
        scene.stats.count(Counter::ExchangesExcluded);
        return (State::Ignored, Vec::new());
    }
    let kind = settings.early_kind(scene.host);
    let propagators = settings.propagators(kind);
    let carrier = Carrier::of(headers);
    let mut found = propagators.extract(&carrier);
    count(&found, scene.stats);
    let mut request = None;
    let rule = if found.decision.is_none() && !settings.rules.is_empty() {
        let request = request.insert(Request::of(headers));
        rules::first(&settings.rules, &rules::Subject { request, headers, kind })
    } else {
        None
    };
    let sampler = rule.map_or(&settings.sampler, Rule::sampler);
    let traces = settings.config.traces.enabled;
    let context = SpanContext::begin(&mut found, scene.ids, traces, |came, trace_id, list| {
        let mut verdict = sampler.decide(came, trace_id, list);
        if came.is_none() && verdict.decision == Decision::Sample && !rule.is_none_or(|rule| rule.allows(start)) {
            verdict.decision = Decision::Drop;
            scene.stats.count(Counter::TracesOverLimit);
        }
        verdict
    });
    let host = headers.get(b":authority").map(otlp::text).unwrap_or_default();
    let host = Request::host_of(&host);
    let changes = propagators.inject(&carrier, &found, &context, host);
    // Nothing of an exchange that leaves no record need be kept.
    let recorded = settings.may_record(&context);
    let open = Open {
        context,
        parent: found.parent,
        link: found.link,
        tracestate: if recorded { found.tracestate } else { String::new() },
        start,
        request: if recorded { settings.capture(headers, request) } else { Request::default() },
    };
    (State::Open(Box::new(open)), changes)
}

fn count(found: &Found, stats: &mut Stats) {
    stats.count(match found {
        Found { parent: Some(_), .. } => Counter::TracesContinued,
        Found { link: Some(_), .. } => Counter::TracesDistrusted,
        _ => Counter::TracesStarted,
    });
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
        attempts: (kind == Kind::Client).then(|| integer(host, &["upstream", "request_attempt_count"])).flatten(),
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
