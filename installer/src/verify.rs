//! `otelmesh verify`: requests through a real proxy, and what the collector got of them.
//!
//! In: a release, and a way into a proxy. Out: for each header format whether the span and the log of a request with a
//! known trace id arrived, the path that it took, and the time of each hop. Where the collector does not log single
//! records, by the filter's own numbers. Writes nothing into the cluster.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::{Value, json};

use crate::chart::Chart;
use crate::checks::snapshot::proxies;
use crate::cluster::{Cluster, ClusterArgs, block_on};
use crate::install::over;
use crate::output;
use crate::release::{Installed, ReleaseArgs, State};
use crate::run::duration;
use crate::telemetry::Span;
use crate::values::Sources;
use crate::waterfall::Waterfall;
use collected::Collected;
use way::Way;

mod collected;
mod way;

/// How the chart's collector knows our traces.
const PREFIX: &str = "6f746d76";
/// Proxies that are asked for one that runs the filter.
const MAX_PROXIES: usize = 50;
const INTERVAL: Duration = Duration::from_secs(1);
const FAILED: u8 = 1;

const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();

/// Arguments of `otelmesh verify`.
#[derive(Debug, Args)]
#[command(after_help = "\
A request goes to an application behind a proxy with the filter: one that is found, or the one that you name. It carries
a trace id of its own in each format, so that the collector keeps it whatever is sampled.

To see the records themselves, install with collector.verify=true; without it the filter's numbers tell whether the
collector took them.

Exit code: 0 all arrived, 1 something did not, 2 nothing could be sent.

Examples:
  otelmesh verify
  otelmesh verify --to shop/cart-7d9c5b:8080 --path /cart
  otelmesh verify --from shop/client-6f8d --url http://cart.shop:8080/    # where only mTLS is let in
  otelmesh verify --url http://gateway.example.com/ --format b3")]
pub struct VerifyArgs {
    #[command(flatten)]
    release: ReleaseArgs,
    /// Application to send to, as NAMESPACE/POD:PORT [default: the first that is found behind a proxy with the filter]
    #[arg(long, value_name = "POD", conflicts_with_all = ["from", "url"])]
    to: Option<String>,
    /// Pod to send from, as NAMESPACE/POD or NAMESPACE/POD/CONTAINER; the container needs curl or wget
    #[arg(long, value_name = "POD", requires = "url")]
    from: Option<String>,
    /// URL to send to, from here or from the pod of --from
    #[arg(long)]
    url: Option<String>,
    /// Path to ask for
    #[arg(long, default_value = "/")]
    path: String,
    /// Formats of trace headers to try
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["tracecontext", "b3", "b3multi"])]
    format: Vec<Format>,
    /// How long to look for what was sent, such as 30s
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    timeout: Duration,
    /// Text for people, or one JSON object
    #[arg(short, long, value_enum, default_value_t = output::Format::Text)]
    output: output::Format,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// A format of trace headers, by OpenTelemetry's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    Tracecontext,
    B3,
    B3multi,
}

/// A request, and what became of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    format: Format,
    trace_id: String,
    status: u16,
    answered_after_millis: u64,
    spans: Vec<Span>,
    logs: usize,
    /// From the end of the last span to the collector's log.
    #[serde(skip_serializing_if = "Option::is_none")]
    collected_after_millis: Option<i64>,
    success: bool,
}

// === impl Format ===

impl Format {
    fn headers(self, trace: &str, parent: &str) -> Vec<(String, String)> {
        let header = |name: &str, value: String| (name.to_owned(), value);
        match self {
            Self::Tracecontext => vec![header("traceparent", format!("00-{trace}-{parent}-01"))],
            Self::B3 => vec![header("b3", format!("{trace}-{parent}-1"))],
            Self::B3multi => vec![
                header("x-b3-traceid", trace.to_owned()),
                header("x-b3-spanid", parent.to_owned()),
                header("x-b3-sampled", "1".to_owned()),
            ],
        }
    }
}

// === impl Probe ===

