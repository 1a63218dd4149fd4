//! `otelmesh demo`: two services, their Envoys and a receiver on loopback, and what the filter makes of some requests.
//!
//! In: an Envoy binary and the filter's module. Out: every distinct trace, the access logs, the counters, and a verdict.
//! Exits with 1 when anything is missing, 2 when it cannot start. Everything that it started ends with it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use tokio::time::{Instant, interval, sleep};

use self::client::{Format, Sent};
use crate::client::Client;
use crate::envoy;
use crate::receiver::Receiver;
use crate::receiver::forward::Forwarder;
use crate::telemetry::{Log, Span};
use crate::wasm;
use counters::Counters;
use mesh::Mesh;
use progress::Progress;
use report::Document;
use signals::Signals;
use verdict::{Evidence, NOUNS, RECORDS_A_REQUEST};

mod client;
mod counters;
mod mesh;
mod progress;
mod report;
mod signals;
mod verdict;

/// Telemetry leaves after 200ms, metrics after a second; a machine that needs ten seconds for it has lost it.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(10);
/// An export that failed several times waits up to 30s for the next attempt.
const OUTAGE_TIMEOUT: Duration = Duration::from_secs(45);
/// Counters have no event to wait for, only a question to ask again.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// The metrics that count every exchange.
const DURATIONS: [&str; 2] = ["http.server.request.duration", "http.client.request.duration"];
/// Longer than the filter holds a span, so that a trace is shown whole.
const KEEP_INTERVAL: Duration = Duration::from_secs(1);
/// For a collector that is slow, not for one that is away: a refused connection fails at once.
const FORWARD_TIMEOUT: Duration = Duration::from_secs(10);

/// The arguments of `otelmesh demo`.
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Prove the filter on this machine: two services behind real Envoys, no cluster.\n\n\
        Starts on loopback: a client, a frontend and a backend with an Envoy each that runs the filter, a third party \
        without an Envoy, and an OTLP receiver. Sends some requests and shows the traces, the access logs and the \
        filter's counters. The services know nothing of telemetry; they only copy trace headers.",
    after_help = "\
Examples:
  # Three requests, their traces as waterfalls
  otelmesh demo
  # A client that speaks B3; shows the headers that the backend received
  otelmesh demo --format b3
  # The first proxy starts the traces; everything as JSON
  otelmesh demo --format none -o json
  # A copy of all telemetry for your own collector
  otelmesh demo --otlp-endpoint http://127.0.0.1:4318
  # What an outage of the collector costs
  otelmesh demo --requests 300 --receiver-outage
  # Everything keeps running for your own requests
  otelmesh demo --keep

Exit codes:
  0  all is there
  1  a span, a log, a parent or a header is missing, or something was dropped
  2  it could not start"
)]
pub struct DemoArgs {
    /// Requests that the client sends
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    requests: u32,
    /// Requests a second; without it, each request follows the answer to the one before
    #[arg(long, value_name = "R", value_parser = rate)]
    rate: Option<f64>,
    /// Trace headers that the client sends
    #[arg(long, value_enum, default_value_t = Format::TraceContext)]
    format: Format,
    /// What to print
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Leave everything running until Ctrl-C, and say what to ask
    #[arg(long)]
    keep: bool,
    /// Send a copy of all telemetry to this OTLP/HTTP receiver, such as http://127.0.0.1:4318
    #[arg(long, value_name = "URL")]
    otlp_endpoint: Option<String>,
    /// Envoy binary; else $ENVOY, PATH, or what `make envoy` unpacked
    #[arg(long, value_name = "PATH")]
    envoy: Option<PathBuf>,
    /// The filter; else $OTELMESH_WASM, beside this program, or what `make wasm` built
    #[arg(long, value_name = "PATH")]
    wasm: Option<PathBuf>,
    /// Kill the receiver in the middle of the requests and bring it back: no request may fail, no record go missing
    #[arg(long)]
    receiver_outage: bool,
}

/// What to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Waterfalls, logs and counters for people
    Text,
    /// One document with everything
    Json,
}

