//! Data points as people read them.
//!
//! In: OTLP export requests. Out: one flat record a data point of a sum or a histogram, with its metric and resource
//! beside it. Leaves out kinds of metrics that the filter has none of.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{Exemplar, Metric, NumberDataPoint};
use serde::Serialize;

use super::{Attributes, as_text, attributes, describe, hex};

/// A data point of a sum or a histogram.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DataPoint {
    /// The resource's `service.name`.
    pub service: String,
    /// The metric's name.
    pub name: String,
    /// The metric's unit.
    pub unit: String,
    /// `sum`, `histogram` or `exponentialHistogram`.
    pub form: &'static str,
    /// Whether it counts from the beginning of its stream, or from the data point before it.
    pub is_cumulative: bool,
    /// Nanoseconds since 1970.
    #[serde(serialize_with = "as_text")]
    pub start_unix_nano: u64,
    /// Nanoseconds since 1970.
    #[serde(serialize_with = "as_text")]
    pub time_unix_nano: u64,
    /// Values that were counted; of a sum, none.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// Spans that are examples of them, as trace and span ids.
    pub exemplars: Vec<(String, String)>,
    /// Its own attributes.
    pub attributes: Attributes,
    /// The resource's attributes.
    pub resource: Attributes,
}

/// Reads the points of a histogram of either form: two types with the same fields.
macro_rules! distribution {
    ($histogram:expr, $base:expr) => {{
        let points = $histogram.data_points.iter().map(|point| DataPoint {
            start_unix_nano: point.start_time_unix_nano,
            time_unix_nano: point.time_unix_nano,
            count: point.count,
            sum: point.sum.unwrap_or_default(),
            exemplars: examples(&point.exemplars),
            attributes: attributes(&point.attributes),
            ..$base
        });
        points.collect()
    }};
}

// === impl DataPoint ===

impl DataPoint {
    /// All data points of an export request.
    pub fn all(request: &ExportMetricsServiceRequest) -> impl Iterator<Item = Self> + '_ {
        request.resource_metrics.iter().flat_map(|of_resource| {
            let (resource, service) = describe(of_resource.resource.as_ref());
            let metrics = of_resource.scope_metrics.iter().flat_map(|of_scope| &of_scope.metrics);
            metrics.flat_map(Self::of).map(move |point| Self {
                service: service.clone(),
                resource: resource.clone(),
                ..point
            })
        })
    }

    fn of(metric: &Metric) -> Vec<Self> {
        let base = |form, temporality: i32| Self {
            name: metric.name.clone(),
            unit: metric.unit.clone(),
            form,
            is_cumulative: temporality == 2,
            ..Self::default()
        };
        match &metric.data {
            Some(Data::Sum(sum)) => {
                let point = |point: &NumberDataPoint| Self {
                    start_unix_nano: point.start_time_unix_nano,
                    time_unix_nano: point.time_unix_nano,
                    sum: match point.value {
                        Some(Number::AsDouble(number)) => number,
                        #[expect(clippy::cast_precision_loss, reason = "for people to read")]
                        Some(Number::AsInt(number)) => number as f64,
                        None => 0.0,
                    },
                    attributes: attributes(&point.attributes),
                    ..base("sum", sum.aggregation_temporality)
                };
                sum.data_points.iter().map(point).collect()
            }
            Some(Data::Histogram(histogram)) => {
                distribution!(histogram, base("histogram", histogram.aggregation_temporality))
            }
            Some(Data::ExponentialHistogram(histogram)) => {
                distribution!(histogram, base("exponentialHistogram", histogram.aggregation_temporality))
            }
            _ => Vec::new(),
        }
    }

    /// An attribute as text, or empty.
    pub fn text(&self, key: &str) -> String {
        super::text(&self.attributes, key)
    }
}

fn examples(exemplars: &[Exemplar]) -> Vec<(String, String)> {
    exemplars.iter().map(|exemplar| (hex(&exemplar.trace_id), hex(&exemplar.span_id))).collect()
}
