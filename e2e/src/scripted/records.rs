//! The records of an export. In: its kind and its message. Out: what tells them apart.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{Metric, metric::Data};
use prost::Message;

/// Of each record a span's id; a log's span, or its text where it belongs to none; all of a
/// data point.
pub(super) fn ids(noun: &str, body: &[u8]) -> Vec<String> {
    let hex = |id: &[u8]| id.iter().map(|b| format!("{b:02x}")).collect::<String>();
    if noun == "spans" {
        let request = ExportTraceServiceRequest::decode(body).unwrap_or_default();
        let spans = request.resource_spans.into_iter().flat_map(|r| r.scope_spans).flat_map(|s| s.spans);
        return spans.map(|span| hex(&span.span_id)).collect();
    }
    if noun == "data_points" {
        let request = ExportMetricsServiceRequest::decode(body).unwrap_or_default();
        let metrics = request.resource_metrics.into_iter().flat_map(|r| r.scope_metrics).flat_map(|s| s.metrics);
        return metrics.flat_map(points).collect();
    }
    let request = ExportLogsServiceRequest::decode(body).unwrap_or_default();
    let records = request.resource_logs.into_iter().flat_map(|r| r.scope_logs).flat_map(|s| s.log_records);
    records.map(|log| if log.span_id.is_empty() { format!("{:?}", log.body) } else { hex(&log.span_id) }).collect()
}

fn points(metric: Metric) -> Vec<String> {
    let name = metric.name;
    let all = |points: Vec<String>| points.into_iter().map(|point| format!("{name} {point}")).collect();
    match metric.data {
        Some(Data::Histogram(h)) => all(h.data_points.iter().map(|p| format!("{p:?}")).collect()),
        Some(Data::ExponentialHistogram(h)) => all(h.data_points.iter().map(|p| format!("{p:?}")).collect()),
        Some(Data::Sum(s)) => all(s.data_points.iter().map(|p| format!("{p:?}")).collect()),
        Some(Data::Gauge(g)) => all(g.data_points.iter().map(|p| format!("{p:?}")).collect()),
        _ => Vec::new(),
    }
}