impl Probe {
    fn look(&mut self, collected: &Collected) {
        let mine = collected.spans.values().filter(|(span, _)| span.trace_id == self.trace_id);
        let (spans, times): (Vec<_>, Vec<_>) = mine.cloned().unzip();
        self.logs = collected.logs.iter().filter(|log| log.trace_id == self.trace_id).count();
        let ended = spans.iter().map(|span| span.end_unix_nano).max();
        self.collected_after_millis = times.iter().max().zip(ended).map(|(time, ended)| {
            i64::try_from((time.as_nanosecond() - i128::from(ended)) / 1_000_000).unwrap_or(i64::MAX)
        });
        self.success = !spans.is_empty() && self.logs >= spans.len();
        self.spans = spans;
    }

    fn text(&self) -> String {
        let mark = if self.success { format!("{GOOD}√{GOOD:#}") } else { format!("{BAD}×{BAD:#}") };
        let name = format!("{:?}", self.format).to_lowercase();
        let mut text = format!(
            "{mark} {name}: trace {}, answered {} after {} ms\n",
            self.trace_id, self.status, self.answered_after_millis
        );
        let callers: BTreeSet<&str> = self.spans.iter().map(|span| span.parent_span_id.as_str()).collect();
        if !self.spans.is_empty() {
            for line in Waterfall::new(&self.spans, &callers).to_string().lines() {
                text += &format!("  {line}\n");
            }
        }
        let after =
            self.collected_after_millis.map(|millis| format!(", at the collector {millis} ms after the last span"));
        text + &format!("  {} spans, {} logs{}\n", self.spans.len(), self.logs, after.unwrap_or_default())
    }
}

// === impl VerifyArgs ===

