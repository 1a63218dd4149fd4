//! A real Envoy as a child process.
//!
//! In: a binary, a bootstrap, options. Out: an Envoy that is ready, in a directory of its own, with the ports that it
//! chose itself (listeners bind port 0 and are asked for by name, so two runs never race for a port). Refuses to start
//! one that exits early or never gets ready, and shows the end of its log. No Envoy outlives its owner: it is killed
//! when dropped, and a watcher kills it when the owner itself was killed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use http::{HeaderMap, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::client::{Client, Reply};
use crate::server::ANY_PORT;

pub use find::find;

pub mod bootstrap;
pub mod find;

/// Readiness has no event to wait for, only a question to ask again.
const ASK_AGAIN: Duration = Duration::from_millis(20);
/// Envoy needs less than a second to end; a worker in an endless loop needs a kill.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// The kernel needs some milliseconds; a thread that hangs in it must not hang this process.
const KILL_TIMEOUT: Duration = Duration::from_secs(1);
/// Enough of the log to hold a refused configuration.
const TAIL_LINES: usize = 20;

/// How an Envoy is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Worker threads.
    pub concurrency: u32,
    /// `--log-level`; `info` shows what filters log.
    pub log_level: String,
    /// How long it may take to get ready; a Wasm module is compiled in this time.
    pub ready_timeout: Duration,
    /// Whether another Envoy may take over from it; `args` then name the base id and the epoch.
    pub hot_restart: bool,
    /// Further command line arguments.
    pub args: Vec<String>,
}

/// A running Envoy.
#[derive(Debug)]
pub struct Envoy {
    name: String,
    admin: SocketAddr,
    client: Client,
    watcher: Option<Child>,
    child: Child,
    directory: TempDir,
}

#[derive(Deserialize)]
struct Stats {
    stats: Vec<Stat>,
}

#[derive(Deserialize)]
struct Stat {
    // Histograms come without one.
    name: Option<String>,
    value: Option<Value>,
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self {
            concurrency: 1,
            log_level: "info".to_owned(),
            ready_timeout: Duration::from_secs(30),
            hot_restart: false,
            args: Vec::new(),
        }
    }
}

// === impl Envoy ===

