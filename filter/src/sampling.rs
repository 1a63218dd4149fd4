//! The sampling decision. In: what the caller decided, the trace id and the tracestate. Out: whether this proxy records
//! its span, and the tracestate that says so. Parent-based: a decision that came in stands; only a trace without one is
//! decided here, by OpenTelemetry's consistent probability sampling, so that every hop with the same ratio comes to the
//! same verdict and a backend knows how many traces a recorded one stands for.

pub mod keep;
pub mod probability;
pub mod rules;

use crate::propagation::tracestate;
use crate::propagation::{Decision, TraceId, Verdict};
use probability::{OtelState, Threshold};

/// The key of OpenTelemetry's own tracestate member.
const OTEL_KEY: &str = "ot";

/// A ratio, as the threshold that trace ids are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampler {
    threshold: Threshold,
    /// At a ratio of 1 nothing is sampled away, so there is nothing to tell a backend.
    tells: bool,
}

// === impl Sampler ===

impl Sampler {
    /// `ratio` is from 0 to 1, as [`crate::config::Config::check`] makes sure.
    pub fn new(ratio: f64) -> Self {
        Self { threshold: Threshold::of_ratio(ratio), tells: ratio < 1.0 }
    }

    /// Whether a trace is within the ratio, whatever anybody decided.
    pub fn keeps(&self, trace_id: TraceId) -> bool {
        self.threshold.keeps(OtelState::default().randomness(trace_id))
    }

    /// The caller's decision, or our own for a trace that has none.
    pub fn decide(&self, came: Option<Decision>, trace_id: TraceId, list: &str) -> Verdict {
        if let (true, Some(decision)) = (list.is_empty(), came) {
            return Verdict { decision, tracestate: None };
        }
        if list.is_empty() && !self.keeps(trace_id) {
            return Verdict { decision: Decision::Drop, tracestate: None };
        }
        let member = tracestate::member(list, OTEL_KEY);
        let mut state = OtelState::parse(member.unwrap_or(""));
        let randomness = state.randomness(trace_id);
        let decision = match came {
            Some(decision) => {
                // A threshold that contradicts the flag would make a backend count wrong.
                let sampled = decision != Decision::Drop;
                if state.threshold().is_some_and(|threshold| threshold.keeps(randomness) != sampled) {
                    state.set_threshold(None);
                }
                decision
            }
            None => {
                let keeps = self.threshold.keeps(randomness);
                state.set_threshold((keeps && self.tells).then_some(self.threshold));
                if keeps { Decision::Sample } else { Decision::Drop }
            }
        };
        let tracestate = state.is_changed().then(|| tracestate::with_member(list, OTEL_KEY, &state.format()));
        Verdict { decision, tracestate }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::propagation::id::Generator;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn id(randomness: &str) -> TraceId {
        TraceId::from_hex(format!("{:0>32}", format!("aa{randomness}")).as_bytes()).unwrap()
    }

    #[test]
    fn a_new_trace_is_decided_on_its_last_56_bits_and_says_so() {
        // Ratio, the last 14 hex digits of the trace id, recorded, the tracestate, reason.
        let rows = [
            (1.0, "00000000000000", true, None, "everything; there is nothing to tell"),
            (0.0, "ffffffffffffff", false, None, "nothing, not even the last id"),
            (0.5, "7fffffffffffff", false, None, "just below one half"),
            (0.5, "80000000000000", true, Some("ot=th:8"), "at one half"),
            (0.25, "bfffffffffffff", false, None, "just below three quarters"),
            (0.25, "c0000000000000", true, Some("ot=th:c"), "at three quarters"),
            (0.1, "e665ffffffffff", false, None, "just below nine tenths"),
            (0.1, "e6660000000000", true, Some("ot=th:e666"), "at nine tenths, to four digits"),
        ];
        for (ratio, randomness, recorded, tracestate, reason) in rows {
            let verdict = Sampler::new(ratio).decide(None, id(randomness), "");
            assert_eq!(verdict.decision == Decision::Sample, recorded, "{reason}");
            assert_eq!(verdict.tracestate.as_deref(), tracestate, "{reason}");
        }
    }

    #[test]
    fn the_caller_decides_for_its_own_trace() {
        let low = id("10000000000000");
        let high = id("f0000000000000");
        use Decision::{Debug, Drop, Sample};
        // Decision, trace id, tracestate, the tracestate that goes on where it changes, reason.
        let rows = [
            (Sample, low, "", None, "no threshold"),
            (Sample, high, "ot=th:8", None, "a threshold that agrees"),
            (Sample, low, "ot=th:8", Some(""), "one that says not sampled is erased"),
            (Drop, high, "ot=th:8", Some(""), "as is one that says sampled"),
            (Drop, low, "ot=th:8,a=1", None, "not sampled, and it agrees"),
            (Debug, low, "a=1,ot=th:8;x:y", Some("ot=x:y,a=1"), "other parts and members stay; a changed one leads"),
            (Sample, low, "ot=rv:ffffffffffffff;th:8", None, "an explicit randomness counts instead of the id"),
            (Drop, low, "ot=rv:ffffffffffffff;th:8", Some("ot=rv:ffffffffffffff"), "on both sides"),
            (Sample, low, "ot=th:xyz", Some(""), "what is no threshold is erased"),
            (Sample, low, "ot=foo:bar", None, "what is not ours stays"),
        ];
        for (decision, trace_id, came, want, reason) in rows {
            for ratio in [0.0, 1.0] {
                let verdict = Sampler::new(ratio).decide(Some(decision), trace_id, came);
                assert_eq!(verdict.decision, decision, "{reason}");
                assert_eq!(verdict.tracestate.as_deref(), want, "{reason}");
            }
        }
    }

    #[test]
    fn a_tenth_of_random_traces_is_about_a_tenth() {
        let mut ids = Generator::seeded([7; 32]);
        let tenth = Sampler::new(0.1);
        let kept = (0..100_000).filter(|_| tenth.decide(None, ids.trace_id(), "").decision == Decision::Sample).count();
        assert!((9_500..10_500).contains(&kept), "{kept} of 100000");
    }
}
