//! Late keep: spans worth exporting although their trace is not recorded. In: how an exchange went. Out: the reason to
//! keep its span, which the span then carries. Only this proxy's span is kept; the trace around it stays partial.

use crate::config::{self, response_flags};

/// What is worth keeping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keep {
    errors: bool,
    slower_than_nanos: Option<u64>,
    flags: u64,
}

// === impl Keep ===

impl Keep {
    /// Reads the configuration.
    pub fn new(keep: &config::Keep) -> Self {
        let flags = keep.response_flags.iter().filter_map(|flag| response_flags::bit(flag));
        Self {
            errors: keep.errors,
            slower_than_nanos: keep.slower_than.map(config::Millis::as_nanos),
            flags: flags.fold(0, |all, bit| all | bit),
        }
    }

    /// Whether anything is ever kept.
    pub fn is_on(&self) -> bool {
        self.errors || self.slower_than_nanos.is_some() || self.flags != 0
    }

    /// Why to keep a span, if there is a reason.
    pub fn reason(&self, failed: bool, flags: u64, nanos: u64) -> Option<&'static str> {
        if self.errors && failed {
            Some("error")
        } else if self.slower_than_nanos.is_some_and(|limit| nanos > limit) {
            Some("slow")
        } else if self.flags & flags != 0 {
            Some("response_flags")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn each_reason_has_its_switch() {
        let keep = |json: &str| Keep::new(&serde_json::from_str(json).unwrap());
        let none = keep("{}");
        assert!(!none.is_on());
        assert_eq!(none.reason(true, u64::MAX, u64::MAX), None);
        assert_eq!(keep(r#"{"errors":true}"#).reason(true, 0, 0), Some("error"));
        assert_eq!(keep(r#"{"errors":true}"#).reason(false, u64::MAX, u64::MAX), None);
        let slow = keep(r#"{"slowerThan":"1s"}"#);
        assert_eq!(slow.reason(true, 0, 1_000_000_000), None, "as slow is not slower");
        assert_eq!(slow.reason(false, 0, 1_000_000_001), Some("slow"));
        let flags = keep(r#"{"responseFlags":["UF","URX"]}"#);
        assert_eq!(flags.reason(false, 1 << 15, 0), Some("response_flags"));
        assert_eq!(flags.reason(true, 1 << 14, 0), None);
    }
}
