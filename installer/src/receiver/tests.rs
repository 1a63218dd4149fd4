use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, header};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use super::*;
use crate::client::{Client, Reply};

const SOON: Duration = Duration::from_secs(10);
const PROTOBUF: &str = "application/x-protobuf";

fn traces(name: &str) -> ExportTraceServiceRequest {
    let span = Span { name: name.to_owned(), trace_id: vec![7; 16], ..Span::default() };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }] }
}

async fn post(receiver: &Receiver, path: &str, headers: &[(header::HeaderName, &'static str)], body: Vec<u8>) -> Reply {
    let headers: HeaderMap =
        headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
    Client::new().post(&format!("http://{}{path}", receiver.http()), headers, body).await.unwrap()
}

fn names(receiver: &Receiver) -> Vec<String> {
    receiver.snapshot().spans().into_iter().map(|span| span.name).collect()
}

#[tokio::test]
async fn a_grpc_client_delivers_all_three_signals() {
    let receiver = Receiver::start(None).await.unwrap();
    let url = format!("http://{}", receiver.grpc());
    TraceServiceClient::connect(url.clone()).await.unwrap().export(traces("a")).await.unwrap();
    let mut logs = LogsServiceClient::connect(url.clone()).await.unwrap();
    logs.export(ExportLogsServiceRequest::default()).await.unwrap();
    let mut metrics = MetricsServiceClient::connect(url).await.unwrap();
    metrics.export(ExportMetricsServiceRequest::default()).await.unwrap();

    let exports = receiver.snapshot().exports;
    assert_eq!(
        exports.iter().map(|export| (export.transport, export.payload.signal())).collect::<Vec<_>>(),
        Signal::ALL.map(|signal| (Transport::Grpc, signal))
    );
    assert_eq!(names(&receiver), ["a"]);
}

#[tokio::test]
async fn http_takes_protobuf_and_json_plain_and_compressed() {
    let receiver = Receiver::start(None).await.unwrap();
    let reply =
        post(&receiver, "/v1/traces", &[(header::CONTENT_TYPE, PROTOBUF)], traces("plain").encode_to_vec()).await;
    assert_eq!(
        (reply.status, &reply.headers[header::CONTENT_TYPE]),
        (StatusCode::OK, &HeaderValue::from_static(PROTOBUF))
    );
    assert_eq!(ExportTraceServiceResponse::decode(reply.body).unwrap(), ExportTraceServiceResponse::default());

    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&traces("gzip").encode_to_vec()).unwrap();
    let headers = [(header::CONTENT_TYPE, PROTOBUF), (header::CONTENT_ENCODING, "gzip")];
    assert_eq!(post(&receiver, "/v1/traces", &headers, gzip.finish().unwrap()).await.status, StatusCode::OK);

    let json = serde_json::to_vec(&traces("json")).unwrap();
    let reply = post(&receiver, "/v1/traces", &[(header::CONTENT_TYPE, "application/json; charset=utf-8")], json).await;
    assert_eq!((reply.status, reply.text().as_str()), (StatusCode::OK, "{}"));
    assert_eq!(names(&receiver), ["plain", "gzip", "json"]);
}

#[tokio::test]
async fn http_refuses_with_the_status_that_otlp_names() {
    let receiver = Receiver::start(None).await.unwrap();
    let good = traces("a").encode_to_vec();
    let table = [
        (415, "/v1/traces", vec![(header::CONTENT_TYPE, "text/plain")], good.clone(), "no OTLP content type"),
        (415, "/v1/traces", vec![], good.clone(), "no content type at all"),
        (400, "/v1/traces", vec![(header::CONTENT_TYPE, PROTOBUF)], vec![0xff; 9], "no protobuf"),
        (400, "/v1/logs", vec![(header::CONTENT_TYPE, "application/json")], b"{".to_vec(), "no JSON"),
        (
            400,
            "/v1/traces",
            vec![(header::CONTENT_TYPE, PROTOBUF), (header::CONTENT_ENCODING, "gzip")],
            good.clone(),
            "not compressed at all",
        ),
        (404, "/v1/trace", vec![(header::CONTENT_TYPE, PROTOBUF)], good, "no OTLP path"),
    ];
    for (status, path, headers, body, reason) in table {
        assert_eq!(post(&receiver, path, &headers, body).await.status.as_u16(), status, "{reason}");
    }
    let snapshot = receiver.snapshot();
    assert_eq!(snapshot.exports.len(), 0);
    assert_eq!(snapshot.refused().into_iter().collect::<Vec<_>>(), [(400, 3), (404, 1), (415, 2)]);
}

#[tokio::test]
async fn scripted_answers_reach_both_transports_in_turn_and_then_end() {
    let receiver = Receiver::start(None).await.unwrap();
    receiver.answer_next(1, StatusCode::SERVICE_UNAVAILABLE);
    receiver.answer_next(1, StatusCode::TOO_MANY_REQUESTS);
    let mut grpc = TraceServiceClient::connect(format!("http://{}", receiver.grpc())).await.unwrap();
    assert_eq!(grpc.export(traces("a")).await.unwrap_err().code(), tonic::Code::Unavailable);
    let headers = [(header::CONTENT_TYPE, PROTOBUF)];
    let body = traces("b").encode_to_vec();
    assert_eq!(post(&receiver, "/v1/traces", &headers, body.clone()).await.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(post(&receiver, "/v1/traces", &headers, body).await.status, StatusCode::OK);
    assert_eq!(names(&receiver), ["b"]);
}

#[tokio::test]
async fn a_stopped_receiver_keeps_what_came_and_comes_back_on_its_ports() {
    let mut receiver = Receiver::start(None).await.unwrap();
    let headers = [(header::CONTENT_TYPE, PROTOBUF)];
    post(&receiver, "/v1/traces", &headers, traces("before").encode_to_vec()).await;
    let ports = (receiver.http(), receiver.grpc());
    receiver.stop().await;
    let refused = Client::new().get(&format!("http://{}/", receiver.http()), HeaderMap::new()).await;
    assert!(refused.is_err());

    receiver.restart().await.unwrap();
    assert_eq!((receiver.http(), receiver.grpc()), ports);
    post(&receiver, "/v1/traces", &headers, traces("after").encode_to_vec()).await;
    assert_eq!(names(&receiver), ["before", "after"]);
}

#[tokio::test]
async fn a_wait_ends_when_the_condition_holds_or_the_time_is_up() {
    let receiver = Receiver::start(None).await.unwrap();
    assert!(!receiver.wait_for(Duration::from_millis(1), |snapshot| !snapshot.exports.is_empty()).await);
    let headers = [(header::CONTENT_TYPE, PROTOBUF)];
    let (came, _) = tokio::join!(
        receiver.wait_for(SOON, |snapshot| snapshot.spans().len() == 1),
        post(&receiver, "/v1/traces", &headers, traces("a").encode_to_vec()),
    );
    assert!(came);
}

#[tokio::test]
async fn a_forwarder_hands_everything_on_and_reports_what_it_could_not() {
    let mut collector = Receiver::start(None).await.unwrap();
    let forwarder = Forwarder::start(&format!("http://{}/", collector.http())).unwrap();
    let receiver = Receiver::start(Some(&forwarder)).await.unwrap();
    let headers = [(header::CONTENT_TYPE, PROTOBUF)];
    post(&receiver, "/v1/traces", &headers, traces("a").encode_to_vec()).await;
    let mut grpc = TraceServiceClient::connect(format!("http://{}", receiver.grpc())).await.unwrap();
    grpc.export(traces("b")).await.unwrap();
    assert!(collector.wait_for(SOON, |snapshot| snapshot.spans().len() == 2).await);
    assert_eq!(names(&collector), ["a", "b"]);

    collector.stop().await;
    post(&receiver, "/v1/traces", &headers, traces("c").encode_to_vec()).await;
    let outcome = forwarder.flush(SOON).await;
    assert_eq!((outcome.requests, outcome.forwarded, outcome.failed), (3, 2, 1));
    assert!(outcome.reason.unwrap().contains("refused"));
}

#[tokio::test]
async fn an_endpoint_must_be_an_http_url() {
    for endpoint in ["https://127.0.0.1:4318", "127.0.0.1:4318", "http:///v1", ""] {
        assert!(Forwarder::start(endpoint).is_err(), "{endpoint}");
    }
}
