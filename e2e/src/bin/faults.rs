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

/// The rows of a table by name, in the order in which they came: OTLP/HTTP, then OTLP/gRPC.
#[derive(Default)]
struct Table(Vec<(&'static str, [Option<Row>; 2])>);

#[tokio::main]
async fn main() {
    let (mut table, mut failed) = (Table::default(), 0);
    for (at, wire) in Wire::ALL.into_iter().enumerate() {
        let mut filter = Bench::start(Subject::Filter, wire).await;
        let mut native = Bench::start(Subject::Native, wire).await;
        for scenario in scenarios(wire) {
            eprintln!("{}: {}", wire.name(), scenario.name);
            let (ours, theirs) = tokio::join!(filter.run(&scenario), native.run(&scenario));
            failed += ours.failed + theirs.failed;
            table.row(scenario.row, at).add(&ours, Some(&theirs));
        }
    }
    for (at, wire) in Wire::ALL.into_iter().enumerate() {
        for change in Change::ALL {
            eprintln!("{}: {}", wire.name(), change.name());
            let ours = change.run(Subject::Filter, wire).await;
            let theirs = match change {
                Change::ConfigurationUpdated => None,
                _ => Some(change.run(Subject::Native, wire).await),
            };
            failed += ours.failed + theirs.as_ref().map_or(0, |outcome| outcome.failed);
            let row = table.row(change.name(), at);
            row.add(&ours, theirs.as_ref());
            if change == Change::Stopped {
                row.filter.iter_mut().for_each(Cell::miss);
            }
        }
    }
    table.print();
    println!("\nRequests that failed: {failed}");
}

// === impl Table ===

impl Table {
    fn row(&mut self, name: &'static str, at: usize) -> &mut Row {
        let known = self.0.iter().position(|(n, _)| *n == name);
        let known = known.unwrap_or_else(|| {
            self.0.push((name, [None, None]));
            self.0.len() - 1
        });
        self.0[known].1[at].get_or_insert_default()
    }

    fn print(&self) {
        println!("| what happens | requests | filter, HTTP | filter, gRPC | counted | Envoy's own, HTTP | gRPC |");
        println!("| --- | --- | --- | --- | --- | --- | --- |");
        for (name, rows) in &self.0 {
            let cell = |at: usize, of: fn(&Row) -> String| rows[at].as_ref().map_or_else(|| "–".to_owned(), of);
            let all: Vec<&Row> = rows.iter().flatten().collect();
            let mut told: Vec<String> = all.iter().flat_map(|row| row.filter.iter().map(Cell::told)).collect();
            told.dedup();
            println!(
                "| {name} | {} | {} | {} | {} | {} | {} |",
                all.first().map_or(0, |row| row.sent),
                cell(0, Row::received),
                cell(1, Row::received),
                told.join("; "),
                cell(0, Row::native),
                cell(1, Row::native),
            );
        }
    }
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

    fn received(&self) -> String {
        let [spans, logs] = &self.filter;
        format!("{}, {}", spans.received, logs.received)
    }

    fn native(&self) -> String {
        match &self.native {
            [Some(spans), Some(logs)] => format!("{}, {}", spans.received, logs.received),
            _ => "–".to_owned(),
        }
    }
}

// === impl Cell ===

impl Cell {
    /// Notes that counters went with Envoy, and nobody can tell what is missing.
    fn miss(&mut self) {
        self.told.insert("not counted".to_owned(), -1);
    }

    fn told(&self) -> String {
        let print = |(reason, count): (&String, &i64)| {
            if *count < 0 { reason.clone() } else { format!("{count} {reason}") }
        };
        let all: Vec<String> = self.told.iter().map(print).collect();
        if all.is_empty() { "0".to_owned() } else { all.join(" ") }
    }
}
