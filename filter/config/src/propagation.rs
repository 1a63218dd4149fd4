//! Trace headers: which are read, written and taken away, whose context is trusted, and where it ends.

use serde::{Deserialize, Serialize};

use crate::json::Json;
use crate::of_object;
use crate::read::{Read, Refusal, fill, object, words};

/// Which trace headers are read and written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Propagation {
    /// Formats to read, in order: the first that holds a valid context wins; one further down that names another trace
    /// is counted.
    pub extract: Vec<Format>,
    /// Formats to write. Unset: tracecontext, and those of `extract` that the request came with.
    pub inject: Option<Vec<Format>>,
    /// Formats whose headers are taken away before the request goes on, unless they are written.
    pub clear: Vec<Format>,
    /// Whether the caller's context is gone on with.
    pub trust: Trust,
    /// What goes on to certain hosts, of outbound requests; the first that matches counts, at most 64.
    pub boundaries: Vec<Boundary>,
    /// Whether a trace that begins here gets its id from an `x-request-id` that is a UUID.
    pub trace_id_from_request_id: bool,
    /// Whether `wasm.otelmesh.traceparent` is set in Envoy's filter state, for its access logs and for headers of
    /// responses: `%FILTER_STATE(wasm.otelmesh.traceparent:PLAIN)%`.
    pub filter_state: bool,
    /// What is different for requests to the workload.
    #[serde(deserialize_with = "of_object")]
    pub inbound: Side,
    /// What is different for requests of the workload.
    #[serde(deserialize_with = "of_object")]
    pub outbound: Side,
}

/// Propagation in one direction; what is unset is as for both.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Side {
    /// As `propagation.extract`.
    pub extract: Option<Vec<Format>>,
    /// As `propagation.inject`.
    pub inject: Option<Vec<Format>>,
    /// As `propagation.clear`.
    pub clear: Option<Vec<Format>>,
    /// As `propagation.trust`.
    pub trust: Option<Trust>,
}

/// Whether the caller's context is gone on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Trust {
    /// Its trace goes on, and its decision stands.
    #[default]
    All,
    /// A new trace begins, linked to the caller's span; its decision and its tracestate count for nothing.
    None,
}

/// Hosts beyond which less is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Boundary {
    /// Hosts: `api.example`, or `*.example` for all below it, or `*`.
    pub hosts: Vec<String>,
    /// What goes on to them.
    pub policy: BoundaryPolicy,
}

/// What goes on beyond a boundary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum BoundaryPolicy {
    /// Everything.
    Propagate,
    /// No trace headers.
    Strip,
    /// Neither trace headers nor baggage.
    StripWithBaggage,
}

/// A propagator, by its name in `OTEL_PROPAGATORS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// W3C Trace Context: `traceparent` and `tracestate`.
    TraceContext,
    /// W3C Baggage: `baggage`, which goes on as it came unless it is to be cleared.
    Baggage,
    /// B3 in one header: `b3`.
    B3,
    /// B3 in several headers: `x-b3-traceid` and its kin.
    B3Multi,
    /// Jaeger: `uber-trace-id`.
    Jaeger,
    /// AWS X-Ray: `x-amzn-trace-id`.
    XRay,
    /// OpenTracing's basic tracer: `ot-tracer-traceid` and its kin.
    OtTrace,
}

object!(Propagation {
    extract = "extract",
    inject = "inject",
    clear = "clear",
    trust = "trust",
    boundaries = "boundaries",
    trace_id_from_request_id = "traceIdFromRequestId",
    filter_state = "filterState",
    inbound = "inbound",
    outbound = "outbound",
});
object!(Side { extract = "extract", inject = "inject", clear = "clear", trust = "trust" });
words!(Trust { All = "all", None = "none" });
words!(BoundaryPolicy { Propagate = "propagate", Strip = "strip", StripWithBaggage = "stripWithBaggage" });
words!(Format {
    TraceContext = "tracecontext",
    Baggage = "baggage",
    B3 = "b3",
    B3Multi = "b3multi",
    Jaeger = "jaeger",
    XRay = "xray",
    OtTrace = "ottrace",
});

// === impl Boundary ===

impl Read for Boundary {
    fn read(json: Json<'_>) -> Result<Self, Refusal> {
        let (mut hosts, mut policy) = (None, None);
        fill(json, &mut [("hosts", &mut hosts), ("policy", &mut policy)])?;
        match (hosts, policy) {
            (Some(hosts), Some(policy)) => Ok(Self { hosts, policy }),
            _ => Err(Refusal::of("a boundary needs both hosts and policy")),
        }
    }
}

// === impl Propagation ===

impl Default for Propagation {
    fn default() -> Self {
        Self {
            extract: vec![Format::TraceContext, Format::B3, Format::B3Multi],
            inject: None,
            clear: Vec::new(),
            trust: Trust::All,
            boundaries: Vec::new(),
            trace_id_from_request_id: false,
            filter_state: false,
            inbound: Side::default(),
            outbound: Side::default(),
        }
    }
}

// === impl Format ===

impl Format {
    /// Every format.
    pub const ALL: [Self; 7] =
        [Self::TraceContext, Self::Baggage, Self::B3, Self::B3Multi, Self::Jaeger, Self::XRay, Self::OtTrace];
}
