//! What a panic in the filter costs: without the guard what Envoy makes of a trap, with it nothing but the telemetry of
//! the worker. And what shows of a trap that no guard can catch.

use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use otelmesh::server::{ANY_PORT, Server};
use otelmesh_e2e::proxy::{Proxy, Setup};
use otelmesh_e2e::raw;
use otelmesh_e2e::upstream::Upstream;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

type Headers<'a> = &'a [(&'a str, &'a [u8])];

const IN_REQUEST: Headers<'static> = &[("x-otelmesh-trap", b"request")];
const IN_LOG: Headers<'static> = &[("x-otelmesh-trap", b"log")];
const OVERFLOW: Headers<'static> = &[("x-otelmesh-trap", b"overflow")];

/// The filter with a panic in it: as rustc links it, and as it is released.
fn panicking() -> [PathBuf; 2] {
    ["otelmesh-trap.wasm", "otelmesh-trap-guarded.wasm"].map(|name| {
        let path = otelmesh_e2e::wasm().with_file_name(name);
        assert!(path.is_file(), "{} is missing: run `make target/otelmesh-trap.wasm`", path.display());
        path
    })
}

/// Has Envoy told in the older way what a trap means.
fn fail_open(bootstrap: &mut Value) {
    for listener in 0..2 {
        let at = format!(
            "/static_resources/listeners/{listener}/filter_chains/0/filters/0/typed_config/http_filters/0/typed_config/config"
        );
        let config = bootstrap.pointer_mut(&at).unwrap().as_object_mut().unwrap();
        config.remove("failure_policy");
        config.insert("fail_open".to_owned(), json!(true));
    }
}

/// An upstream that takes its time for `/wait`, and a proxy before it.
async fn start(module: &Path, edit: impl FnOnce(&mut Value) + 'static) -> (Server, Proxy) {
    let wait = async || {
        sleep(Duration::from_millis(1500)).await;
        "ok"
    };
    let router = Router::new().route("/wait", get(wait)).fallback(async || "ok");
    let upstream = Server::start(ANY_PORT, router).await.unwrap();
    let setup = Setup { module: Some(module.to_owned()), edit: Box::new(edit), ..Setup::new(upstream.address()) };
    let proxy = setup.start().await;
    (upstream, proxy)
}

/// The statuses of a request that panics, of its neighbour that is under way, and of the next three, of which one would
/// panic again.
async fn statuses(proxy: &Proxy, panics: Headers<'_>) -> [u16; 5] {
    let to = proxy.inbound;
    let neighbour = tokio::spawn(async move { raw::send(to, &raw::request(b"/wait", &[])).await });
    sleep(Duration::from_millis(500)).await;
    let of = async |headers| raw::send(to, &raw::request(b"/", headers)).await.unwrap_or(0);
    let panicked = of(panics).await;
    [panicked, neighbour.await.unwrap().unwrap_or(0), of(&[]).await, of(panics).await, of(&[]).await]
}

#[tokio::test]
async fn without_the_guard_a_panic_takes_the_requests_of_its_worker_with_it() {
    let [unguarded, _] = panicking();
    // Envoy's setting, where the panic is, statuses.
    for (legacy, panics, expected) in [
        (false, IN_REQUEST, [503, 503, 200, 200, 200]),
        (false, IN_LOG, [200, 503, 200, 200, 200]),
        // What delivery as an EnvoyFilter sets.
        (true, IN_REQUEST, [200, 200, 200, 200, 200]),
    ] {
        let (_upstream, proxy) = start(&unguarded, move |b| {
            if legacy {
                fail_open(b)
            }
        })
        .await;
        let stats = async || proxy.envoy.stats(r"^wasm\.").await.unwrap();
        let before = stats().await;
        assert_eq!(statuses(&proxy, panics).await, expected, "fail_open: {legacy}, {panics:?}");
        assert_eq!(stats().await, before, "once Envoy has a stat for a trap, an alert should watch it");
        assert_eq!(proxy.envoy.log().matches("Uncaught RuntimeError").count(), 1, "{}", proxy.envoy.log());
    }
}

