//! `otelmesh demo` as a user runs it: the built binary, real Envoys, the real filter.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use otelmesh::client::Client;
use otelmesh::receiver::Receiver;
use otelmesh_e2e::{envoy, otelmesh};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader, Lines};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// A demo takes two seconds on two cores; the outage waits for a backoff.
const PATIENCE: Duration = Duration::from_secs(90);

fn demo(args: &[&str]) -> Command {
    let mut command = Command::new(otelmesh());
    command.arg("demo").args(args).stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn run(command: &mut Command) -> Output {
    timeout(PATIENCE, command.output()).await.expect("the demo hangs").unwrap()
}

/// Runs it to its end, which must be this exit code, and reads its document.
async fn document(args: &[&str], code: i32) -> Value {
    let output = run(&mut demo(&[args, &["-o", "json"]].concat())).await;
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{stdout}\n{stderr}");
    serde_json::from_str(&stdout).unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("no list: {value}"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

fn is_hex(value: &Value, digits: usize) -> bool {
    text(value).len() == digits && text(value).bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// The trace id and span id in a `traceparent`, a `b3`, or the `x-b3-*` headers.
fn context<'a>(headers: &'a Value, format: &str) -> (&'a str, &'a str) {
    let part = |name: &str, n: usize| text(&headers[name]).split('-').nth(n).unwrap();
    match format {
        "b3" => (part("b3", 0), part("b3", 1)),
        "b3multi" => (text(&headers["x-b3-traceid"]), text(&headers["x-b3-spanid"])),
        _ => (part("traceparent", 1), part("traceparent", 2)),
    }
}

/// Holds every field of a document against what `requests` requests must leave.
fn assert_complete(document: &Value, format: &str, requests: usize) {
    assert_eq!(document["format"], format);
    let sent = list(&document["requests"]);
    assert_eq!(sent.len(), requests);
    let traces = list(&document["traces"]);
    assert_eq!(traces.len(), requests);
    let logs: BTreeMap<_, _> =
        list(&document["logs"]).iter().map(|log| ((text(&log["traceId"]), text(&log["spanId"])), log)).collect();
    assert_eq!(logs.len(), requests * 6);
    let mut servers = BTreeMap::new();

    for (trace, sent) in traces.iter().zip(sent) {
        assert!(is_hex(&trace["traceId"], 32), "{trace}");
        assert_eq!((&sent["status"], &sent["error"]), (&json!(200), &Value::Null));
        // The filter starts the trace where the client sends none.
        let (client_trace, client_span) = match format {
            "none" => (&trace["traceId"], &json!("")),
            _ => (&sent["traceId"], &sent["spanId"]),
        };
        assert_eq!(&trace["traceId"], client_trace);

        // In the order of their start.
        let spans = list(&trace["spans"]);
        let shape: Vec<_> =
            spans.iter().map(|span| (text(&span["service"]), text(&span["kind"]), path(span))).collect();
        let expected = [
            ("frontend", "SERVER", "/order/7"),
            ("frontend", "CLIENT", "/stock/7"),
            ("backend", "SERVER", "/stock/7"),
            ("frontend", "CLIENT", "/price/7"),
            ("backend", "SERVER", "/price/7"),
            ("backend", "CLIENT", "/rates/EUR"),
        ];
        assert_eq!(shape, expected);
        let parents = [client_span, &spans[0]["spanId"], &spans[1]["spanId"], &spans[0]["spanId"], &spans[3]["spanId"]];
        for (span, parent) in spans.iter().zip(parents.into_iter().chain([&spans[4]["spanId"]])) {
            assert_span(span, parent, &trace["traceId"]);
            let ids = (text(&span["traceId"]), text(&span["spanId"]));
            assert_log(logs.get(&ids).unwrap_or_else(|| panic!("no log for {span}")), span);
            // What an application receives is the context of the last span before it.
            if span["kind"] == "SERVER" || path(span) == "/rates/EUR" {
                servers.insert(ids, path(span));
            }
        }
    }
    let ids: BTreeSet<_> =
        traces.iter().flat_map(|trace| list(&trace["spans"])).map(|span| text(&span["spanId"])).collect();
    assert_eq!(ids.len(), requests * 6, "span ids repeat");

    let arrivals = list(&document["arrivals"]);
    assert_eq!(arrivals.len(), requests * 4);
    for arrival in arrivals {
        let told = context(&arrival["headers"], "tracecontext");
        assert_eq!(servers.get(&told), Some(&text(&arrival["path"])), "{arrival}");
        // Sampled; and random, where the trace id is the filter's own (W3C Trace Context Level 2).
        let flags = if format == "none" { "-03" } else { "-01" };
        assert!(text(&arrival["headers"]["traceparent"]).ends_with(flags), "{arrival}");
        assert_eq!(context(&arrival["headers"], format), told, "the client's format says the same: {arrival}");
        for (header, of) in [("b3", "b3"), ("x-b3-traceid", "b3multi")] {
            assert_eq!(arrival["headers"].get(header).is_some(), of == format, "{arrival}");
        }
    }

    for noun in ["spans", "logs"] {
        let counter = |what: &str| document["counters"][format!("otelmesh_{noun}_{what}")].as_i64();
        let due = i64::try_from(requests * 6).unwrap();
        assert_eq!((counter("recorded"), counter("exported")), (Some(due), Some(due)), "{noun}");
        for what in ["rejected", "dropped_queue_full", "dropped_export_failed", "dropped_too_large", "waiting"] {
            assert_eq!(counter(what).unwrap_or_default(), 0, "{noun} {what}");
        }
    }
    let verdict = json!({
        "ok": true, "requests": requests, "traces": requests, "spans": requests * 6, "logs": requests * 6,
        "measured": requests * 6, "dropped": 0, "waiting": 0, "problems": [],
    });
    assert_eq!(document["verdict"], verdict);
    assert_eq!((&document["forwarding"], &document["receiverOutage"]), (&Value::Null, &json!(false)));
}

fn path(span: &Value) -> &str {
    let attributes = &span["attributes"];
    match attributes.get("url.full") {
        // http://backend/stock/7
        Some(url) => &text(url)[text(url).match_indices('/').nth(2).unwrap().0..],
        None => text(&attributes["url.path"]),
    }
}

fn assert_span(span: &Value, parent: &Value, trace_id: &Value) {
    let service = text(&span["service"]);
    assert!(is_hex(&span["spanId"], 16), "{span}");
    assert_eq!((&span["parentSpanId"], &span["traceId"]), (parent, trace_id), "{span}");
    assert_eq!((&span["name"], &span["status"]), (&json!("GET"), &json!("UNSET")), "{span}");
    let nanos = |key: &str| text(&span[key]).parse::<u64>().unwrap();
    let (start, end) = (nanos("startUnixNano"), nanos("endUnixNano"));
    assert!(start > 0 && end > start && end - start < 60_000_000_000, "{span}");
    assert_eq!(span["attributes"]["http.request.method"], "GET", "{span}");
    assert_eq!(span["attributes"]["http.response.status_code"], 200, "{span}");
    assert_eq!(span["resource"]["service.name"], service, "{span}");
    assert_eq!(span["resource"]["k8s.namespace.name"], "demo", "{span}");
    assert_eq!(span["resource"]["k8s.pod.name"], format!("{service}-0"), "{span}");
}

fn assert_log(log: &Value, span: &Value) {
    assert_eq!((&log["service"], &log["resource"]), (&span["service"], &span["resource"]), "{log}");
    assert_eq!((&log["severity"], &log["severityNumber"]), (&json!("INFO"), &json!(9)), "{log}");
    assert_eq!(log["body"], format!("GET {} 200", path(span)), "{log}");
    assert_eq!(log["flags"].as_u64().map(|flags| flags & 1), Some(1), "the sampled flag: {log}");
}

#[tokio::test]
async fn a_tracecontext_client_gets_whole_traces() {
    assert_complete(&document(&["--format", "tracecontext", "--requests", "4"], 0).await, "tracecontext", 4);
}

#[tokio::test]
async fn a_b3_client_gets_whole_traces_and_its_own_header() {
    assert_complete(&document(&["--format", "b3", "--requests", "2"], 0).await, "b3", 2);
}

#[tokio::test]
async fn a_b3multi_client_gets_whole_traces_and_its_own_headers() {
    assert_complete(&document(&["--format", "b3multi", "--requests", "2"], 0).await, "b3multi", 2);
}

#[tokio::test]
async fn the_first_proxy_starts_the_trace_of_a_client_without_one() {
    assert_complete(&document(&["--format", "none", "--requests", "2"], 0).await, "none", 2);
}

#[tokio::test]
async fn text_is_for_people_and_progress_stays_out_of_it() {
    let output = run(demo(&["--format", "b3", "--rate", "50"]).env("NO_COLOR", "1")).await;
    let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(0), "{stdout}\n{stderr}");
    assert_eq!(stdout.matches("\nfrontend  SERVER  GET /order/7").count(), 1, "equal traces are shown once: {stdout}");
    for part in [
        " and 2 more of this shape\n",
        "backend   CLIENT      └ GET /rates/EUR    200  ",
        "  backend   SERVER  INFO   GET /stock/7 200\n",
        "spans  18 recorded = 18 exported + 0 rejected + 0 dropped + 0 waiting\n",
        "Headers that backend's application received with /stock/7\nb3: ",
    ] {
        assert!(stdout.contains(part), "{part:?} is missing in {stdout}");
    }
    assert!(
        stdout.ends_with("√ 3 traces, 18 spans, all parents found, 18 logs, 18 exchanges measured, 0 dropped\n"),
        "{stdout}"
    );
    assert!(!stdout.contains('\x1b'), "{stdout:?}");
    assert!(stderr.contains("starting two Envoys") && stderr.contains("sending 3 requests"), "{stderr}");
}

#[tokio::test]
async fn an_outage_of_the_receiver_costs_no_request_and_everything_is_accounted_for() {
    let document = document(&["--receiver-outage", "--requests", "9"], 0).await;
    assert_eq!(document["receiverOutage"], true);
    assert!(list(&document["requests"]).iter().all(|sent| sent["status"] == 200), "{}", document["requests"]);
    let retried = document["counters"]["otelmesh_exports_retried"].as_i64();
    assert!(retried > Some(0), "the filter did not notice the outage: {}", document["counters"]);
    for noun in ["spans", "logs"] {
        let fates =
            ["exported", "rejected", "dropped_queue_full", "dropped_export_failed", "dropped_too_large", "waiting"];
        let counter = |what: &str| document["counters"][format!("otelmesh_{noun}_{what}")].as_i64().unwrap_or_default();
        assert_eq!(counter("recorded"), 54);
        assert_eq!(fates.into_iter().map(counter).sum::<i64>(), 54, "{}", document["counters"]);
        assert_eq!(counter("waiting"), 0, "{}", document["counters"]);
        assert_eq!(document["verdict"][noun].as_i64(), Some(counter("exported")), "{}", document["verdict"]);
    }
}

#[tokio::test]
async fn a_collector_of_ones_own_gets_everything_too_and_may_be_missing() {
    let mut collector = Receiver::start(None).await.unwrap();
    let endpoint = format!("http://{}", collector.http());
    let shown = document(&["--otlp-endpoint", &endpoint], 0).await;
    let forwarding = &shown["forwarding"];
    assert_eq!((&forwarding["failed"], &forwarding["reason"]), (&json!(0), &Value::Null));
    let snapshot = collector.snapshot();
    assert_eq!(forwarding["forwarded"].as_u64(), u64::try_from(snapshot.exports.len()).ok());
    assert_eq!((snapshot.spans().len(), snapshot.logs().len()), (18, 18));

    collector.stop().await;
    let shown = document(&["--otlp-endpoint", &endpoint], 0).await;
    assert_eq!(shown["forwarding"]["forwarded"], 0);
    assert!(text(&shown["forwarding"]["reason"]).contains("refused"), "{}", shown["forwarding"]);
}

#[tokio::test]
async fn a_filter_that_does_nothing_is_found_out() {
    let dir = tempfile::tempdir().unwrap();
    let idle = dir.path().join("idle.wasm");
    let module = r#"(module
        (memory (export "memory") 1)
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "malloc") (param i32) (result i32) i32.const 1024))"#;
    fs::write(&idle, wat::parse_str(module).unwrap()).unwrap();
    let document = document(&["--wasm", idle.to_str().unwrap(), "--requests", "1"], 1).await;
    assert_eq!(document["verdict"]["ok"], false);
    let problems = list(&document["verdict"]["problems"]);
    for part in [
        "no wasmcustom.otelmesh_* counter",
        "0 of 2 CLIENT spans of frontend (outbound) arrived",
        "which is no SERVER span of backend, with /price/7",
    ] {
        assert!(problems.iter().any(|problem| text(problem).contains(part)), "{part} is missing in {problems:?}");
    }
    let args = ["--wasm", idle.to_str().unwrap(), "--requests", "1", "--format", "none"];
    let stdout = String::from_utf8(run(&mut demo(&args)).await.stdout).unwrap();
    assert!(stdout.contains("\n× otelmesh-demo-1: the frontend application received no traceparent\n"), "{stdout}");
    assert!(stdout.ends_with("\n× 0 traces, 0 spans, 0 logs, 0 exchanges measured, 0 dropped\n"), "{stdout}");
}

