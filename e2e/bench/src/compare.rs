//! Rung against rung. In: a [`Setting`] and for how long. Out: a [`Comparison`]: what each rung adds to a proxy that
//! nobody watches. All proxies run side by side and take turns in an order drawn anew each round; within a round all of
//! them get the same requests at the same intervals, and only what differs within a round counts.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::rung::{Modules, Rung, Setting, WATCHERS, Watcher};
use crate::statistics::{Estimate, quantile};

/// Requests of each rung before anything counts: V8 compiles what is hot once more by then.
const WARM_UP: u64 = 10_000;
/// Longer than any exporter holds records back.
const SETTLE: Duration = Duration::from_secs(6);

/// How long a comparison takes.
#[derive(Debug, Clone, Copy)]
pub struct Length {
    /// How often each rung has its turn.
    pub rounds: usize,
    /// For how long.
    pub turn: Duration,
}

/// What came of a setting.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// The setting's name.
    pub setting: &'static str,
    /// Worker threads.
    pub workers: u32,
    /// Requests a second: half of what the slowest rung bears.
    pub rate: f64,
    /// How often each rung had its turn.
    pub rounds: usize,
    /// Requests of one turn.
    pub requests: u64,
    /// What a request costs the proxy that nobody watches, in microseconds of CPU time.
    pub base_cpu: Estimate,
    /// Its latencies in microseconds: the median and the 99th percentile.
    pub base_latency: [Estimate; 2],
    /// The rungs, in the order of [`WATCHERS`].
    pub rows: Vec<Row>,
}

/// What a rung adds.
#[derive(Debug, Serialize)]
pub struct Row {
    /// Who watches.
    pub name: String,
    /// CPU time per request, in microseconds, over nobody.
    pub cpu: Estimate,
    /// Latency over nobody in microseconds: of the median and of the 99th percentile.
    pub latency: [Estimate; 2],
    /// Resident memory in bytes, of the whole process.
    pub resident: u64,
    /// Bytes exported for each request.
    pub exported: f64,
    /// Milliseconds until the proxy was ready, in which Envoy compiles a module.
    pub start: f64,
    #[serde(skip)]
    pub(crate) watcher: Watcher,
    #[serde(skip)]
    pub(crate) samples: Samples,
}

/// One figure a round.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples {
    pub(crate) cpu: Vec<f64>,
    pub(crate) latency: [Vec<f64>; 2],
}

/// Compares all rungs.
///
/// # Panics
/// A proxy does not start, a request fails, or the filter loses something.
pub async fn compare(
    binary: &Path,
    modules: &Modules,
    upstream: SocketAddr,
    setting: Setting,
    length: Length,
) -> Comparison {
    let (mut rungs, mut starts) = (Vec::new(), Vec::new());
    // The first start reads Envoy from the disk, which is none of the first rung's.
    drop(Rung::start(binary, Watcher::Nobody, setting, upstream, modules).await);
    for watcher in WATCHERS {
        let begun = Instant::now();
        rungs.push(Rung::start(binary, watcher, setting, upstream, modules).await);
        starts.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    let mut slowest = f64::INFINITY;
    for rung in &rungs {
        rung.client.saturate(WARM_UP).await;
        slowest = slowest.min(rung.client.saturate(WARM_UP).await);
    }
    let rate = slowest / 2.0;
    let requests = (rate * length.turn.as_secs_f64()).ceil() as u64;
    let mut random = fastrand::Rng::with_seed(11);
    let mut order: Vec<usize> = (0..rungs.len()).collect();
    let mut marks = vec![Vec::new(); rungs.len()];
    let mut samples = vec![Samples::default(); rungs.len()];
    tokio::time::sleep(SETTLE).await;
    let exported: Vec<u64> = rungs.iter().map(Rung::exported).collect();
    for round in 0..length.rounds {
        random.shuffle(&mut order);
        for &n in &order {
            let (rung, samples) = (&rungs[n], &mut samples[n]);
            marks[n].push(rung.cpu());
            let latencies = rung.client.send(requests, rate, round as u64).await;
            let mut micros: Vec<f64> = latencies.iter().map(|l| l.as_secs_f64() * 1e6).collect();
            samples.latency[0].push(quantile(&mut micros, 0.5));
            samples.latency[1].push(quantile(&mut micros, 0.99));
        }
    }
    tokio::time::sleep(SETTLE).await;
    for ((rung, marks), samples) in rungs.iter().zip(&mut marks).zip(&mut samples) {
        marks.push(rung.cpu());
        // From turn to turn: what is exported after a turn belongs to it.
        samples.cpu = marks.windows(2).map(|pair| (pair[1] - pair[0]) / requests as f64).collect();
        rung.check().await;
    }
    let base = samples[0].clone();
    let all = requests as f64 * length.rounds as f64;
    let rows = rungs.iter().enumerate().map(|(n, rung)| {
        let added = samples[n].over(&base);
        Row {
            name: rung.watcher.name(),
            cpu: Estimate::of_median(&added.cpu),
            latency: added.latency.each_ref().map(|samples| Estimate::of_median(samples)),
            resident: rung.resident(),
            exported: (rung.exported() - exported[n]) as f64 / all,
            start: starts[n],
            watcher: rung.watcher,
            samples: added,
        }
    });
    Comparison {
        setting: setting.name,
        workers: setting.workers,
        rate,
        rounds: length.rounds,
        requests,
        base_cpu: Estimate::of_median(&base.cpu),
        base_latency: base.latency.each_ref().map(|samples| Estimate::of_median(samples)),
        rows: rows.collect(),
    }
}

// === impl Samples ===

impl Samples {
    fn over(&self, base: &Self) -> Self {
        let minus = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a - b).collect();
        let [median, tail] = &self.latency;
        let [base_median, base_tail] = &base.latency;
        Self { cpu: minus(&self.cpu, &base.cpu), latency: [minus(median, base_median), minus(tail, base_tail)] }
    }
}

// === impl Comparison ===

impl Comparison {
    pub(crate) fn row(&self, watcher: Watcher) -> &Row {
        self.rows.iter().find(|row| row.watcher == watcher).expect("every watcher has a row")
    }
}