/// A running demo.
struct Demo {
    args: DemoArgs,
    mesh: Mesh,
    receiver: Receiver,
    forwarder: Option<Forwarder>,
}

// === impl DemoArgs ===

impl DemoArgs {
    /// Runs the demo to its end, or to the signal that ends it.
    ///
    /// # Errors
    /// Anything that keeps it from starting, with the next command to try.
    pub fn run(self) -> Result<ExitCode> {
        tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
            let mut signals = Signals::new()?;
            // Whichever is second is dropped, and all its Envoys with it.
            let (kept, code) = tokio::select! {
                finished = Demo::run(self) => finished?,
                number = signals.recv() => return Ok(ExitCode::from(128 + number)),
            };
            if let Some(demo) = kept {
                tokio::select! {
                    ended = demo.keep() => ended?,
                    _ = signals.recv() => {}
                }
            }
            Ok(code)
        })
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.01..=10_000.0).contains(&rate) => Ok(rate),
        _ => Err("a rate is a number of requests a second, from 0.01 to 10000".to_owned()),
    }
}

// === impl Demo ===

impl Demo {
    async fn run(args: DemoArgs) -> Result<(Option<Self>, ExitCode)> {
        let envoy = envoy::find(args.envoy.as_deref())?;
        let wasm = std::path::absolute(wasm::find(args.wasm.as_deref())?)?;
        let progress = Progress::new();
        let forwarder = args.otlp_endpoint.as_deref().map(Forwarder::start).transpose()?;
        let receiver = Receiver::start(forwarder.as_ref()).await?;
        progress.say(format_args!("starting two Envoys, {}", envoy.display()));
        progress.say(format_args!("with the filter {}", wasm.display()));
        let mesh = Mesh::start(&envoy, &wasm, receiver.http()).await?;
        let keep = args.keep;
        let mut demo = Self { args, mesh, receiver, forwarder };
        let code = demo.prove(&progress).await?;
        Ok((keep.then_some(demo), code))
    }

