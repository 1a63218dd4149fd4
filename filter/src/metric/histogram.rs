//! A histogram of one series. In: values from zero on, some with a span as an example. Out: the content of an OTLP
//! `HistogramDataPoint` or `ExponentialHistogramDataPoint`.

use super::exemplar::{Exemplar, Exemplars};
use super::exponential::Exponential;
use crate::config::HistogramForm;
use crate::otlp::Buffer;

/// How histograms of one instrument are made.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) form: HistogramForm,
    /// Upper bounds of the buckets, each of which it includes; explicit form only.
    pub(super) bounds: Vec<f64>,
    /// Exponential form only.
    pub(super) max_buckets: usize,
}

/// Everything that was counted since it began.
#[derive(Debug)]
pub(super) struct Histogram {
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
    buckets: Buckets,
    exemplars: Exemplars,
}

#[derive(Debug)]
enum Buckets {
    Explicit(Vec<u64>),
    Exponential(Exponential),
}

/// The span of time that a data point covers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) start: u64,
    pub(super) end: u64,
}

// === impl Shape ===

impl Shape {
    /// Field number of a data point's attributes.
    pub(super) fn attributes_field(&self) -> u32 {
        match self.form {
            HistogramForm::Explicit => 9,
            HistogramForm::Exponential => 1,
        }
    }

    /// Field number of `Metric.data`.
    pub(super) fn data_field(&self) -> u32 {
        match self.form {
            HistogramForm::Explicit => 9,
            HistogramForm::Exponential => 10,
        }
    }
}

// === impl Histogram ===

impl Histogram {
    pub(super) fn new(shape: &Shape) -> Self {
        let buckets = match shape.form {
            HistogramForm::Explicit => Buckets::Explicit(vec![0; shape.bounds.len().saturating_add(1)]),
            HistogramForm::Exponential => Buckets::Exponential(Exponential::new()),
        };
        Self { count: 0, sum: 0.0, min: f64::MAX, max: 0.0, buckets, exemplars: Exemplars::default() }
    }

    /// Counts a value.
    pub(super) fn count(&mut self, shape: &Shape, value: f64, exemplar: Option<Exemplar>) {
        self.count = self.count.saturating_add(1);
        self.sum += value;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        let bucket = match &mut self.buckets {
            Buckets::Explicit(counts) => {
                let at = shape.bounds.partition_point(|bound| *bound < value);
                if let Some(count) = counts.get_mut(at) {
                    *count = count.saturating_add(1);
                }
                i32::try_from(at).unwrap_or(i32::MAX)
            }
            Buckets::Exponential(buckets) => buckets.count(value, shape.max_buckets),
        };
        if let Some(exemplar) = exemplar {
            self.exemplars.take_note(bucket, value, exemplar);
        }
    }

    pub(super) fn forget_exemplars(&mut self) {
        self.exemplars.clear();
    }

    /// Writes the content of a data point but for its attributes.
    pub(super) fn write(&self, buf: &mut Buffer, shape: &Shape, span: Span) {
        buf.fixed64(2, span.start);
        buf.fixed64(3, span.end);
        buf.fixed64(4, self.count);
        buf.double(5, self.sum);
        match &self.buckets {
            Buckets::Explicit(counts) => {
                let words = |buf: &mut Buffer, words: &mut dyn Iterator<Item = u64>| {
                    words.for_each(|word| buf.put(&word.to_le_bytes()));
                };
                buf.message(6, |buf| words(buf, &mut counts.iter().copied()));
                buf.message(7, |buf| words(buf, &mut shape.bounds.iter().map(|bound| bound.to_bits())));
                self.exemplars.write(buf, 8);
                buf.double(11, self.min);
                buf.double(12, self.max);
            }
            Buckets::Exponential(buckets) => {
                buckets.write(buf);
                self.exemplars.write(buf, 11);
                buf.double(12, self.min);
                buf.double(13, self.max);
            }
        }
    }
}
