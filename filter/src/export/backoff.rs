//! When to try again. In: failures and the time. Out: whether the wait is over. Doubles from `MIN_BACKOFF` to
//! `MAX_BACKOFF`, each wait shortened by up to a half at random, so that a fleet does not come back all at once
//! (OTLP exporter specification, "Retry").

use crate::config::{MAX_BACKOFF, MAX_RETRY_AFTER, MIN_BACKOFF};

/// The wait after failures in a row.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Backoff {
    failures: u32,
    /// Unix time in nanoseconds.
    until: u64,
}

// === impl Backoff ===

impl Backoff {
    /// Whether the next attempt may be made.
    pub(super) fn is_over(self, now: u64) -> bool {
        // A clock that went back must not keep us waiting for ever.
        now >= self.until || self.until.saturating_sub(now) > MAX_RETRY_AFTER.as_nanos()
    }

    /// Whether the last attempt succeeded, or there was none.
    pub(super) fn is_reset(self) -> bool {
        self.failures == 0
    }

    /// Notes a failure, after which the receiver wants to be left alone for `at_least`. `random` is any number.
    pub(super) fn fail(&mut self, now: u64, at_least: u64, random: u64) {
        let factor = 1u64.checked_shl(self.failures.min(16)).unwrap_or(1);
        let wait = MIN_BACKOFF.as_nanos().saturating_mul(factor).min(MAX_BACKOFF.as_nanos());
        let jitter = random.checked_rem((wait / 2).max(1)).unwrap_or(0);
        self.failures = self.failures.saturating_add(1);
        self.until = now.saturating_add(wait.saturating_sub(jitter).max(at_least));
    }

    /// Notes a success.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn waits_double_up_to_their_limit() {
        let mut backoff = Backoff::default();
        assert!(backoff.is_over(0));
        for seconds in [1, 2, 4, 8, 16, 30, 30, 30] {
            backoff.fail(100 * SECOND, 0, 0);
            assert!(!backoff.is_over((100 + seconds) * SECOND - 1));
            assert!(backoff.is_over((100 + seconds) * SECOND));
        }
        backoff.reset();
        assert!(backoff.is_over(0));
    }

    #[test]
    fn jitter_takes_up_to_half() {
        for random in [1, u64::MAX / 3, u64::MAX] {
            let mut backoff = Backoff::default();
            backoff.fail(0, 0, random);
            assert!(!backoff.is_over(SECOND / 2 - 1));
            assert!(backoff.is_over(SECOND));
        }
    }

    #[test]
    fn what_the_receiver_asks_for_is_waited_for() {
        let mut backoff = Backoff::default();
        backoff.fail(0, 60 * SECOND, u64::MAX);
        assert!(!backoff.is_over(60 * SECOND - 1));
        assert!(backoff.is_over(60 * SECOND));
    }

    #[test]
    fn a_clock_that_went_back_does_not_wait_for_ever() {
        let mut backoff = Backoff::default();
        backoff.fail(1_000_000 * SECOND, 0, 0);
        assert!(backoff.is_over(SECOND));
    }
}
