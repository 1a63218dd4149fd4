//! What an exchange costs in instructions and crossings, held to the figures that are committed beside this file.

use std::collections::BTreeMap;
use std::path::Path;

use otelmesh_bench::counted::{Compiled, Cost, situations};
use otelmesh_bench::rung::PROPERTIES;
use serde::{Deserialize, Serialize};

/// How far a figure may be off before it has to be changed, in the same commit as what changed it.
const TOLERANCE: f64 = 0.1;

#[derive(Debug, Serialize, Deserialize)]
struct Figures {
    instructions: u64,
    crossings: BTreeMap<String, f64>,
}

#[test]
fn an_exchange_costs_what_is_committed() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cost.json");
    let module = Compiled::new(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/otelmesh-unguarded.wasm"));
    let costs: BTreeMap<_, _> = situations().iter().map(|s| (s.name.to_owned(), s.count(&module))).collect();
    for (name, cost) in &costs {
        println!("{name:<34} {cost}");
        assert_eq!(cost.pages.0, cost.pages.1, "{name}: memory grows");
    }
    // What the bench asks of Envoy where it stands for the filter.
    assert_eq!(costs["all spans and logs"].crossings["proxy_get_property"], PROPERTIES.len() as f64);
    let now: BTreeMap<_, _> = costs.iter().map(|(name, cost)| (name.clone(), figures(cost))).collect();
    if std::env::var_os("OTELMESH_UPDATE").is_some() {
        std::fs::write(&file, serde_json::to_string_pretty(&now).unwrap() + "\n").unwrap();
        return;
    }
    let kept: BTreeMap<String, Figures> = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(kept.keys().collect::<Vec<_>>(), now.keys().collect::<Vec<_>>());
    let mut changed = Vec::new();
    for (name, now) in &now {
        let kept = &kept[name];
        let mut compare = |what: &str, kept: f64, now: f64| {
            if (now - kept).abs() > kept * TOLERANCE {
                changed.push(format!("{name}: {what} {kept} → {now}"));
            }
        };
        compare("instructions", kept.instructions as f64, now.instructions as f64);
        for what in kept.crossings.keys().chain(now.crossings.keys()) {
            let of = |figures: &Figures| figures.crossings.get(what).copied().unwrap_or(0.0);
            compare(what, of(kept), of(now));
        }
    }
    assert!(
        changed.is_empty(),
        "the cost of an exchange has changed by more than a tenth; if that is meant to be, \
         run `OTELMESH_UPDATE=1 cargo test -p otelmesh-bench --test cost` and commit e2e/bench/tests/cost.json:\n{}",
        changed.join("\n")
    );
}

fn figures(cost: &Cost) -> Figures {
    // Four digits tell one export in thousands of exchanges.
    let rounded = |count: &f64| (count * 1e4).round() / 1e4;
    Figures {
        instructions: cost.instructions.round() as u64,
        crossings: cost.crossings.iter().map(|(name, count)| (name.clone(), rounded(count))).collect(),
    }
}
