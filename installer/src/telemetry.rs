//! Spans and logs as people read them.
//!
//! In: OTLP export requests. Out: one flat record a span or a log, with ids in hex, attributes as JSON, and the resource
//! beside them. Nothing is refused: what a sender left out is empty, so that a check can say so.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{span::SpanKind, status::StatusCode};
use serde::{Serialize, Serializer};
use serde_json::Value;

mod point;

pub use point::DataPoint;

/// Attributes by key.
pub type Attributes = BTreeMap<String, Value>;

/// A span.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Span {
    /// The resource's `service.name`.
    pub service: String,
    /// `SERVER`, `CLIENT` and so on.
    pub kind: String,
    /// The span's name.
    pub name: String,
    /// 32 hex digits.
    pub trace_id: String,
    /// 16 hex digits.
    pub span_id: String,
    /// 16 hex digits, or empty for a root.
    pub parent_span_id: String,
    /// W3C `tracestate`.
    pub trace_state: String,
    /// OTLP's flags.
    pub flags: u32,
    /// Nanoseconds since 1970.
    #[serde(serialize_with = "as_text")]
    pub start_unix_nano: u64,
    /// Nanoseconds since 1970.
    #[serde(serialize_with = "as_text")]
    pub end_unix_nano: u64,
    /// `UNSET`, `OK` or `ERROR`.
    pub status: String,
    /// The span's attributes.
    pub attributes: Attributes,
    /// Spans elsewhere that it goes back to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
    /// The resource's attributes.
    pub resource: Attributes,
}

/// A span that another one names.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Link {
    /// 32 hex digits.
    pub trace_id: String,
    /// 16 hex digits.
    pub span_id: String,
}

/// A log record.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Log {
    /// The resource's `service.name`.
    pub service: String,
    /// 32 hex digits, or empty.
    pub trace_id: String,
    /// 16 hex digits, or empty.
    pub span_id: String,
    /// OTLP's flags.
    pub flags: u32,
    /// Nanoseconds since 1970.
    #[serde(serialize_with = "as_text")]
    pub time_unix_nano: u64,
    /// OTLP's severity number: 9 is INFO, 13 WARN, 17 ERROR.
    pub severity_number: i32,
    /// The sender's word for it.
    pub severity: String,
    /// The message.
    pub body: Value,
    /// The record's attributes.
    pub attributes: Attributes,
    /// The resource's attributes.
    pub resource: Attributes,
}

// === impl Span ===

impl Span {
    /// All spans of an export request.
    pub fn all(request: &ExportTraceServiceRequest) -> impl Iterator<Item = Self> + '_ {
        request.resource_spans.iter().flat_map(|of_resource| {
            let (resource, service) = describe(of_resource.resource.as_ref());
            of_resource.scope_spans.iter().flat_map(|of_scope| &of_scope.spans).map(move |span| Self {
                service: service.clone(),
                kind: kind(span.kind),
                name: span.name.clone(),
                trace_id: hex(&span.trace_id),
                span_id: hex(&span.span_id),
                parent_span_id: hex(&span.parent_span_id),
                trace_state: span.trace_state.clone(),
                flags: span.flags,
                start_unix_nano: span.start_time_unix_nano,
                end_unix_nano: span.end_time_unix_nano,
                status: status(span.status.as_ref().map_or(0, |status| status.code)),
                attributes: attributes(&span.attributes),
                links: span
                    .links
                    .iter()
                    .map(|link| Link { trace_id: hex(&link.trace_id), span_id: hex(&link.span_id) })
                    .collect(),
                resource: resource.clone(),
            })
        })
    }

    /// How long it took; zero when it ends before it starts.
    pub fn nanos(&self) -> u64 {
        self.end_unix_nano.saturating_sub(self.start_unix_nano)
    }

    /// An attribute as text, or empty.
    pub fn text(&self, key: &str) -> String {
        text(&self.attributes, key)
    }
}

// === impl Log ===

