//! What the proxies and the collectors count.

use std::collections::BTreeMap;
use std::ops::{Add, Sub};

use super::{APPLICATIONS, INGRESS, Mesh, SHOP};

/// What the filter counted of one signal, or of several.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Books {
    /// Records that entered the books.
    pub recorded: u64,
    /// Records that a collector took.
    pub exported: u64,
    /// Records that were dropped or rejected, for whatever reason.
    pub lost: u64,
    /// Records that are held.
    pub waiting: u64,
}

/// The books of both signals that each request adds to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Accounts {
    /// Of spans.
    pub spans: Books,
    /// Of logs.
    pub logs: Books,
}

// === impl Books ===

impl Books {
    /// Whether they add up, with nothing waiting.
    fn are_settled(&self) -> bool {
        self.waiting == 0 && self.recorded == self.exported + self.lost
    }

    fn enter(&mut self, counter: &str, value: u64) {
        match counter {
            "recorded" => self.recorded += value,
            "exported" => self.exported += value,
            "waiting" => self.waiting += value,
            other if other.starts_with("dropped") || other == "rejected" => self.lost += value,
            _ => {}
        }
    }
}

impl Add for Books {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            recorded: self.recorded + other.recorded,
            exported: self.exported + other.exported,
            lost: self.lost + other.lost,
            waiting: self.waiting + other.waiting,
        }
    }
}

impl Sub for Books {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            recorded: self.recorded - before.recorded,
            exported: self.exported - before.exported,
            lost: self.lost - before.lost,
            waiting: self.waiting - before.waiting,
        }
    }
}

// === impl Accounts ===

impl Accounts {
    /// Whether both add up, with nothing waiting.
    pub fn are_settled(&self) -> bool {
        self.spans.are_settled() && self.logs.are_settled()
    }

    /// Spans and logs together.
    pub fn both(&self) -> Books {
        self.spans + self.logs
    }
}

// === impl Mesh ===

impl Mesh {
    /// The filter's books, over the three applications.
    pub fn books(&self) -> Accounts {
        let mut accounts = Accounts::default();
        for (name, value) in APPLICATIONS.iter().flat_map(|workload| self.counters(workload)) {
            match name.split_once('_') {
                Some(("spans", counter)) => accounts.spans.enter(counter, value),
                Some(("logs", counter)) => accounts.logs.enter(counter, value),
                _ => {}
            }
        }
        accounts
    }

    /// The same, once nothing is under way.
    pub fn settled(&self) -> Accounts {
        self.wait_until("the books are settled", || self.books().are_settled());
        self.books()
    }

    /// Whether the filter panicked in a proxy.
    pub(super) fn panicked(&self) -> bool {
        APPLICATIONS.iter().chain([&INGRESS]).any(|workload| self.counter(workload, "panics") > 0)
    }

    /// The filter's counters, over the sidecars of a workload.
    pub fn counters(&self, workload: &str) -> Vec<(String, u64)> {
        let stats = self.envoy(workload, "stats?filter=otelmesh_");
        let line = |line: &str| {
            let (name, value) = line.rsplit_once(": ")?;
            Some((name.strip_prefix("wasmcustom.otelmesh_")?.to_owned(), value.parse().ok()?))
        };
        stats.lines().filter_map(line).collect()
    }

    /// One of them.
    pub fn counter(&self, workload: &str, name: &str) -> u64 {
        self.counters(workload).into_iter().find(|(found, _)| found == name).map_or(0, |(_, value)| value)
    }

    /// What the Envoy of a workload's sidecar answers on its admin interface.
    pub fn envoy(&self, workload: &str, path: &str) -> String {
        let (namespace, workload) = workload.split_once('/').unwrap_or((SHOP, workload));
        let workload = format!("deployment/{workload}");
        let exec =
            ["-n", namespace, "exec", &workload, "-c", "istio-proxy", "--", "pilot-agent", "request", "GET", path];
        self.kubectl(&exec)
    }

    /// One of a collector's own counters, by pod, over its series.
    pub fn collected(&self, component: &str, name: &str) -> BTreeMap<String, f64> {
        let label = format!("app.kubernetes.io/component=collector-{component}");
        let pods = self.get(&["pods", "-n", "otelmesh", "-l", &label, "--field-selector=status.phase=Running"]);
        let pods = pods["items"].as_array().into_iter().flatten().filter_map(|pod| pod["metadata"]["name"].as_str());
        let of = |pod: &str| {
            let path = format!("/api/v1/namespaces/otelmesh/pods/{pod}:8888/proxy/metrics");
            let exposition = self.kubectl(&["get", "--raw", &path]);
            let series = exposition.lines().filter(|line| line.starts_with(&format!("{name}{{")));
            series.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
        };
        pods.map(|pod| (pod.to_owned(), of(pod))).collect()
    }
}
