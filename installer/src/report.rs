//! `otelmesh report`: what came in, went out and was lost, from the numbers of collectors and proxies themselves.
//!
//! In: a release. Out: for each collector and for all proxies together what they counted since they started, as text or
//! JSON, and an exit code that says whether anything was lost. Asks each of them once; writes nothing.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use anyhow::{Result, bail};
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use crate::checks::snapshot::proxies::{self, Runs};
use crate::cluster::{Cluster, ClusterArgs, block_on};
use crate::output::Format;
use crate::release::{Installed, ReleaseArgs, State};
use metrics::Metrics;

mod metrics;

/// Of the collector's own metrics.
const METRICS_PORT: u16 = 8888;
/// Enough to see a fault in any part of a mesh; each takes a port-forward.
const MAX_PROXIES: usize = 200;
/// Proxies that are named for what they lost.
const NAMED: usize = 5;
const LOST: u8 = 1;
const SIGNALS: [(&str, &str); 3] = [("spans", "spans"), ("logs", "log_records"), ("metrics", "metric_points")];

const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const TITLE: Style = Style::new().bold();

/// Arguments of `otelmesh report`.
#[derive(Debug, Args)]
#[command(after_help = "\
All numbers count from when a pod started; its age is beside them. For a look at any other span of time, ask Prometheus:
the dashboards and alerts of the chart hold the queries.

Exit code: 0 nothing was lost, 1 something was, or somebody did not answer, 2 nobody could be asked.

Examples:
  otelmesh report
  otelmesh report -o json | jq '.proxies.dropped'")]
pub struct ReportArgs {
    #[command(flatten)]
    release: ReleaseArgs,
    /// Text for people, or one JSON object
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
    /// How many proxies are asked
    #[arg(long, value_name = "NUMBER", default_value_t = MAX_PROXIES)]
    max_proxies: usize,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// The document of `-o json`.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    collectors: Vec<Collector>,
    proxies: Proxies,
    /// Records that are gone for good, and who lost them.
    lost: Vec<String>,
    /// Who did not answer, and why.
    silent: Vec<String>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Collector {
    pod: String,
    started: String,
    restarts: u64,
    memory_mib: u64,
    /// Items that wait for a backend, of as many as there is room for.
    queue: [u64; 2],
    signals: BTreeMap<&'static str, Flow>,
}

/// Items of one signal through a collector.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Flow {
    accepted: u64,
    /// Refused to the sender, who may send them again.
    refused: u64,
    sent: u64,
    failed: u64,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Proxies {
    asked: usize,
    running_filter: usize,
    signals: BTreeMap<&'static str, Books>,
    /// By counter.
    dropped: BTreeMap<String, i64>,
    exports_retried: i64,
}

/// The filter's books of one signal.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Books {
    recorded: i64,
    exported: i64,
    rejected: i64,
    dropped: i64,
    waiting: i64,
}

// === impl ReportArgs ===

impl ReportArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn run(self) -> Result<ExitCode> {
        let report = block_on(async {
            let (cluster, installed) = self.release.find(&self.cluster).await?;
            if installed.state() == State::NotInstalled {
                bail!(installed.absent());
            }
            Report::make(&cluster, &installed, self.max_proxies).await
        })?;
        self.output.print(&report.text(), &report)?;
        let is_good = report.lost.is_empty() && report.silent.is_empty();
        Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::from(LOST) })
    }
}

// === impl Report ===

impl Report {
    async fn make(cluster: &Cluster, installed: &Installed, max_proxies: usize) -> Result<Self> {
        let mut report = Self::default();
        let labels = format!(
            "app.kubernetes.io/instance={},app.kubernetes.io/component in (collector-agent,collector-gateway)",
            installed.release.name
        );
        let kind = cluster.kind_of(&json!({"apiVersion": "v1", "kind": "Pod"})).await?;
        for pod in cluster.list(&kind, "", &labels).await? {
            let text = |key: &str| pod["metadata"][key].as_str().unwrap_or_default();
            let name = format!("{}/{}", text("namespace"), text("name"));
            // By the API server's proxy, since they listen on the pod's address and a port-forward comes to its loopback.
            let path =
                format!("/api/v1/namespaces/{}/pods/{}:{METRICS_PORT}/proxy/metrics", text("namespace"), text("name"));
            match cluster.text(&path).await {
                Ok(body) => report.add_collector(&pod, name, &Metrics::read(&body)),
                Err(reason) => report.silent.push(format!("{name}: {reason}")),
            }
        }
        for proxy in proxies::of(cluster, installed, max_proxies).await? {
            match proxy.said {
                Ok((runs, counters)) => report.proxies.add(runs, &counters),
                Err(reason) => report.silent.push(format!("{}: {reason}", proxy.pod)),
            }
        }
        report.judge();
        Ok(report)
    }

    fn add_collector(&mut self, pod: &Value, name: String, metrics: &Metrics) {
        let whole = |value: f64| value.max(0.0) as u64;
        let flow = |what: &str| Flow {
            accepted: whole(metrics.sum(&format!("otelcol_receiver_accepted_{what}"))),
            refused: whole(metrics.sum(&format!("otelcol_receiver_refused_{what}"))),
            sent: whole(metrics.sum(&format!("otelcol_exporter_sent_{what}"))),
            failed: whole(
                metrics.sum(&format!("otelcol_exporter_send_failed_{what}"))
                    + metrics.sum(&format!("otelcol_exporter_enqueue_failed_{what}")),
            ),
        };
        let statuses = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
        self.collectors.push(Collector {
            pod: name,
            started: pod["status"]["startTime"].as_str().unwrap_or_default().to_owned(),
            restarts: statuses.filter_map(|status| status["restartCount"].as_u64()).sum(),
            memory_mib: whole(metrics.sum("otelcol_process_memory_rss_bytes") / 1_048_576.0),
            queue: ["size", "capacity"].map(|what| whole(metrics.sum(&format!("otelcol_exporter_queue_{what}")))),
            signals: SIGNALS.iter().map(|(signal, what)| (*signal, flow(what))).collect(),
        });
    }

