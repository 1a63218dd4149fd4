//! What the cluster's collectors send on, as it came to the test's receiver.

use std::cell::RefCell;
use std::fmt::Debug;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use otelmesh::receiver::Snapshot;
use otelmesh::telemetry::{Log, Span};
use serde_json::{Value, json};

use super::{GATEWAY, HOPS, Mesh, PATIENCE};

// === impl Mesh ===

impl Mesh {
    /// Stops the receiver as a crash would.
    pub fn stop_receiver(&mut self) {
        self.runtime.block_on(self.receiver.stop());
    }

    /// Starts it again, where it was.
    pub fn restart_receiver(&mut self) {
        self.runtime.block_on(self.receiver.restart()).expect("its ports are free");
    }

    /// What Istio's provider `native` names in its mesh configuration: a Service that leads to the test's receiver.
    pub fn native_backend(&self) -> Value {
        let port = self.receiver.grpc().port();
        json!({"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tracing"}},
            {
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": "backend", "namespace": "tracing"},
                "spec": {"ports": [{"name": "grpc", "port": 4317, "targetPort": port}]},
            },
            {
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {
                    "name": "backend", "namespace": "tracing", "labels": {"kubernetes.io/service-name": "backend"},
                },
                "addressType": "IPv4",
                "ports": [{"name": "grpc", "port": port}],
                "endpoints": [{"addresses": [GATEWAY.to_string()], "conditions": {"ready": true}}],
            },
        ]})
    }

    /// All that the collectors sent on.
    pub fn snapshot(&self) -> Snapshot {
        self.receiver.snapshot()
    }

    /// The spans of a trace, once there are so many.
    pub fn spans_of(&self, trace: &str, count: usize) -> Vec<Span> {
        self.arrived(&format!("{count} spans of trace {trace}"), count, |now| {
            now.spans().into_iter().filter(|span| span.trace_id == trace).collect()
        })
    }

    /// The logs of a trace, once there are so many.
    pub fn logs_of(&self, trace: &str, count: usize) -> Vec<Log> {
        self.arrived(&format!("{count} logs of trace {trace}"), count, |now| {
            now.logs().into_iter().filter(|log| log.trace_id == trace).collect()
        })
    }

    fn arrived<T: Debug>(&self, what: &str, count: usize, of: impl Fn(&Snapshot) -> Vec<T>) -> Vec<T> {
        let arrived = self.runtime.block_on(self.receiver.wait_for(PATIENCE, |now| of(now).len() >= count));
        let records = of(&self.snapshot());
        assert!(arrived, "of {what} came {}: {records:#?}\n{}", records.len(), self.diagnosis());
        records
    }

    /// Asks until a trace of it has all its spans. Envoy serves connections that were open by the listener that they came
    /// to, until that is drained.
    pub fn wait_for_whole_trace(&self, url: &str) {
        let asked = RefCell::new(Vec::new());
        self.wait_until("a trace is whole", || {
            let trace = trace_id();
            let parent = format!("traceparent: 00-{trace}-00f067aa0ba902b7-01");
            self.requests("client", &["-H", &parent, url]);
            asked.borrow_mut().push(trace);
            let whole = self.receiver.wait_for(Duration::from_secs(2), |now| {
                let spans = now.spans();
                let of = |trace: &String| spans.iter().filter(|span| span.trace_id == *trace).count();
                asked.borrow().iter().any(|trace| of(trace) == HOPS)
            });
            self.runtime.block_on(whole)
        });
    }
}

/// A trace id that no other request has.
pub fn trace_id() -> String {
    let word = || RandomState::new().hash_one(Instant::now());
    format!("{:016x}{:016x}", word() | 1, word())
}
