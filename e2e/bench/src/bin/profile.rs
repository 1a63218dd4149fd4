//! `profile`: where the time goes. Needs Linux's `perf`, and `target/named.wasm`, the module with its functions' names.
//!
//! Prints, for an Envoy with nobody, Envoy's own telemetry and the filter under the same load, which part of its CPU time
//! each part of the process has; then the functions of the filter itself by their own time, in a Wasm runtime that knows
//! their names. `PROFILE_SITUATION` (all signals) chooses what the filter does there.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use otelmesh_bench::load;
use otelmesh_bench::rung::{Modules, Rung, SETTINGS, Watcher};

/// The slowest comes first: all get half of what it bears, as in the bench.
const WATCHERS: [Watcher; 6] = [
    Watcher::Native { ratio: 1.0, logs: true },
    Watcher::Native { ratio: 0.0, logs: false },
    Watcher::Nobody,
    Watcher::Empty,
    Watcher::Otelmesh { ratio: 0.0, logs: false, metrics: false },
    Watcher::Otelmesh { ratio: 1.0, logs: true, metrics: true },
];
const REQUESTS: u64 = 20_000;
const EXCHANGES: &str = "400000";
/// Functions that are listed.
const FUNCTIONS: usize = 40;

#[tokio::main]
async fn main() {
    let binary = otelmesh::envoy::find(None).unwrap_or_else(|error| panic!("{error:#}"));
    let folder = tempfile::tempdir().expect("a directory can be made");
    let modules = Modules::find(folder.path());
    let data = folder.path().join("perf.data");
    let upstream = load::upstream().await;

    println!("CPU µs of Envoy per request, by what runs\n");
    let mut rate = None;
    for watcher in WATCHERS {
        let rung = Rung::start(&binary, watcher, SETTINGS[0], upstream, &modules).await;
        rung.client.saturate(REQUESTS).await;
        let rate = match rate {
            Some(rate) => rate,
            None => *rate.insert(rung.client.saturate(REQUESTS).await / 2.0),
        };
        let pid = rung.pid().to_string();
        let mut recorder = perf(&["record", "-q", "-F", "4999", "-e", "cpu-clock", "-p", &pid, "-o"], &data)
            .spawn()
            .expect("perf is on this machine");
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        let before = rung.cpu();
        rung.client.send(REQUESTS, rate, 0).await;
        let each = (rung.cpu() - before) / REQUESTS as f64;
        // It writes what it has once it is asked to end.
        let recorder_pid = recorder.id().to_string();
        Command::new("kill").args(["-INT", &recorder_pid]).status().expect("kill is on every machine");
        recorder.wait().expect("it ends");
        let mut parts: BTreeMap<&str, f64> = BTreeMap::new();
        for (share, name) in report(&data, "dso") {
            let part = match name.as_str() {
                name if name.contains("kernel") || name.contains("unknown") => "kernel",
                name if name.contains("JIT") || name.contains("anon") || name.contains(".map") => "WebAssembly",
                name if name.contains("libc") || name.contains("ld-linux") => "C library",
                _ => "Envoy",
            };
            *parts.entry(part).or_default() += share * each / 100.0;
        }
        println!("{:<45} {each:>6.1}  {}", watcher.name(), line(&parts));
    }

    let situation = std::env::var("PROFILE_SITUATION").unwrap_or_else(|_| "all signals".to_owned());
    let exchanges = std::env::current_exe().expect("this program has a path").with_file_name("exchanges");
    let status = perf(&["record", "-q", "-F", "9999", "-e", "cpu-clock", "-o"], &data)
        .args([exchanges.as_path(), Path::new("target/named.wasm"), Path::new(&situation), Path::new(EXCHANGES)])
        .status();
    assert!(status.expect("perf is on this machine").success());
    let functions: Vec<_> = report(&data, "dso,symbol").into_iter().filter(|(_, name)| name.contains("JIT")).collect();
    let all: f64 = functions.iter().map(|(share, _)| share).sum();
    println!("\nThe filter's own time by function: {situation}\n");
    for (share, name) in functions.iter().take(FUNCTIONS) {
        let name = name.rsplit("[.]").next().unwrap_or(name).trim();
        println!("{:>5.1} %  {name}", share / all * 100.0);
    }
}

fn perf(arguments: &[&str], data: &Path) -> Command {
    let mut command = Command::new("perf");
    command.args(arguments).arg(data).stderr(Stdio::null());
    command
}

/// Shares in percent, largest first, and what has them.
fn report(data: &Path, sort: &str) -> Vec<(f64, String)> {
    let output = perf(&["report", "--stdio", "--no-children", "--sort", sort, "-i"], data).output();
    let text = String::from_utf8_lossy(&output.expect("perf is on this machine").stdout).into_owned();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.trim().split_once('%'))
        .filter_map(|(n, name)| Some((n.parse().ok()?, name.trim().to_owned())))
        .collect()
}

fn line(parts: &BTreeMap<&str, f64>) -> String {
    parts.iter().map(|(part, micros)| format!("{part} {micros:.1}")).collect::<Vec<_>>().join("   ")
}
