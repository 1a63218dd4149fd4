//! `bench`: what otelmesh costs beside Envoy's own telemetry. Prints tables with the budgets and which of them are kept, and
//! writes `target/bench.json`, `target/bench.md` and `target/bench.svg`.
//!
//! `BENCH_ROUNDS` (40): how often each rung has its turn in the first setting; half as often in the others.
//! `BENCH_SETTINGS` (4): how many of the settings. `BENCH_EXCHANGES` (10000000): how many exchanges memory has to bear.

use std::fs;
use std::path::Path;
use std::time::Duration;

use otelmesh_bench::compare::{Length, compare};
use otelmesh_bench::counted::{Compiled, Counted, situation};
use otelmesh_bench::rung::{Modules, SETTINGS};
use otelmesh_bench::statistics::Verdict;
use otelmesh_bench::{budget, load, report};
use serde_json::json;

const TURN: Duration = Duration::from_millis(400);

fn number(name: &str, otherwise: u32) -> u32 {
    std::env::var(name).map_or(otherwise, |value| value.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

#[tokio::main]
async fn main() {
    let (rounds, exchanges) = (number("BENCH_ROUNDS", 40) as usize, number("BENCH_EXCHANGES", 10_000_000));
    let binary = otelmesh::envoy::find(None).unwrap_or_else(|error| panic!("{error:#}"));
    let folder = tempfile::tempdir().expect("a directory can be made");
    let modules = Modules::find(folder.path());

    let mut general = vec![budget::of_module(fs::metadata(&modules.otelmesh).expect("it was found").len())];
    let pages = tokio::task::spawn_blocking(move || flatness(exchanges)).await.expect("it does not panic");
    general.push(budget::of_flatness(exchanges, pages));
    let upstream = load::upstream().await;
    let (mut comparisons, mut text) = (Vec::new(), String::new());
    let mut all = Vec::new();
    for (n, setting) in SETTINGS.into_iter().take(number("BENCH_SETTINGS", 4) as usize).enumerate() {
        let rounds = if n == 0 { rounds } else { rounds.div_ceil(2) };
        let comparison = compare(&binary, &modules, upstream, setting, Length { rounds, turn: TURN }).await;
        let kept = budget::of(&comparison);
        let part = format!("{}\n{}\n", report::table(&comparison), report::budgets(&kept));
        println!("{part}");
        text += &part;
        if n == 0 {
            fs::write("target/bench.svg", report::plot(&comparison)).expect("target can be written");
        }
        comparisons.push(comparison);
        all.push(kept);
    }
    let memory = comparisons.iter().skip(1).find_map(|other| budget::of_memory(&comparisons[0], other));
    general.extend(memory);
    let rest = report::budgets(&general);
    println!("{rest}");
    fs::write("target/bench.md", text + &rest).expect("target can be written");
    let settings: Vec<_> = comparisons
        .iter()
        .zip(&all)
        .map(|(comparison, kept)| json!({"comparison": comparison, "budgets": kept}))
        .collect();
    let json = json!({"settings": settings, "budgets": general});
    fs::write("target/bench.json", format!("{json:#}\n")).expect("target can be written");
    let budgets: Vec<_> = all.iter().flatten().chain(&general).collect();
    let count = |verdict| budgets.iter().filter(|budget| budget.verdict == verdict).count();
    let (missed, unclear) = (count(Verdict::Missed), count(Verdict::Unclear));
    println!("{} budgets: {missed} missed, {unclear} too noisy to tell", budgets.len());
}

/// Exchanges after which the module's memory has its size: batches are full, and every table is.
const SETTLED: u32 = 100_000;

/// Pages of the module's memory before so many exchanges, and after them.
fn flatness(exchanges: u32) -> (u64, u64) {
    let module = Compiled::new(Path::new("target/otelmesh-unguarded.wasm"));
    let mut counted = Counted::new(&module, &situation("all signals"));
    counted.exchanges(SETTLED);
    let before = counted.pages();
    counted.exchanges(exchanges);
    (before, counted.pages())
}
