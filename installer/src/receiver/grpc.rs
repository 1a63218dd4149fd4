//! OTLP/gRPC.
//!
//! In: calls of the three collector services, plain or in gzip. Out: an export response without partial success. Refuses only what a test
//! asked to be refused; undecodable messages are refused by tonic.

use std::sync::Arc;

use axum::Router;
use http::StatusCode;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status};

use super::forward::Forwarder;
use super::store::{Export, Payload, Refusal, Store, Transport};

#[derive(Clone)]
struct Services {
    store: Arc<Store>,
    forwarder: Option<Forwarder>,
}

pub(super) fn router(store: Arc<Store>, forwarder: Option<Forwarder>) -> Router {
    let services = Services { store, forwarder };
    let gzip = CompressionEncoding::Gzip;
    Routes::new(TraceServiceServer::new(services.clone()).accept_compressed(gzip))
        .add_service(LogsServiceServer::new(services.clone()).accept_compressed(gzip))
        .add_service(MetricsServiceServer::new(services).accept_compressed(gzip))
        .into_axum_router()
}

impl Services {
    fn accept<T: Default>(&self, headers: http::HeaderMap, payload: Payload) -> Result<Response<T>, Status> {
        match self.store.scripted() {
            None | Some(StatusCode::OK) => {}
            Some(status) => {
                let path = payload.signal().path().to_owned();
                self.store.refuse(Refusal { status, path, reason: "scripted".to_owned() });
                return Err(Status::new(code(status), "scripted"));
            }
        }
        if let Some(forwarder) = &self.forwarder {
            forwarder.offer(&payload);
        }
        self.store.accept(Export { transport: Transport::Grpc, headers, payload });
        Ok(Response::new(T::default()))
    }
}

#[tonic::async_trait]
impl TraceService for Services {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let (metadata, _, payload) = request.into_parts();
        self.accept(metadata.into_headers(), Payload::Traces(payload))
    }
}

#[tonic::async_trait]
impl LogsService for Services {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let (metadata, _, payload) = request.into_parts();
        self.accept(metadata.into_headers(), Payload::Logs(payload))
    }
}

#[tonic::async_trait]
impl MetricsService for Services {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let (metadata, _, payload) = request.into_parts();
        self.accept(metadata.into_headers(), Payload::Metrics(payload))
    }
}

/// The gRPC code that stands for an HTTP status (grpc/grpc doc/http-grpc-status-mapping.md, and 429 and 413 as the OTLP
/// specification and its receivers use them).
pub(super) fn code(status: StatusCode) -> Code {
    match status.as_u16() {
        400 | 413 | 415 => Code::InvalidArgument,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 => Code::ResourceExhausted,
        502..=504 => Code::Unavailable,
        500 => Code::Internal,
        _ => Code::Unknown,
    }
}
