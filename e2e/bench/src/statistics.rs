//! What can be said of noisy figures. In: paired samples, one a round. Out: an [`Estimate`]: the median with an interval
//! that holds it with 95 % confidence, by resampling rounds.

use serde::Serialize;

/// Resamples behind an interval.
const RESAMPLES: usize = 2000;

/// A figure and how sure it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The median.
    pub median: f64,
    /// With 95 % confidence it is not lower,
    pub low: f64,
    /// nor higher.
    pub high: f64,
}

/// What an estimate says of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// All of the interval is within it.
    Met,
    /// All of it is beyond.
    Missed,
    /// Neither.
    #[serde(rename = "too noisy to tell")]
    Unclear,
}

/// The median; 0 of nothing.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        len if len % 2 == 1 => sorted[len / 2],
        len => f64::midpoint(sorted[len / 2 - 1], sorted[len / 2]),
    }
}

/// The value below which `share` of all lie; sorts.
pub fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = ((values.len() as f64 * share).ceil() as usize).clamp(1, values.len().max(1)) - 1;
    values.get(at).copied().unwrap_or(0.0)
}

// === impl Estimate ===

impl Estimate {
    /// Of what `figure` makes of some rounds, over all `rounds` of them.
    pub fn of(rounds: usize, figure: impl Fn(&[usize]) -> f64) -> Self {
        // A fixed seed: the same samples have the same interval.
        let mut random = fastrand::Rng::with_seed(7);
        let all: Vec<usize> = (0..rounds).collect();
        let mut resampled: Vec<f64> = (0..RESAMPLES)
            .map(|_| figure(&(0..rounds).map(|_| random.usize(0..rounds)).collect::<Vec<_>>()))
            .filter(|value| value.is_finite())
            .collect();
        let median = figure(&all);
        Self { median, low: quantile(&mut resampled, 0.025), high: quantile(&mut resampled, 0.975) }
    }

    /// Of the median of samples, one a round.
    pub fn of_median(samples: &[f64]) -> Self {
        Self::of(samples.len(), |rounds| median(&pick(samples, rounds)))
    }

    /// Of the ratio between the medians of two samples of the same rounds.
    pub fn of_ratio(numerator: &[f64], denominator: &[f64]) -> Self {
        let rounds = numerator.len().min(denominator.len());
        Self::of(rounds, |rounds| median(&pick(numerator, rounds)) / median(&pick(denominator, rounds)))
    }

    /// Whether it keeps within `most`.
    pub fn against(&self, most: f64) -> Verdict {
        if self.high <= most {
            Verdict::Met
        } else if self.low > most {
            Verdict::Missed
        } else {
            Verdict::Unclear
        }
    }
}

fn pick(samples: &[f64], rounds: &[usize]) -> Vec<f64> {
    rounds.iter().map(|round| samples[*round]).collect()
}

// === impl Verdict ===

impl Verdict {
    /// In a table.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Missed => "MISSED",
            Self::Unclear => "too noisy to tell",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_quantiles() {
        assert_eq!(median(&[]), 0.0);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        let mut hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!((quantile(&mut hundred, 0.99), quantile(&mut hundred, 0.5)), (99.0, 50.0));
        assert_eq!(quantile(&mut [], 0.5), 0.0);
    }

    #[test]
    fn an_interval_holds_what_is_there_and_tells_noise_from_a_difference() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut noisy =
            |around: f64, by: f64| -> Vec<f64> { (0..40).map(|_| around + by * (random.f64() - 0.5)).collect() };
        let (quiet, loud) = (Estimate::of_median(&noisy(10.0, 2.0)), Estimate::of_median(&noisy(10.0, 40.0)));
        assert!(quiet.low < 10.0 && quiet.high > 10.0 && quiet.high - quiet.low < 1.0, "{quiet:?}");
        assert_eq!((quiet.against(12.0), quiet.against(8.0)), (Verdict::Met, Verdict::Missed));
        assert_eq!(loud.against(10.0), Verdict::Unclear, "{loud:?}");
        let ratio = Estimate::of_ratio(&noisy(3.0, 0.5), &noisy(10.0, 0.5));
        assert!(ratio.low < 0.3 + 0.02 && ratio.high > 0.3 - 0.02 && ratio.against(0.4) == Verdict::Met, "{ratio:?}");
    }
}
