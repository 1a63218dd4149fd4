//! One HTTP exchange. In: its request headers, then its end. Out: the headers that carry the trace on, then a span and
//! an access log. An exchange that ends before its headers were shown is recorded all the same, from what Envoy's log
//! phase still has.

use crate::attributes::custom::Custom;
use crate::attributes::{Fields, Kind, Request, Response};
use crate::config::{BAGGAGE_BYTES, BAGGAGE_MEMBERS};
use crate::export::Exporter;
use crate::host::{Headers, Host, MapKind};
use crate::metric::Measurement;
use crate::metric::exemplar::Exemplar;
use crate::metric::identity::Subject;
use crate::otlp::Buffer;
use crate::propagation::id::Generator;
use crate::propagation::{
    Carrier, Change, Decision, Format, Found, Name, Parent, SpanContext, request_id, tracecontext,
};
use crate::sampling::rules::{self, Rule};
use crate::settings::Settings;
use crate::span::Exchange as Record;
use crate::stats::{Counter, Signal, Stats};
use crate::table::Table;
use crate::{attributes, log, span};

/// An exchange under way.
#[derive(Debug)]
pub struct Exchange {
    /// To be recorded, maybe; `None` where it is not ours to look at.
    open: Option<Box<Open>>,
    /// Where it is counted as under way: the number of the exporter, and its meter's own.
    counted: Option<(u32, usize)>,
}

#[derive(Debug)]
struct Open {
    context: SpanContext,
    /// Which side we stand on, where that had to be known already.
    kind: Option<Kind>,
    parent: Option<Parent>,
    link: Option<Parent>,
    tracestate: String,
    start: u64,
    request: Request,
    /// Bytes of the request's body, where they are known already.
    body_size: Option<u64>,
}

/// What an exchange works with.
pub struct Scene<'a, H> {
    /// Envoy.
    pub host: &'a mut H,
    /// The books.
    pub stats: &'a mut Stats,
    /// New ids.
    pub ids: &'a mut Generator,
    /// Where records are encoded.
    pub scratch: &'a mut Buffer,
}

// === impl Exchange ===

impl Exchange {
    /// The request's headers are there, and may be changed; where it `ends` with them it has no body.
    pub fn begin<H: Host>(settings: &Settings, scene: &mut Scene<'_, H>, ends: bool) -> Option<Self> {
        let Some(headers) = scene.host.headers(MapKind::RequestHeaders) else {
            scene.stats.count(Counter::HostErrors);
            return None;
        };
        let start = scene.host.now();
        let (mut open, changes) = open(settings, scene, &headers, start);
        if let Some(open) = &mut open {
            open.body_size = ends.then_some(0);
        }
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
        Some(Self { open, counted: None })
    }

    /// An exchange that is over, and whose headers were never shown.
    pub fn late<H: Host>(settings: &Settings, scene: &mut Scene<'_, H>) -> Self {
        scene.stats.count(Counter::ExchangesLogOnly);
        let headers = scene.host.headers(MapKind::RequestHeaders).unwrap_or_default();
        let start = scene.host.integer("request\0time").unwrap_or_else(|| scene.host.now());
        Self { open: open(settings, scene, &headers, start).0, counted: None }
    }

    /// Counts it as under way, if it is looked at.
    pub fn enter(&mut self, id: u32, exporter: Option<&mut Exporter>) {
        if let (Some(open), Some(meter)) = (&self.open, exporter.and_then(Exporter::meter)) {
            let kind = open.kind.unwrap_or(Kind::Server);
            self.counted = Some((id, meter.enter(kind, &open.request, open.start)));
        }
    }

    /// Counts it as under way no longer.
    pub fn leave(&mut self, exporters: &mut Table<Exporter>) {
        if let Some((id, at)) = self.counted.take()
            && let Some(meter) = exporters.get_mut(&id).and_then(Exporter::meter)
        {
            meter.leave(at);
        }
    }