    /// Sends, waits, judges, prints.
    async fn prove(&mut self, progress: &Progress) -> Result<ExitCode> {
        let sent = self.send(progress).await?;
        progress.say("waiting for telemetry");
        let counters = self.settle(&sent).await?;
        let evidence = Evidence {
            format: self.args.format,
            outage: self.args.receiver_outage,
            sent,
            arrivals: self.mesh.arrivals(),
            spans: self.spans(),
            logs: self.logs(),
            measured: self.measured(),
            counters,
        };
        let verdict = evidence.judge();
        let forwarding = match &self.forwarder {
            Some(forwarder) => Some(forwarder.flush(FORWARD_TIMEOUT).await),
            None => None,
        };
        let document = Document::new(&evidence, &verdict, forwarding.as_ref());
        let text = match self.args.output {
            Output::Text => document.text()?,
            Output::Json => format!("{}\n", serde_json::to_string_pretty(&document)?),
        };
        anstream::stdout().write_all(text.as_bytes()).context("cannot write to standard output")?;
        Ok(if verdict.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    async fn send(&mut self, progress: &Progress) -> Result<Vec<Sent>> {
        let requests = self.args.requests as usize;
        progress.say(format_args!("sending {}", report::some(requests, "request")));
        // A third of the requests before, in and after the outage; at least one in it.
        let (down, up) = (requests / 3, (requests * 2 / 3).max(requests / 3 + 1));
        let mut ticks = self.args.rate.map(|rate| interval(Duration::from_secs_f64(1.0 / rate)));
        let client = Client::new();
        let mut sent = Vec::with_capacity(requests);
        for number in 1..=requests {
            if let Some(ticks) = &mut ticks {
                ticks.tick().await;
            }
            if self.args.receiver_outage && sent.len() == down {
                progress.say("the receiver goes away");
                self.receiver.stop().await;
            }
            progress.count(number, requests);
            sent.push(client::send(&client, self.mesh.entry(), self.args.format, number).await);
            if self.args.receiver_outage && sent.len() == up {
                self.feel_the_outage().await?;
                progress.say("the receiver comes back");
                self.receiver.restart().await?;
            }
        }
        Ok(sent)
    }

    /// Waits until each Envoy has tried in vain to export, or else the outage would prove nothing.
    async fn feel_the_outage(&self) -> Result<()> {
        let deadline = Instant::now() + SETTLE_TIMEOUT;
        for envoy in self.mesh.envoys() {
            while envoy.stats(mesh::FAILED_CONNECTS).await?.values().sum::<i64>() == 0 {
                ensure!(Instant::now() < deadline, "{}'s Envoy did not try to export in the outage", envoy.name());
                sleep(ASK_AGAIN).await;
            }
        }
        Ok(())
    }

    /// Waits until everything is accounted for, or until that cannot be expected any more.
    async fn settle(&mut self, sent: &[Sent]) -> Result<Counters> {
        let due = i64::try_from(sent.iter().filter(|sent| sent.error.is_none()).count() * RECORDS_A_REQUEST)?;
        let timeout = if self.args.receiver_outage { OUTAGE_TIMEOUT } else { SETTLE_TIMEOUT };
        let deadline = Instant::now() + timeout;
        loop {
            self.mesh.check_running()?;
            let counters = Counters::read(self.mesh.envoys()).await?;
            let [spans, logs, points] = NOUNS.map(|noun| counters.fate(noun));
            let is_measured = i64::try_from(self.measured())? >= due;
            let is_recorded = is_measured && spans.recorded >= due && logs.recorded >= due;
            let settled = is_recorded && [spans, logs, points].iter().all(|fate| fate.waiting == 0 && fate.is_whole());
            if settled || Instant::now() > deadline {
                return Ok(counters);
            }
            sleep(ASK_AGAIN).await;
        }
    }

    /// In the order of time, without those that came twice because a reply got lost.
    fn spans(&self) -> Vec<Span> {
        let mut seen = BTreeSet::new();
        let mut spans = self.receiver.snapshot().spans();
        spans.sort_by_key(|span| span.start_unix_nano);
        spans.retain(|span| seen.insert((span.trace_id.clone(), span.span_id.clone())));
        spans
    }

    /// As [`Demo::spans`].
    fn logs(&self) -> Vec<Log> {
        let mut seen = BTreeSet::new();
        let mut logs = self.receiver.snapshot().logs();
        logs.sort_by_key(|log| log.time_unix_nano);
        logs.retain(|log| seen.insert((log.trace_id.clone(), log.span_id.clone(), log.time_unix_nano)));
        logs
    }

    /// Exchanges that the metrics count: what the latest data point of each stream says.
    fn measured(&self) -> usize {
        let mut streams = BTreeMap::new();
        for point in self.receiver.snapshot().points() {
            if DURATIONS.contains(&point.name.as_str()) {
                let key = (point.service, point.name, format!("{:?}", point.attributes));
                streams.insert(key, usize::try_from(point.count).unwrap_or_default());
            }
        }
        streams.values().sum()
    }

    /// Leaves everything running and shows every further trace; ends only with an error.
    async fn keep(&self) -> Result<()> {
        let (entry, otlp) = (self.mesh.entry(), &self.receiver);
        eprintln!("\nEverything keeps running until Ctrl-C. Try\n  curl http://{entry}{}", mesh::ORDER_PATH);
        eprintln!("OTLP receiver: http://{} (HTTP), http://{} (gRPC)", otlp.http(), otlp.grpc());
        for envoy in self.mesh.envoys() {
            eprintln!("{}'s Envoy: http://{}, log {}", envoy.name(), envoy.admin(), envoy.log_path().display());
        }
        let mut shown: BTreeSet<_> = self.spans().into_iter().map(|span| span.trace_id).collect();
        loop {
            sleep(KEEP_INTERVAL).await;
            let spans: Vec<_> = self.spans().into_iter().filter(|span| !shown.contains(&span.trace_id)).collect();
            if self.args.output == Output::Text {
                anstream::stdout().write_all(report::waterfalls(&spans)?.as_bytes())?;
            }
            shown.extend(spans.into_iter().map(|span| span.trace_id));
        }
    }
}
