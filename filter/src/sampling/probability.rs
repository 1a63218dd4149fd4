//! OpenTelemetry's consistent probability sampling ("TraceState: Probability Sampling"). In: a ratio, and the value of the
//! `ot` member of a tracestate, `th:…;rv:…`. Out: rejection thresholds, the randomness of a trace, and the value again.
//! A `th` or `rv` that the specification refuses is treated as absent and not sent on; other parts stay as they are. An
//! oracle test holds thresholds and decisions to the collector's own Go package.

use std::fmt;

use crate::propagation::TraceId;

/// Randomness has 56 bits, and so has a threshold.
const VALUES: u64 = 1 << 56;
const HEX_DIGITS: u32 = 14;
/// Digits of a threshold that follow the leading zeros or fs, as the collector writes them.
const PRECISION: u32 = 4;

/// Traces whose randomness is below it are not recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threshold(u64);

/// 56 random bits of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Randomness(u64);

/// The parts of an `ot` member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OtelState<'a> {
    threshold: Option<Threshold>,
    explicit: Option<Randomness>,
    others: Vec<&'a str>,
    /// Whether it says something else than what came.
    changed: bool,
}

// === impl Threshold ===

impl Threshold {
    /// The threshold of a ratio from 0 to 1, rounded to the digits that are sent.
    pub fn of_ratio(ratio: f64) -> Self {
        if ratio >= 1.0 {
            return Self(0);
        }
        let kept = (ratio.max(0.0) * VALUES as f64).round() as u64;
        let exact = VALUES.saturating_sub(kept);
        // Near 0 and near 1 the leading digits say nothing, so as many more follow.
        let leading = |part: f64| exponent(part).checked_div(4).unwrap_or(0);
        let precision = PRECISION.saturating_add(leading(ratio).max(leading(1.0 - ratio))).min(HEX_DIGITS);
        let shift = HEX_DIGITS.saturating_sub(precision).saturating_mul(4);
        let half = 1u64.checked_shl(shift).unwrap_or(0) / 2;
        let rounded = exact.saturating_add(half).checked_shr(shift).unwrap_or(0).checked_shl(shift).unwrap_or(0);
        Self(rounded.min(VALUES))
    }

    /// One to fourteen lower-case hex digits; missing ones are zeros.
    pub fn parse(hex: &str) -> Option<Self> {
        let missing = HEX_DIGITS.checked_sub(u32::try_from(hex.len()).ok()?)?;
        digits(hex)?.checked_shl(missing.checked_mul(4)?).map(Self)
    }

    /// Whether a trace is recorded.
    pub fn keeps(self, randomness: Randomness) -> bool {
        randomness.0 >= self.0
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:014x}", self.0);
        let short = hex.trim_end_matches('0');
        f.write_str(if short.is_empty() { "0" } else { short })
    }
}

/// How many leading binary zeros a fraction has behind the point.
fn exponent(fraction: f64) -> u32 {
    if fraction <= 0.0 {
        return 0;
    }
    // The biased exponent of an IEEE 754 double; 1022 is that of numbers from one half to 1.
    let biased = fraction.to_bits().checked_shr(52).unwrap_or(0) & 0x7ff;
    u32::try_from(1022u64.saturating_sub(biased)).unwrap_or(0)
}

fn digits(hex: &str) -> Option<u64> {
    let is_hex = !hex.is_empty() && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if is_hex { u64::from_str_radix(hex, 16).ok() } else { None }
}

// === impl OtelState ===

impl<'a> OtelState<'a> {
    /// Takes a member's value apart; an empty one has no parts.
    pub fn parse(value: &'a str) -> Self {
        let mut state = Self::default();
        let mut parts = 0usize;
        for part in value.split(';').filter(|part| !part.is_empty()) {
            parts = parts.saturating_add(1);
            match part.split_once(':') {
                Some(("th", hex)) => state.set_threshold(Threshold::parse(hex)),
                Some(("rv", hex)) => state.explicit = randomness(hex),
                _ => state.others.push(part),
            }
        }
        // What a part says once, and well, stays as it came.
        let said = [state.threshold.is_some(), state.explicit.is_some()].into_iter().filter(|is_said| *is_said).count();
        state.changed = said.saturating_add(state.others.len()) != parts;
        state
    }

    /// The threshold that came, or was set.
    pub fn threshold(&self) -> Option<Threshold> {
        self.threshold
    }

    /// Sets or erases the threshold.
    pub fn set_threshold(&mut self, threshold: Option<Threshold>) {
        self.changed |= self.threshold != threshold;
        self.threshold = threshold;
    }

    /// Whether the member's value is not what came any more.
    pub fn is_changed(&self) -> bool {
        self.changed
    }

    /// The explicit randomness, or else that of the trace id.
    pub fn randomness(&self, trace_id: TraceId) -> Randomness {
        self.explicit.unwrap_or(Randomness(trace_id.randomness()))
    }

    /// The member's value; empty where there is nothing to say.
    pub fn format(&self) -> String {
        let rv = self.explicit.map(|Randomness(bits)| format!("rv:{bits:014x}"));
        let th = self.threshold.map(|threshold| format!("th:{threshold}"));
        let parts: Vec<&str> =
            rv.as_deref().into_iter().chain(th.as_deref()).chain(self.others.iter().copied()).collect();
        parts.join(";")
    }
}

/// Exactly fourteen lower-case hex digits.
fn randomness(hex: &str) -> Option<Randomness> {
    if hex.len() == HEX_DIGITS as usize { digits(hex).map(Randomness) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn ratios_become_the_thresholds_of_the_specification() {
        let rows = [
            (1.0, "0"),
            (0.5, "8"),
            (0.25, "c"),
            (0.125, "e"),
            (0.1, "e666"),
            (0.01, "fd70a"),
            (0.001, "ffbe77"),
            (2.0 / 3.0, "5555"),
            (1.0 / 3.0, "aaab"),
            (0.99, "028f6"),
        ];
        for (ratio, hex) in rows {
            assert_eq!(Threshold::of_ratio(ratio).to_string(), hex, "{ratio}");
        }
        assert_eq!(Threshold::of_ratio(0.0).0, VALUES, "nothing is above it");
    }

    #[test]
    fn thresholds_are_read_as_they_are_written() {
        let rows = [
            ("0", Some(0)),
            ("8", Some(0x0080_0000_0000_0000)),
            ("e666", Some(0x00e6_6600_0000_0000)),
            ("ffffffffffffff", Some(VALUES - 1)),
            ("00000000000001", Some(1)),
            ("", None),
            ("fffffffffffffff", None),
            ("E6", None),
            ("+1", None),
            ("-1", None),
            ("g", None),
        ];
        for (hex, want) in rows {
            assert_eq!(Threshold::parse(hex).map(|t| t.0), want, "{hex}");
        }
    }

    #[test]
    fn a_member_comes_apart_and_together() {
        // Came, goes on, reason.
        let rows = [
            ("", "", "nothing"),
            ("th:8", "th:8", "a threshold"),
            ("th:80", "th:8", "zeros at the end go"),
            ("rv:0123456789abcd;th:8", "rv:0123456789abcd;th:8", "both"),
            ("a:b;th:8;c", "th:8;a:b;c", "others stay in order"),
            ("rv:123", "", "too short a randomness is dropped"),
            ("th:;rv:", "", "so is what is empty"),
            (";;", "", "and what is nothing"),
        ];
        for (came, goes, reason) in rows {
            assert_eq!(OtelState::parse(came).format(), goes, "{reason}");
        }
    }
}