    fn judge(&mut self) {
        for collector in &self.collectors {
            for (signal, flow) in collector.signals.iter().filter(|(_, flow)| flow.failed > 0) {
                self.lost.push(format!("{} {signal} that {} could not send on", flow.failed, collector.pod));
            }
        }
        for (counter, count) in &self.proxies.dropped {
            self.lost.push(format!("{count} records that proxies dropped, as {counter} counts them"));
        }
        for (signal, books) in self.proxies.signals.iter().filter(|(_, books)| books.rejected > 0) {
            self.lost.push(format!("{} {signal} that the collector rejected", books.rejected));
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for collector in &self.collectors {
            let Collector { pod, started, restarts, memory_mib, queue, .. } = collector;
            text += &format!(
                "{TITLE}{pod}{TITLE:#} since {started}, {restarts} restarts, {memory_mib} MiB, {} of {} in queues\n",
                queue[0], queue[1]
            );
            for (signal, Flow { accepted, refused, sent, failed }) in &collector.signals {
                text += &format!(
                    "  {signal:<11} {accepted:>10} accepted {refused:>8} refused {sent:>10} sent {failed:>8} failed\n"
                );
            }
        }
        let Proxies { asked, running_filter, signals, exports_retried, .. } = &self.proxies;
        text += &format!(
            "{TITLE}proxies{TITLE:#} {asked} asked, {running_filter} with the filter, {exports_retried} exports sent again\n"
        );
        for (signal, Books { recorded, exported, rejected, dropped, waiting }) in signals {
            text += &format!(
                "  {signal:<11} {recorded:>10} recorded = {exported} exported + {rejected} rejected + {dropped} dropped + {waiting} waiting\n"
            );
        }
        text.push('\n');
        for line in self.lost.iter().take(NAMED) {
            text += &format!("{BAD}×{BAD:#} {line}\n");
        }
        if self.lost.len() > NAMED {
            text += &format!("  and {} more; -o json has them all\n", self.lost.len() - NAMED);
        }
        for line in &self.silent {
            text += &format!("{BAD}×{BAD:#} no answer from {line}\n");
        }
        if self.lost.is_empty() && self.silent.is_empty() {
            text += &format!("{GOOD}√{GOOD:#} nothing was lost\n");
        }
        text
    }
}

// === impl Proxies ===

impl Proxies {
    fn add(&mut self, runs: Runs, counters: &BTreeMap<String, i64>) {
        self.asked += 1;
        self.running_filter += usize::from(runs == Runs::Filter);
        let get = |name: &str| counters.get(name).copied().unwrap_or(0);
        self.exports_retried += get("exports_retried");
        for signal in ["spans", "logs", "data_points"] {
            if !counters.contains_key(&format!("{signal}_recorded")) {
                continue;
            }
            let books = self.signals.entry(signal).or_default();
            books.recorded += get(&format!("{signal}_recorded"));
            books.exported += get(&format!("{signal}_exported"));
            books.rejected += get(&format!("{signal}_rejected"));
            books.waiting += get(&format!("{signal}_waiting"));
            let of_signal = format!("{signal}_dropped");
            for (name, count) in counters.iter().filter(|(name, count)| name.starts_with(&of_signal) && **count > 0) {
                books.dropped += count;
                *self.dropped.entry(format!("otelmesh_{name}")).or_insert(0) += count;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(pairs: &[(&str, i64)]) -> BTreeMap<String, i64> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
    }

    #[test]
    fn proxies_are_added_up_and_losses_are_told_by_reason() {
        let mut report = Report::default();
        report.proxies.add(
            Runs::Filter,
            &counters(&[("spans_recorded", 10), ("spans_exported", 7), ("spans_dropped_queue_full", 3)]),
        );
        report.proxies.add(Runs::AllowAll, &counters(&[]));
        report
            .proxies
            .add(Runs::Filter, &counters(&[("spans_recorded", 5), ("spans_exported", 4), ("spans_waiting", 1)]));
        report.judge();
        let text = anstream::adapter::strip_str(&report.text()).to_string();
        assert!(text.contains("3 asked, 2 with the filter"), "{text}");
        assert!(text.contains("15 recorded = 11 exported + 0 rejected + 3 dropped + 1 waiting"), "{text}");
        assert!(
            text.contains("× 3 records that proxies dropped, as otelmesh_spans_dropped_queue_full counts them"),
            "{text}"
        );
    }

    #[test]
    fn a_collector_that_cannot_send_loses_and_one_that_refuses_does_not() {
        let metrics = |text: &str| Metrics::read(text);
        let mut report = Report::default();
        let pod = json!({"status": {"startTime": "2026-11-24T09:00:00Z", "containerStatuses": [{"restartCount": 2}]}});
        report.add_collector(&pod, "otelmesh/a".to_owned(), &metrics("otelcol_receiver_refused_spans_total{} 4\n"));
        report.judge();
        assert_eq!(report.lost, [""; 0]);
        let lines = "otelcol_exporter_send_failed_spans_total{} 3\notelcol_exporter_enqueue_failed_spans_total 2\n";
        report.add_collector(&pod, "otelmesh/b".to_owned(), &metrics(lines));
        report.judge();
        assert_eq!(report.lost, ["5 spans that otelmesh/b could not send on"]);
        assert_eq!(report.collectors[1].restarts, 2);
    }
}
