//! What otelmesh may cost. In: a [`Comparison`]. Out: each budget, what was measured, and whether it is kept.

use serde::Serialize;

use crate::compare::Comparison;
use crate::rung::{WATCHERS, Watcher};
use crate::statistics::{Estimate, Verdict};

/// A budget and what became of it.
#[derive(Debug, Serialize)]
pub struct Budget {
    /// What it is about.
    pub name: String,
    /// What was measured, in the words of a table.
    pub measured: String,
    /// What is allowed.
    pub most: String,
    /// Whether it is kept.
    pub verdict: Verdict,
}

const MIB: f64 = 1024.0 * 1024.0;
/// Memory that a worker may have over the empty filter's.
const MOST_MEMORY: f64 = 4.0 * MIB;
/// Bytes of the module.
const MOST_BYTES: u64 = 200 * 1024;
/// Milliseconds that Envoy may take to compile it.
const MOST_START: f64 = 1000.0;

/// The budgets of time, which hold in every setting.
pub fn of(comparison: &Comparison) -> Vec<Budget> {
    let ours = |ratio, logs, metrics| Watcher::Otelmesh { ratio, logs, metrics };
    let native = |ratio, logs| Watcher::Native { ratio, logs };
    let ratios = [
        ("all spans and logs", ours(1.0, true, false), native(1.0, true), 0.30),
        ("all signals", ours(1.0, true, true), native(1.0, true), 0.35),
        ("10 % of spans, all logs", ours(0.1, true, false), native(0.1, true), 0.5),
        ("10 % of spans", ours(0.1, false, false), native(0.1, false), 1.0),
        ("nothing sampled", ours(0.0, false, false), native(0.0, false), 1.0),
    ];
    let mut budgets = Vec::new();
    for (name, ours, native, most) in ratios {
        let (ours, native) = (comparison.row(ours), comparison.row(native));
        let ratio = Estimate::of_ratio(&ours.samples.cpu, &native.samples.cpu);
        budgets.push(Budget {
            name: format!("CPU, {name}: part of native's"),
            measured: format!("{:.2} ({:.2} to {:.2})", ratio.median, ratio.low, ratio.high),
            most: format!("{most:.2}"),
            verdict: ratio.against(most),
        });
    }
    for (name, ours, native, _) in ratios {
        let (ours, native) = (comparison.row(ours), comparison.row(native));
        let [_, ours] = &ours.samples.latency;
        let [_, native] = &native.samples.latency;
        let over: Vec<f64> = ours.iter().zip(native).map(|(ours, native)| ours - native).collect();
        let over = Estimate::of_median(&over);
        budgets.push(Budget {
            name: format!("p99, {name}: over native's"),
            measured: format!("{:+.0} µs ({:+.0} to {:+.0})", over.median, over.low, over.high),
            most: "0 µs".to_owned(),
            verdict: over.against(0.0),
        });
    }
    let rows = || comparison.rows.iter().filter(|row| matches!(row.watcher, Watcher::Otelmesh { .. }));
    let start = rows().map(|row| row.start - comparison.row(Watcher::Nobody).start).fold(0.0, f64::max);
    budgets.push(Budget {
        name: "longer start of Envoy".to_owned(),
        measured: format!("{start:.0} ms"),
        most: format!("{MOST_START:.0} ms"),
        verdict: if start <= MOST_START { Verdict::Met } else { Verdict::Missed },
    });
    budgets
}

/// The budget of memory: what a second worker adds, over what it adds with the empty filter. `None` where the settings
/// have no more workers one than the other. What a process has once, V8's compiled code above all, is told beside it.
pub fn of_memory(fewer: &Comparison, more: &Comparison) -> Option<Budget> {
    let workers = more.workers.checked_sub(fewer.workers).filter(|workers| *workers > 0)?;
    let over = |comparison: &Comparison, watcher| {
        comparison.row(watcher).resident as f64 - comparison.row(Watcher::Empty).resident as f64
    };
    let ours = WATCHERS.into_iter().filter(|watcher| matches!(watcher, Watcher::Otelmesh { .. }));
    let each = |watcher| (over(more, watcher) - over(fewer, watcher)) / f64::from(workers);
    let (worst, once) = ours
        .map(|watcher| (each(watcher), over(fewer, watcher) - each(watcher)))
        .fold((f64::NEG_INFINITY, 0.0), |worst, this| if this.0 > worst.0 { this } else { worst });
    Some(Budget {
        name: "memory a worker over the empty filter".to_owned(),
        measured: format!("{:.1} MiB, and {:.1} MiB once a process", worst / MIB, once / MIB),
        most: format!("{:.0} MiB", MOST_MEMORY / MIB),
        verdict: if worst <= MOST_MEMORY { Verdict::Met } else { Verdict::Missed },
    })
}

/// The budget of the module's size.
pub fn of_module(bytes: u64) -> Budget {
    Budget {
        name: "bytes of the module".to_owned(),
        measured: bytes.to_string(),
        most: MOST_BYTES.to_string(),
        verdict: if bytes <= MOST_BYTES { Verdict::Met } else { Verdict::Missed },
    }
}

/// The budget of memory over many exchanges: pages of the module's memory before and after.
pub fn of_flatness(exchanges: u32, (before, after): (u64, u64)) -> Budget {
    Budget {
        name: format!("pages of 64 KiB that {exchanges} exchanges add"),
        measured: (after - before).to_string(),
        most: "0".to_owned(),
        verdict: if after == before { Verdict::Met } else { Verdict::Missed },
    }
}
