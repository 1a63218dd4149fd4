//! The filter's counters, as Envoy publishes them.
//!
//! In: statistics of several Envoys. Out: their sum by noun and fate. Refuses nothing: a counter that no Envoy has is
//! zero, and [`Counters::is_empty`] tells when there was none at all.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;

use crate::envoy::Envoy;

/// What Envoy puts before the name that a filter gives.
const PREFIX: &str = "wasmcustom.";

/// Sums by the filter's own names, such as `otelmesh_spans_exported`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub(super) struct Counters(BTreeMap<String, i64>);

/// What became of the records of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Fate {
    pub(super) recorded: i64,
    pub(super) exported: i64,
    pub(super) rejected: i64,
    pub(super) dropped: i64,
    pub(super) waiting: i64,
}

impl Counters {
    pub(super) async fn read(envoys: &[Envoy]) -> Result<Self> {
        let mut sums = BTreeMap::new();
        for envoy in envoys {
            for (name, value) in envoy.stats(&format!("^{PREFIX}otelmesh_")).await? {
                *sums.entry(name.trim_start_matches(PREFIX).to_owned()).or_default() += value;
            }
        }
        Ok(Self(sums))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What became of `spans` or `logs`.
    pub(super) fn fate(&self, noun: &str) -> Fate {
        let get = |what: &str| self.0.get(&format!("otelmesh_{noun}_{what}")).copied().unwrap_or_default();
        Fate {
            recorded: get("recorded"),
            exported: get("exported"),
            rejected: get("rejected"),
            dropped: self.dropped(noun).map(|(_, count)| count).sum(),
            waiting: get("waiting"),
        }
    }

    /// Reasons for which records of this kind were dropped, each with its count.
    pub(super) fn dropped<'a>(&'a self, noun: &str) -> impl Iterator<Item = (&'a str, i64)> {
        let prefix = format!("otelmesh_{noun}_dropped_");
        self.0.iter().filter_map(move |(name, count)| Some((name.strip_prefix(&prefix)?, *count)))
    }

    #[cfg(test)]
    pub(super) fn of(pairs: &[(&str, i64)]) -> Self {
        Self(pairs.iter().map(|(name, count)| (format!("otelmesh_{name}"), *count)).collect())
    }
}

impl Fate {
    /// Every recorded one is accounted for.
    pub(super) fn is_whole(self) -> bool {
        self.recorded == self.exported + self.rejected + self.dropped + self.waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_of_every_reason_are_added_up_for_their_own_noun() {
        let counters = Counters::of(&[
            ("spans_recorded", 10),
            ("spans_exported", 4),
            ("spans_dropped_queue_full", 3),
            ("spans_dropped_export_failed", 2),
            ("spans_waiting", 1),
            ("logs_dropped_queue_full", 50),
        ]);
        let fate = counters.fate("spans");
        assert_eq!(fate, Fate { recorded: 10, exported: 4, rejected: 0, dropped: 5, waiting: 1 });
        assert!(fate.is_whole());
        assert!(!counters.fate("logs").is_whole());
    }
}