#[tokio::test]
async fn what_is_missing_is_named_with_the_command_that_makes_it() {
    let dir = tempfile::tempdir().unwrap();
    let alone = dir.path().join("otelmesh");
    fs::copy(otelmesh(), &alone).unwrap();
    let broken = dir.path().join("broken.wasm");
    fs::write(&broken, "no module").unwrap();
    let envoy = envoy();
    let (envoy, broken) = (envoy.to_str().unwrap(), broken.to_str().unwrap());
    let table: [(&[&str], &str, &str); 7] = [
        (&[], "run `make envoy`", "no Envoy anywhere"),
        (&["--envoy", envoy], "run `make wasm`", "no filter anywhere"),
        (&["--envoy", "/absent"], "--envoy names /absent", "a named Envoy is never replaced"),
        (&["--envoy", envoy, "--wasm", "/absent"], "--wasm names /absent", "a named filter is never replaced"),
        (&["--envoy", envoy, "--wasm", broken], "Failed to parse corrupted Wasm module", "Envoy's own reason"),
        (&["--envoy", "/bin/sh", "--wasm", broken], "backend's Envoy has ended", "not an Envoy"),
        (&["--envoy", envoy, "--wasm", broken, "--otlp-endpoint", "localhost:4318"], "no http:// URL", "no URL"),
    ];
    for (args, expected, reason) in table {
        let mut command = Command::new(&alone);
        command
            .arg("demo")
            .args(args)
            .current_dir(&dir)
            .env("PATH", "/bin")
            .env_remove("ENVOY")
            .env_remove("OTELMESH_WASM");
        let output = run(&mut command).await;
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{reason}: {stderr}");
        assert!(stderr.contains(expected), "{reason}: {stderr}");
        assert!(output.stdout.is_empty(), "{reason}");
    }
}

