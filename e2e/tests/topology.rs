//! Agents and gateways as the production profile configures them, with real collectors: every trace ends at one gateway,
//! which keeps what the policies say.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use otelmesh::receiver::Receiver;
use otelmesh_e2e::otelcol::Running;
use otelmesh_e2e::rendered::collectors;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(30);
/// Decides after a second instead of half a minute, and asks no API server.
const SETTINGS: &str = "collector.clusterMetrics=false,collector.kubeletMetrics=false,\
                        collector.sampling.decisionWait=1s,collector.sampling.latencyMillis=2000,\
                        collector.exporters.backend.type=otlp_http,collector.exporters.backend.endpoint=http://backend";

struct Mesh {
    agent: Running,
    gateways: Vec<(Running, Receiver)>,
}

impl Mesh {
    /// An agent, two gateways, and a backend behind each of them, so that it can be told who sent what.
    async fn start(percentage: &str) -> Self {
        let set = format!("{SETTINGS},collector.sampling.percentage={percentage}");
        let configs = collectors(&["--profile", "production", "--set", &set]);
        let config = |tier: &str| &configs.iter().find(|(name, _)| name.ends_with(tier)).unwrap().1;
        let mut gateways = Vec::new();
        for _ in 0..2 {
            let backend = Receiver::start(None).await.unwrap();
            let endpoint = format!("http://{}", backend.http());
            let gateway = Running::edited(config("gateway"), |config| {
                config["exporters"]["otlp_http/backend"]["endpoint"] = json!(endpoint);
                config["exporters"]["otlp_http/backend"]["sending_queue"]["batch"]["flush_timeout"] = json!("100ms");
            });
            gateways.push((gateway.await, backend));
        }
        let hosts: Vec<_> = gateways.iter().map(|(gateway, _)| gateway.grpc()).collect();
        let agent = Running::edited(config("agent"), |config| {
            // What the name of the headless Service would resolve to.
            let exporter = &mut config["exporters"]["load_balancing/gateway"];
            assert_eq!(exporter["resolver"]["dns"]["hostname"], "otel-collector-gateway.otelmesh.svc.cluster.local");
            exporter["resolver"] = json!({"static": {"hostnames": hosts}});
        });
        Self { agent: agent.await, gateways }
    }

    /// The traces that arrived, with the gateways that sent spans of them and the number of these.
    fn arrived(&self) -> BTreeMap<String, (BTreeSet<usize>, usize)> {
        let mut traces: BTreeMap<String, (BTreeSet<usize>, usize)> = BTreeMap::new();
        for (i, (_, backend)) in self.gateways.iter().enumerate() {
            for span in backend.snapshot().spans() {
                let trace = traces.entry(span.trace_id).or_default();
                trace.0.insert(i);
                trace.1 += 1;
            }
        }
        traces
    }

    async fn until(&self, what: &str, condition: impl Fn(&BTreeMap<String, (BTreeSet<usize>, usize)>) -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !condition(&self.arrived()) {
            let logs = || self.gateways.iter().map(|(gateway, _)| gateway.log()).collect::<String>();
            assert!(
                tokio::time::Instant::now() < deadline,
                "{what}: {:?}\n{}\n{}",
                self.arrived(),
                self.agent.log(),
                logs()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn trace_id(i: u32) -> String {
    // Spread over the ring as random ids are.
    format!("{:08x}{i:08x}{:016x}", i.wrapping_mul(2_654_435_761), 0xfeed_0000_u64 + u64::from(i))
}

fn span(trace: u32, span: u32, millis: u64, error: bool) -> String {
    let start = 1_700_000_000_000_u64;
    let status = if error { json!({"code": 2}) } else { json!({}) };
    let span: Value = json!({
        "traceId": trace_id(trace), "spanId": format!("{span:08x}{trace:08x}"), "name": "x", "kind": 2, "status": status,
        "startTimeUnixNano": format!("{start}000000"), "endTimeUnixNano": format!("{}000000", start + millis),
    });
    json!({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).to_string()
}

#[tokio::test]
async fn every_trace_ends_whole_at_one_gateway() {
    let mesh = Mesh::start("100").await;
    // Span by span, as they come from different proxies.
    for part in 1..=2 {
        for trace in 0..30 {
            mesh.agent.post("traces", span(trace, part, 1, false)).await.unwrap();
        }
    }
    let own: BTreeSet<String> = (0..30).map(trace_id).collect();
    let complete = |traces: &BTreeMap<String, (BTreeSet<usize>, usize)>| {
        own.iter().all(|id| traces.get(id).is_some_and(|(_, spans)| *spans == 2))
    };
    mesh.until("30 traces of two spans", complete).await;
    let arrived = mesh.arrived();
    let by: Vec<&BTreeSet<usize>> = own.iter().map(|id| &arrived[id].0).collect();
    assert!(by.iter().all(|gateways| gateways.len() == 1), "traces were torn apart: {arrived:?}");
    assert_eq!(by.into_iter().flatten().collect::<BTreeSet<_>>().len(), 2, "one gateway had it all: {arrived:?}");
}

#[tokio::test]
async fn slow_traces_and_those_with_errors_are_kept_and_the_share_of_the_rest() {
    let mesh = Mesh::start("0").await;
    for (trace, millis, error) in [(1, 1, false), (2, 1, true), (3, 3000, false), (4, 1, false)] {
        mesh.agent.post("traces", span(trace, 1, millis, error)).await.unwrap();
    }
    let kept = [trace_id(2), trace_id(3)];
    mesh.until("the two", |traces| kept.iter().all(|id| traces.contains_key(id))).await;
    // All four were decided upon at about the same time.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let arrived = mesh.arrived();
    for dropped in [trace_id(1), trace_id(4)] {
        assert!(!arrived.contains_key(&dropped), "{arrived:?}");
    }
}

/// Spans that wait for a backend that is away, in a gateway that is killed meanwhile; gives how many arrive at last.
async fn survivors(persistent: bool) -> usize {
    let mut backend = Receiver::start(None).await.unwrap();
    backend.stop().await;
    let set = format!("{SETTINGS},collector.gateway.persistence.enabled={persistent}");
    let configs = collectors(&["--set", &set]);
    let endpoint = format!("http://{}", backend.http());
    let mut gateway = Running::edited(&configs[0].1, |config| {
        config["exporters"]["otlp_http/backend"]["endpoint"] = json!(endpoint);
        config["exporters"]["otlp_http/backend"]["retry_on_failure"]["max_interval"] = json!("1s");
    })
    .await;
    for trace in 0..20 {
        gateway.post("traces", span(trace, 1, 1, false)).await.unwrap();
    }
    gateway.crash_and_return().await;
    backend.restart().await.unwrap();
    backend.wait_for(PATIENCE / 3, |all| all.spans().len() >= 20).await;
    let all: BTreeSet<String> = backend.snapshot().spans().into_iter().map(|span| span.trace_id).collect();
    all.len()
}

#[tokio::test]
async fn a_killed_gateway_loses_what_waits_unless_it_has_a_volume() {
    assert_eq!(survivors(true).await, 20, "all of it was on the volume");
    assert_eq!(survivors(false).await, 0, "then this test proves nothing");
}