impl Log {
    /// All records of an export request.
    pub fn all(request: &ExportLogsServiceRequest) -> impl Iterator<Item = Self> + '_ {
        request.resource_logs.iter().flat_map(|of_resource| {
            let (resource, service) = describe(of_resource.resource.as_ref());
            of_resource.scope_logs.iter().flat_map(|of_scope| &of_scope.log_records).map(move |log| Self {
                service: service.clone(),
                trace_id: hex(&log.trace_id),
                span_id: hex(&log.span_id),
                flags: log.flags,
                time_unix_nano: log.time_unix_nano,
                severity_number: log.severity_number,
                severity: log.severity_text.clone(),
                body: value(log.body.as_ref()),
                attributes: attributes(&log.attributes),
                resource: resource.clone(),
            })
        })
    }
}

/// As OTLP's JSON has it: most readers of JSON round numbers of this size.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn as_text<S: Serializer>(nanos: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(nanos)
}

fn describe(resource: Option<&Resource>) -> (Attributes, String) {
    let resource = resource.map(|resource| attributes(&resource.attributes)).unwrap_or_default();
    let service = text(&resource, "service.name");
    (resource, service)
}

fn attributes(pairs: &[KeyValue]) -> Attributes {
    pairs.iter().map(|pair| (pair.key.clone(), value(pair.value.as_ref()))).collect()
}

fn text(attributes: &Attributes, key: &str) -> String {
    match attributes.get(key) {
        None => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    }
}

fn value(value: Option<&AnyValue>) -> Value {
    use any_value::Value as V;
    match value.and_then(|value| value.value.as_ref()) {
        None => Value::Null,
        Some(V::StringValue(text)) => Value::from(text.as_str()),
        Some(V::BoolValue(b)) => Value::from(*b),
        Some(V::IntValue(i)) => Value::from(*i),
        Some(V::DoubleValue(d)) => Value::from(*d),
        Some(V::BytesValue(bytes)) => Value::from(hex(bytes)),
        Some(V::ArrayValue(array)) => array.values.iter().map(|v| self::value(Some(v))).collect(),
        Some(V::KvlistValue(list)) => attributes(&list.values).into_iter().collect(),
        // An index into a table that only profiles have.
        Some(V::StringValueStrindex(index)) => Value::from(*index),
    }
}

fn kind(kind: i32) -> String {
    let name = SpanKind::try_from(kind).unwrap_or_default().as_str_name();
    name.trim_start_matches("SPAN_KIND_").to_owned()
}

fn status(code: i32) -> String {
    let name = StatusCode::try_from(code).unwrap_or_default().as_str_name();
    name.trim_start_matches("STATUS_CODE_").to_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::trace::v1 as proto;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_span_is_flattened_with_its_resource() {
        let pair = |key: &str, value| KeyValue {
            key: key.to_owned(),
            value: Some(AnyValue { value: Some(value) }),
            ..KeyValue::default()
        };
        let span = proto::Span {
            trace_id: vec![0xab; 16],
            span_id: vec![1; 8],
            name: "GET".to_owned(),
            kind: 2,
            status: Some(proto::Status { code: 2, message: String::new() }),
            attributes: vec![pair("http.response.status_code", any_value::Value::IntValue(503))],
            start_time_unix_nano: 5,
            end_time_unix_nano: 9,
            ..proto::Span::default()
        };
        let service = pair("service.name", any_value::Value::StringValue("frontend".to_owned()));
        let request = ExportTraceServiceRequest {
            resource_spans: vec![proto::ResourceSpans {
                resource: Some(Resource { attributes: vec![service], ..Resource::default() }),
                scope_spans: vec![proto::ScopeSpans { spans: vec![span], ..proto::ScopeSpans::default() }],
                schema_url: String::new(),
            }],
        };
        let spans: Vec<_> = Span::all(&request).collect();
        let [span] = spans.as_slice() else { panic!("{spans:?}") };
        assert_eq!((span.service.as_str(), span.kind.as_str(), span.status.as_str()), ("frontend", "SERVER", "ERROR"));
        assert_eq!(span.trace_id, "ab".repeat(16));
        assert_eq!((span.parent_span_id.as_str(), span.nanos()), ("", 4));
        assert_eq!(span.attributes["http.response.status_code"], json!(503));
        assert_eq!(span.text("http.response.status_code"), "503");
    }
}
