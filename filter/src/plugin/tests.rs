//! Whole exchanges through the fake host, in the order in which Envoy calls back.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use super::*;
use crate::host::Status;
use crate::host::fake::{Fake, Made, Phase};

mod accounting;
#[cfg(not(target_arch = "wasm32"))]
mod adversarial;
mod configuration;
mod exchanges;
mod metrics;
mod protocols;

/// The first root context; [`World::root`] makes more.
const ROOT: u32 = 1;
const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03";

/// A worker with one configured root context. Dropping it checks that the filter did nothing that Envoy would refuse.
struct World {
    plugin: Plugin<Fake>,
    next_id: u32,
    /// The root context of exchanges that begin.
    parent: u32,
}

impl World {
    fn new(config: &str) -> Self {
        Self::on("sidecar~10.0.0.1~cart.shop~shop.svc.cluster.local", config)
    }

    /// In a proxy with this id.
    fn on(node: &str, config: &str) -> Self {
        let mut world = Self { plugin: Plugin::new(Fake::default()), next_id: ROOT, parent: ROOT };
        world.host().time = SECOND;
        world.host().set_property(&["xds", "node", "id"], node.as_bytes());
        world.root(config);
        world
    }

    fn host(&mut self) -> &mut Fake {
        &mut self.plugin.host
    }

    fn id(&mut self) -> u32 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    fn during<T>(&mut self, phase: Phase, body: impl FnOnce(&mut Plugin<Fake>) -> T) -> T {
        self.plugin.host.phase = phase;
        let out = body(&mut self.plugin);
        self.plugin.host.phase = Phase::Root;
        out
    }

    fn root(&mut self, config: &str) -> u32 {
        let id = self.id();
        self.plugin.on_context_create(id, 0);
        self.host().config = config.as_bytes().to_vec();
        self.during(Phase::Configure, |plugin| plugin.on_configure(id));
        id
    }

    fn tick(&mut self) {
        self.host().time += 600 * MS;
        self.during(Phase::Root, |plugin| plugin.on_tick(ROOT));
    }

    /// An exchange from its headers on, which stays open.
    fn begin(&mut self, headers: &[(&str, &str)]) -> u32 {
        let id = self.id();
        self.plugin.on_context_create(id, self.parent);
        let owned = headers.iter().map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec()));
        self.host().request_headers = owned.collect();
        self.during(Phase::RequestHeaders, |plugin| plugin.on_request_headers(id, false));
        id
    }

    /// The end of an exchange, with a status code or without.
    fn end(&mut self, id: u32, code: u16) {
        self.host().time += 5 * MS;
        self.host().clear_properties("response");
        if code != 0 {
            self.host().set_integer(&["response", "code"], code.into());
        }
        self.during(Phase::Log, |plugin| plugin.on_log(id));
        assert!(self.plugin.on_done(id));
    }

    fn exchange(&mut self, headers: &[(&str, &str)], code: u16) {
        let id = self.begin(headers);
        self.end(id, code);
    }

    fn header(&mut self, name: &str) -> Option<String> {
        let headers = &self.host().request_headers;
        let found = headers.iter().find(|(n, _)| n == name)?;
        Some(String::from_utf8(found.1.clone()).unwrap())
    }

    /// Answers the oldest call that has not been answered.
    fn reply(&mut self, status: Option<u16>, body: &[u8]) -> Made {
        let headers = status.map(|s| (":status".to_owned(), s.to_string().into_bytes()));
        self.reply_with(headers.into_iter().collect(), body)
    }

    fn reply_with(&mut self, headers: Vec<(String, Vec<u8>)>, body: &[u8]) -> Made {
        let call = self.host().calls.remove(0);
        let status = headers.first();
        self.host().reply_body = body.to_vec();
        let (token, count, len) = (call.token, u32::from(status.is_some()), body.len() as u32);
        let trailers = self.host().reply_trailers.len() as u32;
        self.host().reply_headers = headers;
        self.during(Phase::CallResponse, |plugin| plugin.on_call_response(token, count, len, trailers));
        call
    }

    fn stat(&self, name: &str) -> i64 {
        self.plugin.host.stat(&format!("otelmesh_{name}"))
    }

    /// Asserts that the books of every signal are in order.
    fn balance(&self) {
        for noun in ["spans", "logs", "data_points"] {
            let prefix = format!("otelmesh_{noun}_");
            let left: i64 = self
                .plugin
                .host
                .stats()
                .filter(|(name, _)| name.starts_with(&prefix) && !name.ends_with("_recorded"))
                .map(|(_, value)| value)
                .sum();
            assert_eq!(
                self.stat(&format!("{noun}_recorded")),
                left,
                "{noun}: recorded = exported + rejected + dropped + waiting"
            );
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(*self.plugin.host.violations.borrow(), Vec::<String>::new());
        }
    }
}

fn spans(call: &Made) -> Vec<Span> {
    assert_eq!(path(call), "/v1/traces");
    let request = ExportTraceServiceRequest::decode(&call.body[..]).unwrap();
    request.resource_spans.into_iter().flat_map(|r| r.scope_spans).flat_map(|s| s.spans).collect()
}

fn logs(call: &Made) -> Vec<LogRecord> {
    assert_eq!(path(call), "/v1/logs");
    let request = ExportLogsServiceRequest::decode(&call.body[..]).unwrap();
    request.resource_logs.into_iter().flat_map(|r| r.scope_logs).flat_map(|s| s.log_records).collect()
}

fn path(call: &Made) -> &str {
    call.headers.iter().find(|(n, _)| n == ":path").map(|(_, v)| v.as_str()).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
