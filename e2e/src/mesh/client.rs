//! Clients in the mesh, and what they were answered.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Mesh, SHOP};
use crate::tools::{go_tool, run};

/// A load's clients. Each begins again from time to time, and never both at once.
const CLIENTS: u32 = 2;
/// How long a load lasts before and after what is done under it.
const MARGIN: Duration = Duration::from_secs(2);

/// What a client in the mesh got.
#[derive(Debug)]
pub struct Answers {
    /// Requests sent.
    pub requests: u64,
    /// Answers by status.
    pub statuses: Value,
    /// Requests without an answer, by reason.
    pub errors: Value,
    /// The last answer's body.
    pub last: String,
}

/// Requests that clients keep sending; dropping it ends them.
pub struct Load {
    ended: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Answers>>,
}

// === impl Load ===

impl Load {
    /// Ends, and tells what was answered.
    ///
    /// # Panics
    /// A client could not be told to send.
    pub fn end(mut self) -> Answers {
        self.ended.store(true, Ordering::Relaxed);
        let clients = self.clients.drain(..).map(|client| client.join().expect("the client sends"));
        clients.reduce(Answers::and).expect("there are some")
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

// === impl Answers ===

impl Answers {
    /// How many were answered with 200.
    pub fn good(&self) -> u64 {
        self.statuses["200"].as_u64().unwrap_or(0)
    }

    /// Everything that was not answered with 200.
    pub fn bad(&self) -> u64 {
        self.requests - self.good()
    }

    /// Both together.
    fn and(mut self, other: Self) -> Self {
        self.requests += other.requests;
        add(&mut self.statuses, &other.statuses);
        add(&mut self.errors, &other.errors);
        self.last = other.last;
        self
    }
}

fn add(counts: &mut Value, more: &Value) {
    for (key, count) in more.as_object().into_iter().flatten() {
        counts[key] = json!(counts[key].as_u64().unwrap_or(0) + count.as_u64().unwrap_or(0));
    }
}

// === impl Mesh ===

impl Mesh {
    /// Sends requests from a pod; `args` are those of `otelmesh-app get`.
    pub fn requests(&self, from: &str, args: &[&str]) -> Answers {
        ask(from, args)
    }

    /// Sends requests from a pod without a pause, until [`Load::end`].
    pub fn load(&self, from: &str, url: &str) -> Load {
        let ended = Arc::new(AtomicBool::new(false));
        let client = |number: u32| {
            let (ended, from, url) = (Arc::clone(&ended), from.to_owned(), url.to_owned());
            thread::spawn(move || {
                let mut all = ask(&from, &["-t", &format!("{}s", number + 1), "-p", "50ms", &url]);
                while !ended.load(Ordering::Relaxed) {
                    all = all.and(ask(&from, &["-t", "2s", "-p", "50ms", &url]));
                }
                all
            })
        };
        let clients = (0..CLIENTS).map(client).collect();
        Load { ended, clients }
    }

    /// Does something while the client sends requests, before it and after it.
    pub fn under_load<T>(&self, url: &str, act: impl FnOnce() -> T) -> (Answers, T) {
        let load = self.load("client", url);
        thread::sleep(MARGIN);
        let done = act();
        thread::sleep(MARGIN);
        (load.end(), done)
    }

    /// Sends OTLP/HTTP from a pod, to a collector of whichever address.
    pub fn post(&self, from: &str, url: &str, headers: &[&str], body: &Value) -> Answers {
        let mut args = vec!["-X", "POST", "-H", "content-type: application/json"];
        args.extend(headers.iter().flat_map(|header| ["-H", header]));
        let body = body.to_string();
        args.extend(["-d", &body, url]);
        self.requests(from, &args)
    }
}

fn ask(from: &str, args: &[&str]) -> Answers {
    let (namespace, workload) = from.split_once('/').unwrap_or((SHOP, from));
    let mut exec = Command::new(go_tool("kubectl"));
    exec.args(["-n", namespace, "exec", &format!("deployment/{workload}"), "-c", "app", "--", "otelmesh-app", "get"]);
    let said: Value = serde_json::from_str(&run(exec.args(args))).expect("JSON");
    Answers {
        requests: said["requests"].as_u64().unwrap_or(0),
        statuses: said["statuses"].clone(),
        errors: said["errors"].clone(),
        last: said["last"].as_str().unwrap_or_default().to_owned(),
    }
}
