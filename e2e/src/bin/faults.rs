//! Prints the fault table: what became of ten requests' spans and logs in each scenario, by the filter and by Envoy's own
//! exporters. Ends with an error where the filter's records are neither with the receiver nor accounted for.

use otelmesh_e2e::faults::{Bench, Fortune, Outcome, REQUESTS, Subject, Wire, scenarios};

#[tokio::main]
async fn main() {
    println!(
        "Of {REQUESTS} requests in each scenario: spans / logs that the receiver has, and what the sender says of the rest."
    );
    println!(
        "| receiver | protocol | filter | dropped by it, counted | Envoy's tracer and access log | lost by them |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    let mut failed = 0;
    for wire in Wire::ALL {
        let mut filter = Bench::start(Subject::Filter, wire).await;
        let mut native = Bench::start(Subject::Native, wire).await;
        for scenario in scenarios(wire) {
            let (ours, theirs) = tokio::join!(filter.run(&scenario), native.run(&scenario));
            failed += ours.failed + theirs.failed;
            println!(
                "| {} | {} | {} | {} | {} | {} |",
                scenario.name,
                wire.name(),
                received(&ours),
                dropped(&ours),
                received(&theirs),
                lost(&theirs)
            );
        }
    }
    println!("\nRequests that failed: {failed}");
}

fn each(outcome: &Outcome, of: impl Fn(&Fortune) -> String) -> String {
    let [spans, logs] = &outcome.fortunes;
    format!("{} / {}", of(spans), of(logs))
}

fn received(outcome: &Outcome) -> String {
    each(outcome, |fortune| match (fortune.received - fortune.rejected, fortune.repeated) {
        (received, 0) => received.to_string(),
        (received, twice) => format!("{received} ({twice} twice)"),
    })
}

fn dropped(outcome: &Outcome) -> String {
    each(outcome, |fortune| {
        let reasons = fortune.dropped.iter().map(|(reason, count)| format!("{count} {reason}"));
        let rejected = (fortune.rejected > 0).then(|| format!("{} rejected", fortune.rejected));
        let all: Vec<String> = reasons.chain(rejected).collect();
        if all.is_empty() { "0".to_owned() } else { all.join(", ") }
    })
}

fn lost(outcome: &Outcome) -> String {
    each(outcome, |fortune| (REQUESTS - fortune.received.min(REQUESTS) + fortune.rejected).to_string())
}