    /// The exchange is over; answers whether a batch is full.
    pub fn end<H: Host>(self, settings: &Settings, scene: &mut Scene<'_, H>, exporter: &mut Exporter) -> bool {
        let Some(mut open) = self.open else { return false };
        let kind = open.kind.unwrap_or_else(|| settings.kind(scene.host));
        let mut response = outcome(scene.host, open.request.grpc);
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
        let is_recorded = has_span || has_log;
        let needs_sizes = has_log || exporter.meter().is_some_and(|meter| meter.measures_sizes());
        if !is_recorded && exporter.meter().is_none() {
            return false;
        }
        response.request_size = open.body_size.filter(|_| needs_sizes);
        complete(&mut response, scene.host, kind, is_recorded, needs_sizes);
        if let Some(meter) = exporter.meter() {
            let cluster = (kind == Kind::Client).then(|| scene.host.text("xds\0cluster_name")).flatten();
            let SpanContext { trace_id, span_id, .. } = open.context;
            let is_example = has_span && settings.config.metrics.exemplars;
            let measurement = Measurement {
                subject: Subject { kind, request: &open.request, response: &response, cluster: cluster.as_deref() },
                nanos: end.saturating_sub(open.start),
                now: end,
                exemplar: is_example.then_some(Exemplar { trace_id, span_id, time: end }),
            };
            if meter.measure(&measurement) {
                scene.stats.count(Counter::MetricsOverflow);
            }
        }
        if !is_recorded {
            return false;
        }
        if settings.custom.iter().any(Custom::is_of_response) {
            let headers = scene.host.headers(MapKind::ResponseHeaders).unwrap_or_default();
            open.request.custom.extend(settings.custom.iter().filter_map(|custom| custom.fill(&headers, true)));
        }
        if settings.custom.iter().any(Custom::is_of_envoy) {
            open.request.custom.extend(settings.custom.iter().filter_map(|custom| custom.ask(scene.host)));
        }
        if kind == Kind::Server {
            response.peer = response.peer.and_then(|address| settings.redactor.client(address));
        }
        if has_span && settings.config.traces.timings {
            response.backend_latency = scene.host.integer("response\0backend_latency");
            response.pool_ready = scene.host.integer("upstream\0cx_pool_ready_duration");
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
        // Span and log have most attributes alike, which are most of what is encoded: both begin with them.
        let buf = &mut *scene.scratch;
        buf.truncate(0);
        let field = if has_span { span::ATTRIBUTES } else { log::ATTRIBUTES };
        attributes::write(buf, field, settings.config.semconv, kind, &open.request, &response);
        let shared = buf.len();
        let mut full = false;
        if has_span {
            span::write(buf, &record);
            full |= exporter.record(Signal::Traces, end, scene.stats, buf.as_slice());
            buf.truncate(shared);
            if has_log {
                buf.renumber(log::ATTRIBUTES);
            }
        }
        if has_log {
            log::write(buf, &record, &settings.body);
            full |= exporter.record(Signal::Logs, end, scene.stats, buf.as_slice());
        }
        full
    }
}

/// Reads the context, begins our span, and says what to change in the headers.
fn open<H: Host>(
    settings: &Settings,
    scene: &mut Scene<'_, H>,
    headers: &Headers,
    start: u64,
) -> (Option<Box<Open>>, Vec<Change>) {
    let (mut fields, mut carrier) = (Fields::default(), Carrier::default());
    for (name, value) in headers.iter() {
        if !fields.see(name, value) {
            carrier.see(name, value);
        }
    }
    if let Some(counter) = settings.ignores(&fields) {
        scene.stats.count(counter);
        return (None, Vec::new());
    }
    let known_kind = settings.early_kind(scene.host);
    let kind = known_kind.unwrap_or(Kind::Server);
    let propagators = settings.propagators(kind);
    let mut found = propagators.extract(&carrier);
    count(&found, scene.stats);
    if carrier.came().has(Name::Baggage) && is_over_limits(headers) {
        scene.stats.count(Counter::BaggageOverLimit);
    }
    let propagation = &settings.config.propagation;
    if propagation.trace_id_from_request_id && found.parent.is_none() {
        found.new_trace_id = headers.get(b"x-request-id").and_then(request_id::parse);
    }
    let mut request = None;
    let rule = if found.decision.is_none() && !settings.rules.is_empty() {
        let request = request.insert(Request::new(&fields));
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
    if propagation.filter_state {
        let done = scene.host.set_property(FILTER_STATE, tracecontext::format(&context).as_bytes());
        if done.is_err() {
            scene.stats.count(Counter::HostErrors);
        }
    }
    let changes = propagators.inject(&carrier, &found, &context, fields.authority);
    if !settings.may_tell(&context) {
        return (None, changes);
    }
    // Of one that is measured only little need be kept.
    let recorded = settings.may_record(&context);
    let request = request.unwrap_or_else(|| Request::new(&fields));
    let open = Open {
        context,
        kind: known_kind,
        parent: found.parent,
        link: found.link,
        tracestate: if recorded { found.tracestate } else { String::new() },
        start,
        request: settings.capture(headers, request, recorded, scene.stats),
        body_size: None,
    };
    (Some(Box::new(open)), changes)
}

/// The key in Envoy's filter state, behind `wasm.`.
const FILTER_STATE: &str = "otelmesh.traceparent";

/// Whether baggage is more than everybody has to carry on.
fn is_over_limits(headers: &Headers) -> bool {
    let lines = headers.iter().filter(|(name, _)| *name == b"baggage");
    let (bytes, members) = lines.fold((0usize, 0usize), |(bytes, members), (_, line)| {
        let more = line.split(|b| *b == b',').count();
        (bytes.saturating_add(line.len()), members.saturating_add(more))
    });
    bytes > BAGGAGE_BYTES || members > BAGGAGE_MEMBERS
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

/// How the exchange went, which decides what is recorded of it. Each property costs a crossing.
fn outcome(host: &impl Host, grpc: bool) -> Response {
    Response {
        code: host.integer("response\0code").and_then(|code| u16::try_from(code).ok()).unwrap_or(0),
        flags: host.integer("response\0flags").unwrap_or(0),
        grpc_status: grpc.then(|| host.integer("response\0grpc_status")).flatten().and_then(|s| s.try_into().ok()),
        ..Response::default()
    }
}

/// The rest, read only where it is told: sizes in access logs and metrics, the protocol in all of them.
fn complete(response: &mut Response, host: &impl Host, kind: Kind, is_recorded: bool, needs_sizes: bool) {
    response.protocol = host.text("request\0protocol");
    if needs_sizes {
        response.request_size = response.request_size.or_else(|| host.integer("request\0size"));
        response.response_size = host.integer("response\0size");
    }
    if !is_recorded {
        return;
    }
    let went_wrong = response.code == 0 || response.code >= 400 || response.flags != 0;
    if went_wrong {
        response.details = host.text("response\0code_details");
    }
    match kind {
        Kind::Server => {
            response.peer = host.text("source\0address");
            response.principal = host.text("connection\0uri_san_peer_certificate");
        }
        Kind::Client => {
            response.principal = host.text("upstream\0uri_san_peer_certificate");
            response.peer = host.text("upstream\0address");
            response.attempts = host.integer("upstream\0request_attempt_count");
        }
    }
}
