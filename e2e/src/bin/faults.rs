//! Prints the fault table: what became of the requests' spans and logs in each scenario, by the filter and by Envoy's own
//! exporters. Ends with an error where the filter's records are neither with the receiver nor accounted for.

use std::collections::BTreeMap;

use otelmesh_e2e::faults::changes::Change;
use otelmesh_e2e::faults::{Bench, Outcome, Subject, Wire, scenarios};

/// The sum of scenarios alike.
#[derive(Default)]
struct Row {
    sent: usize,
    /// Spans, then logs.
    filter: [Cell; 2],
    native: [Option<Cell>; 2],
}

#[derive(Default, Clone)]
struct Cell {
    received: usize,
    told: BTreeMap<String, i64>,
}

#[tokio::main]
async fn main() {
    println!(
        "| what happens | protocol | requests | the filter: spans, logs received | dropped, and counted so | Envoy's own |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    let mut failed = 0;
    for wire in Wire::ALL {
        let mut filter = Bench::start(Subject::Filter, wire).await;
        let mut native = Bench::start(Subject::Native, wire).await;
        let (mut row, mut name) = (Row::default(), "");
        for scenario in scenarios(wire) {
            if name != scenario.row && row.sent > 0 {
                std::mem::take(&mut row).print(name, wire);
            }
            name = scenario.row;
            let (ours, theirs) = tokio::join!(filter.run(&scenario), native.run(&scenario));
            failed += ours.failed + theirs.failed;
            row.add(&ours, Some(&theirs));
        }
        row.print(name, wire);
    }
    for wire in Wire::ALL {
        for change in Change::ALL {
            let ours = change.run(Subject::Filter, wire).await;
            let theirs = match change {
                Change::ConfigurationUpdated => None,
                _ => Some(change.run(Subject::Native, wire).await),
            };
            failed += ours.failed + theirs.as_ref().map_or(0, |outcome| outcome.failed);
            let mut row = Row::default();
            row.add(&ours, theirs.as_ref());
            row.print(change.name(), wire);
        }
    }
    println!("\nRequests that failed: {failed}");
}

// === impl Row ===

impl Row {
    fn add(&mut self, ours: &Outcome, theirs: Option<&Outcome>) {
        self.sent += ours.sent;
        for (signal, fortune) in ours.fortunes.iter().enumerate() {
            let cell = &mut self.filter[signal];
            cell.received += fortune.received - fortune.rejected;
            for (reason, count) in &fortune.dropped {
                *cell.told.entry(reason.clone()).or_default() += count;
            }
            if fortune.rejected > 0 {
                *cell.told.entry("rejected".to_owned()).or_default() += fortune.rejected as i64;
            }
        }
        for (signal, fortune) in theirs.iter().flat_map(|outcome| outcome.fortunes.iter().enumerate()) {
            self.native[signal].get_or_insert_default().received += fortune.received - fortune.rejected;
        }
    }

    fn print(&self, name: &str, wire: Wire) {
        let [spans, logs] = &self.filter;
        let told = |cell: &Cell| {
            let all: Vec<String> = cell.told.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
            if all.is_empty() { "0".to_owned() } else { all.join(" ") }
        };
        let native = match &self.native {
            [Some(spans), Some(logs)] => format!("{}, {}", spans.received, logs.received),
            _ => "–".to_owned(),
        };
        let (sent, spans_told, logs_told) = (self.sent, told(spans), told(logs));
        let wire = if wire == Wire::Http { "HTTP" } else { "gRPC" };
        println!(
            "| {name} | {wire} | {sent} | {}, {} | {spans_told}, {logs_told} | {native} |",
            spans.received, logs.received
        );
    }
}
