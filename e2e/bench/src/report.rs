//! What a person reads. In: comparisons and budgets. Out: Markdown tables, and a plot as SVG.

use std::fmt::Write as _;

use crate::budget::Budget;
use crate::compare::{Comparison, Row};
use crate::statistics::Estimate;

/// A comparison as a Markdown table.
pub fn table(comparison: &Comparison) -> String {
    let Comparison { setting, rate, rounds, requests, base_cpu, base_latency, .. } = comparison;
    let [median, tail] = base_latency;
    let mut out = format!(
        "{setting}: {rounds} rounds of {requests} requests, {rate:.0} a second. Unwatched, a request costs {:.1} µs of CPU \
         time and takes {:.0} µs, the slowest in a hundred {:.0} µs.\n\n",
        base_cpu.median, median.median, tail.median
    );
    out += "| | CPU µs added | p50 µs added | p99 µs added | MiB resident | bytes exported |\n| --- | --- | --- | --- | --- | --- |\n";
    for row in &comparison.rows {
        let [median, tail] = &row.latency;
        let mib = row.resident as f64 / 1024.0 / 1024.0;
        let figures = [spread(&row.cpu, 1), spread(median, 0), spread(tail, 0)].join(" | ");
        // Writing into a String cannot fail.
        let _ = writeln!(out, "| {} | {figures} | {mib:.0} | {:.0} |", row.name, row.exported);
    }
    out
}

/// Budgets as a Markdown table.
pub fn budgets(budgets: &[Budget]) -> String {
    let mut out = "| budget | measured | at most | |\n| --- | --- | --- | --- |\n".to_owned();
    for Budget { name, measured, most, verdict } in budgets {
        let _ = writeln!(out, "| {name} | {measured} | {most} | {} |", verdict.word());
    }
    out
}

fn spread(estimate: &Estimate, digits: usize) -> String {
    let Estimate { median, low, high } = estimate;
    format!("{median:.digits$} ({low:.digits$} to {high:.digits$})")
}

const ROW: f64 = 26.0;
const LEFT: f64 = 290.0;
const WIDTH: f64 = 900.0;
const TOP: f64 = 48.0;

/// The CPU time that each rung adds, with its interval.
pub fn plot(comparison: &Comparison) -> String {
    let rows: Vec<&Row> = comparison.rows.iter().skip(1).collect();
    let most = rows.iter().map(|row| row.cpu.high).fold(1.0, f64::max);
    let at = |value: f64| LEFT + (WIDTH - LEFT - 70.0) * value.max(0.0) / most;
    let height = TOP + ROW * rows.len() as f64 + 12.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"12\" y=\"26\" font-size=\"15\">CPU time that a request costs Envoy over no filter, µs ({})</text>\n",
        comparison.setting
    );
    for (n, row) in rows.iter().enumerate() {
        let y = TOP + ROW * n as f64;
        let (middle, text) = (y + ROW / 2.0 - 3.0, y + ROW / 2.0 + 2.0);
        let color = if row.name.starts_with("otelmesh") {
            "#1a7f5a"
        } else if row.name.starts_with("native") {
            "#b0763b"
        } else {
            "#8a8a8a"
        };
        let Estimate { median, low, high } = row.cpu;
        let (end, low, high) = (at(median), at(low), at(high));
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{text}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{LEFT}\" y=\"{}\" width=\"{:.1}\" height=\"{}\" fill=\"{color}\"/>\
             <path d=\"M{low:.1} {middle}H{high:.1}\" stroke=\"#222\"/>\
             <text x=\"{:.1}\" y=\"{text}\">{median:.1}</text>",
            LEFT - 8.0,
            row.name,
            y,
            end - LEFT,
            ROW - 7.0,
            high.max(end) + 6.0,
        );
    }
    out + "</svg>\n"
}
