//! The sampling decision. In: what the caller decided, and the trace id. Out: whether this proxy records its span.
//! Parent-based: a decision that came in stands; only a trace without one is decided here, on the trace id, so that
//! every hop with the same ratio comes to the same verdict.

use crate::config::Sampling;
use crate::propagation::{Decision, TraceId};

/// The number of values that a trace id's randomness can take: it has 56 bits.
const VALUES: u64 = 1 << 56;

/// A ratio, as the threshold that OpenTelemetry's consistent probability sampling compares with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampler {
    /// Trace ids whose randomness is below it are not recorded.
    threshold: u64,
}

// === impl Sampler ===

impl Sampler {
    /// `ratio` is from 0 to 1, as [`crate::config::Config::check`] makes sure.
    pub fn new(sampling: &Sampling) -> Self {
        // The cast saturates, so that even a ratio out of bounds gives a threshold within them.
        let rejected = ((1.0 - sampling.ratio) * VALUES as f64).round() as u64;
        Self { threshold: rejected.min(VALUES) }
    }

    /// The caller's decision, or our own for a trace that has none.
    pub fn decide(&self, came: Option<Decision>, trace_id: TraceId) -> Decision {
        came.unwrap_or(if trace_id.randomness() >= self.threshold { Decision::Sample } else { Decision::Drop })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn sampler(ratio: f64) -> Sampler {
        Sampler::new(&Sampling { ratio })
    }

    fn id(randomness: &str) -> TraceId {
        TraceId::from_hex(format!("{:0>32}", format!("aa{randomness}")).as_bytes()).unwrap()
    }

    #[test]
    fn a_ratio_decides_on_the_last_56_bits() {
        // Ratio, the last 14 hex digits of the trace id, recorded, reason.
        let rows = [
            (1.0, "00000000000000", true, "everything"),
            (0.0, "ffffffffffffff", false, "nothing, not even the last id"),
            (0.5, "7fffffffffffff", false, "just below one half"),
            (0.5, "80000000000000", true, "at one half"),
            (0.25, "bfffffffffffff", false, "just below three quarters"),
            (0.25, "c0000000000000", true, "at three quarters"),
            (0.1, "e6666666666665", false, "just below nine tenths"),
            (0.1, "e6666666666668", true, "just above nine tenths"),
        ];
        for (ratio, randomness, recorded, reason) in rows {
            let decision = sampler(ratio).decide(None, id(randomness));
            assert_eq!(decision == Decision::Sample, recorded, "{reason}");
        }
    }

    #[test]
    fn the_caller_decides_for_its_own_trace() {
        let trace_id = id("ffffffffffffff");
        for came in [Decision::Sample, Decision::Drop, Decision::Debug] {
            for ratio in [0.0, 1.0] {
                assert_eq!(sampler(ratio).decide(Some(came), trace_id), came);
            }
        }
    }

    #[test]
    fn a_tenth_of_random_traces_is_about_a_tenth() {
        let mut ids = crate::propagation::id::Generator::seeded([7; 32]);
        let tenth = sampler(0.1);
        let kept = (0..100_000).filter(|_| tenth.decide(None, ids.trace_id()) == Decision::Sample).count();
        assert!((9_500..10_500).contains(&kept), "{kept} of 100000");
    }
}