impl Envoy {
    /// Starts `binary` and waits until it is ready. `name` is for messages.
    ///
    /// # Errors
    /// It cannot be run, exits early, or does not get ready in time; the message holds the end of its log.
    pub async fn start(binary: &Path, name: &str, bootstrap: &Value, options: &Options) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("otelmesh-envoy-").tempdir()?;
        let config = directory.path().join("bootstrap.json");
        fs::write(&config, serde_json::to_vec_pretty(bootstrap)?)?;
        let log = File::create(log_path(&directory))?;
        let child = Command::new(binary)
            .arg("--config-path")
            .arg(&config)
            .arg("--admin-address-path")
            .arg(directory.path().join("admin"))
            .args(["--concurrency", &options.concurrency.to_string()])
            .args(["--log-level", &options.log_level])
            .args((!options.hot_restart).then_some("--disable-hot-restart"))
            .args(&options.args)
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot run {}: is it an Envoy binary for this machine?", binary.display()))?;
        let watcher = child.id().and_then(watch);
        let (name, client) = (name.to_owned(), Client::new());
        let mut envoy = Self { name, admin: ANY_PORT, client, watcher, child, directory };
        envoy.wait_ready(options.ready_timeout).await?;
        Ok(envoy)
    }

    async fn wait_ready(&mut self, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        loop {
            self.check_running()?;
            if let Some(admin) = admin_address(&self.directory) {
                self.admin = admin;
                if self.admin_get("/ready").await.is_ok() {
                    return Ok(());
                }
            }
            if Instant::now() > deadline {
                let (waited, tail) = (timeout.as_secs(), tail(&self.directory));
                bail!("{}'s Envoy is not ready after {waited}s; the end of its log:\n{tail}", self.name);
            }
            sleep(ASK_AGAIN).await;
        }
    }

    /// Its name in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id; none when it has ended.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Where its admin server listens.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The file that holds its log; removed with the Envoy, but kept when a test panics.
    pub fn log_path(&self) -> PathBuf {
        log_path(&self.directory)
    }

    /// All that it logged.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    /// Where the listener of this name listens.
    ///
    /// # Errors
    /// There is no such listener, or the admin server does not answer.
    pub async fn listener(&self, name: &str) -> Result<SocketAddr> {
        let listeners: Value = serde_json::from_str(&self.admin_get("/listeners?format=json").await?)?;
        listeners["listener_statuses"]
            .as_array()
            .and_then(|all| all.iter().find(|listener| listener["name"] == name))
            .and_then(|listener| address_of(&listener["local_address"]["socket_address"]))
            .with_context(|| format!("{}'s Envoy has no listener {name}, only {listeners}", self.name))
    }

    /// Counters and gauges whose names match a regular expression.
    ///
    /// # Errors
    /// The admin server does not answer, or the expression is none.
    pub async fn stats(&self, filter: &str) -> Result<BTreeMap<String, i64>> {
        let filter = utf8_percent_encode(filter, NON_ALPHANUMERIC);
        let text = self.admin_get(&format!("/stats?format=json&filter={filter}")).await?;
        let stats: Stats = serde_json::from_str(&text).with_context(|| format!("no statistics: {text}"))?;
        Ok(stats.stats.into_iter().filter_map(|stat| Some((stat.name?, stat.value?.as_i64()?))).collect())
    }

    /// The admin server's answer to a GET, such as `/config_dump` or `/clusters`.
    ///
    /// # Errors
    /// It does not answer, or not with 200.
    pub async fn admin_get(&self, path: &str) -> Result<String> {
        self.answer(path, self.client.get(&self.url(path), HeaderMap::new()).await)
    }

    /// The admin server's answer to a POST, such as `/drain_listeners?graceful` or `/logging?level=debug`.
    ///
    /// # Errors
    /// It does not answer, or not with 200.
    pub async fn admin_post(&self, path: &str) -> Result<String> {
        self.answer(path, self.client.post(&self.url(path), HeaderMap::new(), "").await)
    }

    /// Whether it still runs; an error holds the end of its log.
    ///
    /// # Errors
    /// It has ended.
    pub fn check_running(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => {
                bail!("{}'s Envoy has ended ({status}); the end of its log:\n{}", self.name, tail(&self.directory))
            }
        }
    }

    /// Ends it as Kubernetes would: SIGTERM, and SIGKILL when that does not help. Its whole log comes back.
    ///
    /// # Errors
    /// The operating system refuses.
    pub async fn stop(mut self) -> Result<String> {
        if let Some(pid) = self.child.id().and_then(pid_of) {
            // It may have ended in this moment, which is what is wanted.
            let _ = kill_process(pid, Signal::TERM);
        }
        if timeout(STOP_TIMEOUT, self.child.wait()).await.is_err() {
            self.child.kill().await?;
        }
        Ok(self.log())
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.admin)
    }

    fn answer(&self, path: &str, reply: Result<Reply>) -> Result<String> {
        let reply = reply.with_context(|| {
            let tail = tail(&self.directory);
            format!("{}'s Envoy does not answer {path}; the end of its log:\n{tail}", self.name)
        })?;
        match reply.status {
            StatusCode::OK => Ok(reply.text()),
            status => Err(anyhow!("{}'s Envoy answers {path} with {status}: {}", self.name, reply.text())),
        }
    }
}

impl Drop for Envoy {
    /// Kills it, and waits the moment until it is gone: where nobody reaps orphans, as in many containers, it would
    /// stay behind as a zombie.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.directory.disable_cleanup(true);
            eprintln!("log of {}'s Envoy: {}", self.name, self.log_path().display());
        }
        // The watcher first, so that it never sees the pid of a dead process.
        for child in self.watcher.iter_mut().chain([&mut self.child]) {
            let _ = child.start_kill();
            let killed = std::time::Instant::now();
            while matches!(child.try_wait(), Ok(None)) && killed.elapsed() < KILL_TIMEOUT {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

/// A shell that reads a pipe which only this process can write to: when this process is gone, however it went, the
/// read ends and so does Envoy. Without a shell there is no watcher, and only a SIGKILL of this process leaves Envoy.
fn watch(pid: u32) -> Option<Child> {
    Command::new("sh")
        .args(["-c", "read -r _; kill -KILL \"$1\"", "sh", &pid.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()
}

fn pid_of(id: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(id).ok()?)
}

fn admin_address(directory: &TempDir) -> Option<SocketAddr> {
    fs::read_to_string(directory.path().join("admin")).ok()?.trim().parse().ok()
}

fn address_of(address: &Value) -> Option<SocketAddr> {
    Some(SocketAddr::new(address["address"].as_str()?.parse().ok()?, address["port_value"].as_u64()?.try_into().ok()?))
}

fn log_path(directory: &TempDir) -> PathBuf {
    directory.path().join("envoy.log")
}

/// The end of the log, without what is said on every start as long as there is anything else.
fn tail(directory: &TempDir) -> String {
    let log = fs::read(log_path(directory)).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let is_routine = |line: &str| ["[info]", "[debug]", "[trace]"].iter().any(|level| line.contains(level));
    let (routine, telling): (Vec<&str>, Vec<&str>) = log.lines().partition(|line| is_routine(line));
    let lines = if telling.is_empty() { routine } else { telling };
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

#[cfg(test)]
mod tests;