impl VerifyArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// A sentence for the operator: nothing could be sent.
    pub fn run(self) -> Result<ExitCode> {
        block_on(async {
            let (cluster, installed) = self.release.find(&self.cluster).await?;
            let Some(revision) = installed.current().filter(|_| installed.state() != State::NotInstalled) else {
                bail!(installed.absent());
            };
            let values = over(&revision.values, Sources::default()).merge(Chart::embedded()?.defaults())?;
            if values["tracing"]["mode"] != "filter" {
                bail!(
                    "tracing.mode is {}: Envoy traces by itself, and there is no filter to verify",
                    values["tracing"]["mode"]
                );
            }
            let logs_records = values["collector"]["verify"] == true && values["collector"]["mode"] != "none";
            let way = self.way(&cluster, &installed).await?;
            eprintln!("· asking for {way}");
            let before = counters(&cluster, &installed).await?;
            let mut probes = Vec::new();
            for &format in &self.format {
                probes.push(probe(&cluster, &way, format).await?);
            }
            let told = if logs_records {
                let collector = &values["collector"];
                self.look(&cluster, collector, &mut probes).await?;
                None
            } else {
                Some(self.count(&cluster, &installed, &before, &mut probes).await?)
            };
            let success = probes.iter().all(|probe| probe.success);
            let mut text: String = probes.iter().map(Probe::text).collect();
            text += &told.as_ref().map(|told| format!("{told}\n")).unwrap_or_default();
            if !success {
                text += "`otelmesh check` looks at each part of the way; the proxy's counters otelmesh_* say what it dropped\n";
            }
            let document = json!({"way": way.to_string(), "success": success, "probes": probes, "note": told});
            self.output.print(&text, &document)?;
            Ok(if success { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
        })
    }

    async fn way(&self, cluster: &Cluster, installed: &Installed) -> Result<Way> {
        match (&self.to, &self.from, &self.url) {
            (Some(to), ..) => Way::to_pod(to, &self.path),
            (None, Some(from), Some(url)) => Way::from_pod(from, url),
            (None, _, Some(url)) => Ok(Way::Here { url: url.clone() }),
            _ => Way::find(cluster, &proxies::of(cluster, installed, MAX_PROXIES).await?, &self.path).await,
        }
    }

    /// Reads the collectors' logs until every probe is there.
    async fn look(&self, cluster: &Cluster, collector: &Value, probes: &mut [Probe]) -> Result<()> {
        let namespace = collector["namespace"].as_str().unwrap_or_default();
        let entry = if collector["mode"] == "gateway" { "gateway" } else { "agent" };
        let instance = &self.release.release_name;
        let labels = format!("app.kubernetes.io/instance={instance},app.kubernetes.io/component=collector-{entry}");
        let kind = cluster.kind_of(&json!({"apiVersion": "v1", "kind": "Pod"})).await?;
        let begun = Instant::now();
        let mut collected = Collected::default();
        loop {
            let since = begun.elapsed().as_secs() + 30;
            for pod in cluster.list(&kind, namespace, &labels).await? {
                let name = pod["metadata"]["name"].as_str().unwrap_or_default();
                let path =
                    format!("/api/v1/namespaces/{namespace}/pods/{name}/log?container=collector&sinceSeconds={since}");
                collected.read(&cluster.text(&path).await?);
            }
            let seen: Vec<usize> = probes.iter().map(|probe| probe.spans.len()).collect();
            probes.iter_mut().for_each(|probe| probe.look(&collected));
            // Once more after all are there: hops end one after the other, and so do their records.
            let is_settled = probes.iter().zip(seen).all(|(probe, seen)| probe.success && probe.spans.len() == seen);
            if is_settled || begun.elapsed() > self.timeout {
                return Ok(());
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Compares the filter's numbers, which other requests move too.
    async fn count(
        &self,
        cluster: &Cluster,
        installed: &Installed,
        before: &[i64; 2],
        probes: &mut [Probe],
    ) -> Result<String> {
        let begun = Instant::now();
        let wanted = i64::try_from(probes.len()).unwrap_or(i64::MAX);
        loop {
            let [spans, logs] = counters(cluster, installed).await?;
            let taken = [spans - before[0], logs - before[1]];
            let success = taken.iter().all(|taken| *taken >= wanted);
            if success || begun.elapsed() > self.timeout {
                probes.iter_mut().for_each(|probe| probe.success = success);
                return Ok(format!(
                    "the collector took {} spans and {} logs from the proxies meanwhile, of all requests together\n\
                     to see the records themselves: otelmesh upgrade --reuse-values --set collector.verify=true",
                    taken[0], taken[1]
                ));
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }
}

async fn probe(cluster: &Cluster, way: &Way, format: Format) -> Result<Probe> {
    let trace_id = format!("{PREFIX}{:08x}{:016x}", fastrand::u32(..), fastrand::u64(..));
    let parent = format!("{:016x}", fastrand::u64(1..));
    let answer = way.send(cluster, &format.headers(&trace_id, &parent)).await?;
    Ok(Probe {
        format,
        trace_id,
        status: answer.status,
        answered_after_millis: answer.millis,
        spans: Vec::new(),
        logs: 0,
        collected_after_millis: None,
        success: false,
    })
}

/// Spans and logs that the collector took from all proxies that answer.
async fn counters(cluster: &Cluster, installed: &Installed) -> Result<[i64; 2]> {
    let proxies = proxies::of(cluster, installed, MAX_PROXIES).await?;
    let said: Vec<_> = proxies.iter().filter_map(|proxy| proxy.said.as_ref().ok()).collect();
    let sum = |name: &str| said.iter().filter_map(|(_, counters)| counters.get(name)).sum();
    Ok([sum("spans_exported"), sum("logs_exported")])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_carries_the_same_ids_and_asks_to_be_recorded() {
        let (trace, parent) = ("6f746d7616cd43dd8448eb211c80319c", "b7ad6b7169203331");
        let headers = |format: Format| {
            let line = |(name, value): (String, String)| format!("{name}: {value}");
            format.headers(trace, parent).into_iter().map(line).collect::<Vec<_>>().join(", ")
        };
        assert_eq!(headers(Format::Tracecontext), format!("traceparent: 00-{trace}-{parent}-01"));
        assert_eq!(headers(Format::B3), format!("b3: {trace}-{parent}-1"));
        assert_eq!(headers(Format::B3multi), format!("x-b3-traceid: {trace}, x-b3-spanid: {parent}, x-b3-sampled: 1"));
    }

    #[test]
    fn the_collector_looks_for_how_our_trace_ids_begin() {
        let chart = include_str!("../../manifests/templates/collector/_config.tpl");
        let (_, rest) = chart.split_once("{{- define \"otelmesh.verify.prefix\" -}}\n").unwrap();
        assert!(rest.starts_with(&format!("{PREFIX}\n")));
    }
}