/// A demo that keeps running, the processes that it started, and where its frontend is.
struct Kept {
    child: Child,
    stderr: Lines<BufReader<tokio::process::ChildStderr>>,
    started: Vec<u32>,
    // What a killed demo cannot remove.
    _temporary: tempfile::TempDir,
}

impl Kept {
    /// Returns when it says `sign`.
    async fn start(args: &[&str], sign: &str) -> (Self, String) {
        let temporary = tempfile::tempdir().unwrap();
        let mut child =
            demo(args).env("TMPDIR", temporary.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = wait_for(&mut stderr, sign).await;
        let started = children(child.id().unwrap());
        // An Envoy and its watcher for each service.
        assert_eq!(started.len(), 4, "{started:?}");
        (Self { child, stderr, started, _temporary: temporary }, line)
    }

    async fn end(mut self, signal: Signal) -> Option<i32> {
        let pid = Pid::from_raw(self.child.id().unwrap().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
        let status = timeout(PATIENCE, self.child.wait()).await.expect("it ignores the signal").unwrap();
        let gone = async {
            while self.started.iter().copied().any(is_running) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(5), gone).await.unwrap_or_else(|_| panic!("{:?} are left behind", self.started));
        drop(self.stderr);
        status.code()
    }
}

async fn wait_for<R: AsyncRead + Unpin>(lines: &mut Lines<BufReader<R>>, sign: &str) -> String {
    let found = async {
        let mut seen = Vec::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains(sign) {
                return line;
            }
            seen.push(line);
        }
        panic!("{sign:?} never came, only {seen:#?}");
    };
    timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("{sign:?} does not come"))
}

