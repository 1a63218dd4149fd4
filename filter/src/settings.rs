//! A pluginConfig, ready for use. In: the configuration. Out: everything compiled from it that exchanges share, and the
//! questions that they ask of it: which direction, which formats, whether to look away, and what to record.

use crate::attributes::custom::Custom;
use crate::attributes::{Fields, Kind, Request};
use crate::config::body::Body;
use crate::config::pattern::PathTemplate;
use crate::config::{Config, Direction, Exporter, LogPolicy, Propagation};
use crate::export::{GRPC_PATHS, USER_AGENT_PREFIX};
use crate::host::{Headers, Host};
use crate::propagation::{Propagators, SpanContext};
use crate::redact::Redactor;
use crate::route::Routes;
use crate::sampling::Sampler;
use crate::sampling::keep::Keep;
use crate::sampling::rules::Rule;
use crate::stats::{Counter, Stats};

/// How Istio's ids of gateways begin.
const GATEWAY: &str = "router~";

/// What all exchanges under one pluginConfig share.
#[derive(Debug)]
pub struct Settings {
    /// The exporter, by its number among the worker's.
    pub exporter: u32,
    pub(crate) config: Config,
    /// Inbound and outbound.
    pub(crate) propagators: [Propagators; 2],
    pub(crate) sampler: Sampler,
    pub(crate) rules: Vec<Rule>,
    pub(crate) log_sampler: Sampler,
    pub(crate) keep: Keep,
    pub(crate) excluded_paths: Vec<PathTemplate>,
    pub(crate) routes: Routes,
    pub(crate) custom: Vec<Custom>,
    pub(crate) redactor: Redactor,
    pub(crate) body: Body,
    on_gateway: bool,
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
            body: Body::parse(&config.logs.body).unwrap_or(Body(Vec::new())),
            redactor: Redactor::new(&config.redaction),
            excluded_paths: config.exclude.paths.iter().filter_map(|p| PathTemplate::parse(p)).collect(),
            on_gateway: host.text("xds\0node\0id").is_some_and(|id| id.starts_with(GATEWAY)),
            config,
        }
    }

    /// Which side of the call the proxy stands on. Envoy's `xds.listener_direction` is `TrafficDirection` of its API: 1 is
    /// inbound, 2 is outbound. Istio calls a gateway's listeners outbound, but a gateway serves whoever comes.
    pub(crate) fn kind(&self, host: &impl Host) -> Kind {
        match self.config.direction {
            Direction::Inbound => Kind::Server,
            Direction::Outbound => Kind::Client,
            Direction::Auto if self.on_gateway => Kind::Server,
            // Read for each exchange: Envoy may share one root context between listeners of both directions.
            Direction::Auto => match host.integer("xds\0listener_direction") {
                Some(2) => Kind::Client,
                _ => Kind::Server,
            },
        }
    }

    /// The direction of the exchange at hand, asked for only where it makes a difference already.
    pub(crate) fn early_kind(&self, host: &impl Host) -> Option<Kind> {
        let [inbound, outbound] = &self.propagators;
        let is_needed = inbound != outbound || !self.rules.is_empty() || self.config.metrics.active_requests;
        is_needed.then(|| self.kind(host))
    }

    pub(crate) fn propagators(&self, kind: Kind) -> &Propagators {
        let [inbound, outbound] = &self.propagators;
        if kind == Kind::Client { outbound } else { inbound }
    }

    /// Whether to look away from a request, and what that counts as.
    pub(crate) fn ignores(&self, fields: &Fields<'_>) -> Option<Counter> {
        let Fields { user_agent: agent, path, .. } = *fields;
        // A collector with a sidecar must not be asked to record that it was sent records, over either protocol and by
        // any version of ours.
        if agent.starts_with(USER_AGENT_PREFIX.as_bytes()) && self.is_export(path) {
            return Some(Counter::ExchangesOwnExport);
        }
        let path = path.split(|b| *b == b'?').next().unwrap_or_default();
        let is_excluded = self.excluded_paths.iter().any(|template| template.matches(path))
            || self.config.exclude.user_agents.iter().any(|prefix| agent.starts_with(prefix.as_bytes()));
        is_excluded.then_some(Counter::ExchangesExcluded)
    }

    fn is_export(&self, path: &[u8]) -> bool {
        let Exporter { traces_path, logs_path, metrics_path, .. } = &self.config.exporter;
        [traces_path, logs_path, metrics_path].iter().any(|own| own.as_bytes() == path)
            || path.starts_with(GRPC_PATHS.as_bytes())
    }

    /// Everything of a request that its records will need.
    pub(crate) fn capture(
        &self,
        headers: &Headers,
        mut request: Request,
        recorded: bool,
        stats: &mut Stats,
    ) -> Request {
        request.route = self.routes.of(request.url_path());
        if recorded {
            request.custom = self.custom.iter().filter_map(|custom| custom.fill(headers, false)).collect();
            let (redacted, cut) = self.redactor.request(&mut request);
            stats.add(Counter::ValuesRedacted, redacted);
            stats.add(Counter::ValuesTruncated, cut);
        }
        request
    }

    pub(crate) fn records_spans(&self, context: &SpanContext) -> bool {
        self.config.traces.enabled && context.flags.sampled()
    }

    /// Whether an exchange may leave a record, or is measured.
    pub(crate) fn may_tell(&self, context: &SpanContext) -> bool {
        self.config.metrics.enabled || self.may_record(context)
    }

    /// Whether an exchange may leave a record, as far as that is known at its beginning.
    pub(crate) fn may_record(&self, context: &SpanContext) -> bool {
        self.config.logs.enabled || self.records_spans(context) || (self.config.traces.enabled && self.keep.is_on())
    }

    /// Whether a finished exchange has an access log.
    pub(crate) fn records_log(&self, context: &SpanContext, failed: bool, has_span: bool) -> bool {
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
