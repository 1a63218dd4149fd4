//! Exchanges that are more than a request and a response: upgrades, gRPC, and those that are broken off.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use http_body::Frame;
use http_body_util::{BodyExt, Channel};
use hyper_util::rt::{TokioExecutor, TokioIo};
use otelmesh::envoy::bootstrap::Protocol;
use otelmesh::server::{ANY_PORT, Server};
use otelmesh_e2e::proxy::{Setup, inbound_manager};
use otelmesh_e2e::raw;
use otelmesh_e2e::upstream::Upstream;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn a_websocket_is_one_span_that_ends_with_it() {
    let upstream = Upstream::start().await;
    let edit = |bootstrap: &mut Value| {
        inbound_manager(bootstrap)["upgrade_configs"] = json!([{"upgrade_type": "websocket"}]);
    };
    let proxy = Setup { edit: Box::new(edit), ..Setup::new(upstream.address()) }.start().await;
    let mut stream = TcpStream::connect(proxy.inbound).await.unwrap();
    let request = b"GET /upgrade HTTP/1.1\r\nhost: shop\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut head = vec![0; 1024];
    let len = stream.read(&mut head).await.unwrap();
    assert!(head[..len].starts_with(b"HTTP/1.1 101 "));
    for n in 0..100u32 {
        stream.write_all(&n.to_be_bytes()).await.unwrap();
        let mut echo = [0; 4];
        stream.read_exact(&mut echo).await.unwrap();
        assert_eq!(u32::from_be_bytes(echo), n);
    }
    assert_eq!(proxy.books().await.recorded("spans"), 0, "it is still open");
    drop(stream);
    proxy.settle(1, 1).await;
    let span = proxy.receiver.snapshot().spans().remove(0);
    assert_eq!((span.text("http.response.status_code"), span.status.as_str()), ("101".into(), "UNSET"));
    assert_eq!(upstream.last().values("traceparent").len(), 1);
    proxy.assert_alive().await;
}

/// A gRPC service that answers each message with one of its own and ends with the status that the path names.
async fn grpc_upstream() -> Server {
    let answer = |request: Request<Body>| async move {
        let status = request.uri().path().rsplit('/').next().unwrap_or("0").parse::<HeaderValue>().unwrap();
        let (mut sender, body) = Channel::<Bytes, Infallible>::new(8);
        tokio::spawn(async move {
            let mut messages = request.into_body();
            while let Some(Ok(frame)) = messages.frame().await {
                if let Ok(data) = frame.into_data()
                    && sender.send(Frame::data(data)).await.is_err()
                {
                    return;
                }
            }
            let _ =
                sender.send(Frame::trailers(HeaderMap::from_iter([("grpc-status".parse().unwrap(), status)]))).await;
        });
        Response::builder().header("content-type", "application/grpc").body(Body::new(body)).unwrap()
    };
    Server::start(ANY_PORT, Router::new().fallback(answer)).await.unwrap()
}

/// Exchanges `messages` messages with a gRPC method, one after the other, and answers the `grpc-status`.
async fn grpc_call(to: SocketAddr, path: &str, messages: usize) -> String {
    let stream = TcpStream::connect(to).await.unwrap();
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut client, connection) = handshake.await.unwrap();
    let connection = tokio::spawn(connection);
    let (mut sender, body) = Channel::<Bytes, Infallible>::new(1);
    let request = Request::post(format!("http://shop.example{path}"))
        .header("content-type", "application/grpc+proto")
        .header("te", "trailers")
        .body(body)
        .unwrap();
    let response = client.send_request(request).await.unwrap();
    let mut replies = response.into_body();
    for _ in 0..messages {
        // A message of no bytes, in gRPC's framing.
        sender.send(Frame::data(Bytes::from_static(&[0; 5]))).await.unwrap();
        assert_eq!(replies.frame().await.unwrap().unwrap().into_data().unwrap().len(), 5);
    }
    drop(sender);
    let trailers = replies.frame().await.unwrap().unwrap().into_trailers().unwrap();
    connection.abort();
    trailers["grpc-status"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_grpc_stream_is_one_span_with_the_status_of_its_trailers() {
    let upstream = grpc_upstream().await;
    let setup = Setup { protocol: Protocol::Http2, ..Setup::new(upstream.address()) };
    let proxy = setup.start().await;
    // grpc-status, span status on the server's side and on the client's, error.type there.
    let rows =
        [("0", "UNSET", "UNSET", ""), ("5", "UNSET", "ERROR", "NOT_FOUND"), ("14", "ERROR", "ERROR", "UNAVAILABLE")];
    for (n, (status, server, client, error)) in rows.iter().enumerate() {
        for to in [proxy.inbound, proxy.outbound] {
            assert_eq!(grpc_call(to, &format!("/shop.Cart/{status}"), 50).await, *status);
        }
        let records = (n as i64 + 1) * 2;
        proxy.settle(records, records).await;
        for span in proxy.receiver.snapshot().spans().split_off(n * 2) {
            assert_eq!(span.name, format!("shop.Cart/{status}"));
            assert_eq!((span.text("rpc.service"), span.text("rpc.method")), ("shop.Cart".into(), (*status).into()));
            assert_eq!(span.text("rpc.grpc.status_code"), *status);
            let expected = if span.kind == "SERVER" { server } else { client };
            assert_eq!(span.status, *expected, "{status} on {}", span.kind);
            assert_eq!(span.text("error.type"), if *expected == "ERROR" { *error } else { "" });
            assert_eq!(span.text("http.response.status_code"), "200");
            assert_eq!(span.text("network.protocol.version"), "2");
        }
    }
    proxy.assert_alive().await;
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_a_span_that_says_so() {
    let upstream = Upstream::start().await;
    let proxy = Setup::new(upstream.address()).start().await;
    let mut stream = TcpStream::connect(proxy.inbound).await.unwrap();
    stream.write_all(&raw::request(b"/slow", &[])).await.unwrap();
    while upstream.heads().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // A reset instead of a polite end.
    stream.set_zero_linger().unwrap();
    drop(stream);
    proxy.settle(1, 1).await;
    let span = proxy.receiver.snapshot().spans().remove(0);
    assert_eq!(span.status, "ERROR");
    assert_eq!(span.text("error.type"), "DownstreamConnectionTermination");
    assert_eq!(span.text("envoy.response_flags"), "DC");
    assert_eq!(span.text("http.response.status_code"), "");
    let log = proxy.receiver.snapshot().logs().remove(0);
    assert_eq!((log.severity.as_str(), log.body), ("ERROR", json!("GET /slow 0")));
    proxy.assert_alive().await;
}
