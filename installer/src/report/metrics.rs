//! Metrics as Prometheus' text format has them.
//!
//! In: what a collector serves. Out: sums over all series of a name. Lines that are no sample are passed over.

use std::collections::BTreeMap;

/// Sums by name.
#[derive(Debug, Default, Clone)]
pub(super) struct Metrics(BTreeMap<String, f64>);

// === impl Metrics ===

impl Metrics {
    pub(super) fn read(text: &str) -> Self {
        let mut sums = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            // Labels may hold spaces and braces, so the value is looked for from behind them.
            let (name, rest) = match line.split_once('{') {
                Some((name, rest)) => (name, rest.rsplit_once('}').map_or("", |(_, rest)| rest)),
                None => line.split_once(' ').unwrap_or((line, "")),
            };
            let value = rest.split_whitespace().next().and_then(|value| value.parse::<f64>().ok());
            if let Some(value) = value.filter(|value| value.is_finite()) {
                *sums.entry(name.to_owned()).or_insert(0.0) += value;
            }
        }
        Self(sums)
    }

    /// The sum under a name, with or without the `_total` that some versions leave out.
    pub(super) fn sum(&self, name: &str) -> f64 {
        self.0.get(&format!("{name}_total")).or_else(|| self.0.get(name)).copied().unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_summed_by_name() {
        let metrics = Metrics::read(
            "# HELP a Accepted {things}\n# TYPE a counter\na_total{x=\"1\"} 2\na_total{x=\"{ } 9\"} 3.5 1700000000\n\
             b 1e3\nc{} NaN\nd\n",
        );
        assert_eq!((metrics.sum("a"), metrics.sum("b"), metrics.sum("c"), metrics.sum("d")), (5.5, 1000.0, 0.0, 0.0));
    }
}