fn children(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let lists = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default());
    lists.flat_map(|list| list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>()).collect()
}

/// A zombie has no executable any more; whoever adopted it may take its time.
fn is_running(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}/exe")).read_link().is_ok()
}

#[tokio::test]
async fn a_kept_demo_shows_further_traces_until_ctrl_c() {
    let (mut kept, line) = Kept::start(&["--keep"], "curl ").await;
    let mut stdout = BufReader::new(kept.child.stdout.take().unwrap()).lines();
    wait_for(&mut stdout, "√ 3 traces").await;
    let url = line.trim().trim_start_matches("curl ");
    let traceparent = HeaderValue::from_static("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let headers = HeaderMap::from_iter([(http::HeaderName::from_static("traceparent"), traceparent)]);
    assert_eq!(Client::new().get(url, headers).await.unwrap().text(), "frontend /order/7\n");
    wait_for(&mut stdout, "Trace 0af7651916cd43dd8448eb211c80319c").await;
    wait_for(&mut stdout, "└ GET /rates/EUR").await;
    assert_eq!(kept.end(Signal::INT).await, Some(0), "the verdict's code: Ctrl-C is its regular end");
}

#[tokio::test]
async fn a_signal_in_the_middle_leaves_no_process_behind() {
    for (signal, code, reason) in [
        (Signal::INT, Some(130), "Ctrl-C"),
        (Signal::TERM, Some(143), "a polite kill"),
        (Signal::KILL, None, "no chance to clean up"),
    ] {
        let (kept, _) = Kept::start(&["--requests", "100", "--rate", "0.1"], "sending 100 requests").await;
        assert_eq!(kept.end(signal).await, code, "{reason}");
    }
}