#[tokio::test]
async fn with_the_guard_a_panic_costs_no_request_and_is_counted() {
    let [_, module] = panicking();
    for panics in [IN_REQUEST, IN_LOG] {
        let (_upstream, proxy) = start(&module, |_| {}).await;
        assert_eq!(statuses(&proxy, panics).await, [200; 5], "{panics:?}");
        let books = proxy.until("a panic", |books| books.get("panics") == 1).await;
        assert_eq!(books.recorded("spans"), 0, "the filter is off: {books:?}");
        let log = proxy.envoy.log();
        assert_eq!(log.matches("otelmesh: off on this worker").count(), 1, "{log}");
        assert!(log.contains("a request asked for it"), "it says why: {log}");
        proxy.assert_not_trapped();
    }
}

#[tokio::test]
async fn a_panic_switches_off_its_own_worker_alone() {
    let [_, module] = panicking();
    let upstream = Upstream::start().await;
    let setup = Setup { module: Some(module), concurrency: 2, ..Setup::new(upstream.address()) };
    let proxy = setup.start().await;
    let of = async |headers| raw::send(proxy.inbound, &raw::request(b"/", headers)).await;
    assert_eq!(of(IN_REQUEST).await, Some(200));
    for _ in 0..40 {
        assert_eq!(of(&[]).await, Some(200));
    }
    // Each connection is taken by either worker.
    let books = proxy.until("records of the other worker", |b| b.exported("spans") > 0).await;
    assert!(books.get("panics") == 1 && books.recorded("spans") < 40, "{books:?}");
}

#[tokio::test]
async fn a_stack_that_overflows_is_no_panic_and_ends_the_heartbeats_of_its_worker_alone() {
    let [_, module] = panicking();
    let upstream = Upstream::start().await;
    let setup = Setup { module: Some(module), concurrency: 2, ..Setup::new(upstream.address()) };
    let proxy = setup.start().await;
    let workers = proxy.envoy.stats(r"^server\.concurrency$").await.unwrap();
    assert_eq!(workers.into_values().collect::<Vec<_>>(), [2], "the alert takes it from there");
    // One VM on Envoy's main thread, too, which no request comes to.
    assert_eq!(beating(&proxy).await, 3);
    let of = async |headers| raw::send(proxy.inbound, &raw::request(b"/", headers)).await;
    assert_eq!(of(OVERFLOW).await, Some(503), "a trap is not caught");
    assert_eq!(beating(&proxy).await, 2);
    let books = proxy.books().await;
    assert_eq!(books.get("panics"), 0, "no panic: {books:?}");
    for _ in 0..40 {
        assert_eq!(of(&[]).await, Some(200));
    }
    proxy.until("records of the other worker", |b| b.exported("spans") > 0).await;
}

#[tokio::test]
async fn a_filter_that_is_off_beats_all_the_same() {
    let upstream = Upstream::start().await;
    let setup =
        Setup { config: json!({"sampling": {"ratio": "often"}}), concurrency: 2, ..Setup::new(upstream.address()) };
    let proxy = setup.start().await;
    assert_eq!(beating(&proxy).await, 3);
    assert_eq!(proxy.books().await.get("config_rejected"), 1);
}

/// How many VMs beat.
async fn beating(proxy: &Proxy) -> i64 {
    let beats = async || proxy.until("a heartbeat", |books| !books.is_empty()).await.get("heartbeats");
    let (begun, before) = (Instant::now(), beats().await);
    // Each VM may be a beat early or late.
    sleep(Duration::from_secs(10)).await;
    let counted = (beats().await - before) as f64;
    (counted / begun.elapsed().as_secs_f64()).round() as i64
}
