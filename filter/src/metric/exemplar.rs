//! Spans as examples of what a data point counts. In: sampled spans, each with the value and the bucket that it was
//! counted in. Out: OTLP `Exemplar`s, the latest of each bucket as long as there is room. At most [`MAX_EXEMPLARS`] of a
//! data point; beyond that one takes another's place at random.

use crate::config::MAX_EXEMPLARS;
use crate::otlp::Buffer;
use crate::propagation::{SpanId, TraceId};

/// An exemplar and the bucket that it is from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exemplar {
    /// The trace.
    pub trace_id: TraceId,
    /// The span.
    pub span_id: SpanId,
    /// Unix time in nanoseconds.
    pub time: u64,
}

/// The exemplars of one data point.
#[derive(Debug, Default)]
pub(super) struct Exemplars(Vec<(i32, f64, Exemplar)>);

// === impl Exemplars ===

impl Exemplars {
    pub(super) fn take_note(&mut self, bucket: i32, value: f64, exemplar: Exemplar) {
        let new = (bucket, value, exemplar);
        // Trace ids are random already.
        let any = (exemplar.trace_id.randomness() as usize).checked_rem(MAX_EXEMPLARS).unwrap_or(0);
        match self.0.iter().position(|(known, ..)| *known == bucket) {
            None if self.0.len() < MAX_EXEMPLARS => self.0.push(new),
            known => {
                if let Some(old) = self.0.get_mut(known.unwrap_or(any)) {
                    *old = new;
                }
            }
        }
    }

    /// Forgets all of them: an exemplar is told once.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Writes each as field `field`.
    pub(super) fn write(&self, buf: &mut Buffer, field: u32) {
        for (_, value, exemplar) in &self.0 {
            buf.message(field, |buf| {
                buf.fixed64(2, exemplar.time);
                buf.double(3, *value);
                buf.bytes(4, exemplar.span_id.bytes());
                buf.bytes(5, exemplar.trace_id.bytes());
            });
        }
    }
}
