//! The Envoy runner against a real Envoy, without the filter.

use std::path::Path;
use std::time::{Duration, Instant};

use http::{HeaderMap, StatusCode};
use otelmesh::apps::App;
use otelmesh::client::Client;
use otelmesh::envoy::bootstrap::{Protocol, Traffic, bootstrap, cluster, http_listener, route};
use otelmesh::envoy::{Envoy, Options};
use serde_json::{Value, json};

/// Two listeners in front of one application, which is spoken to in HTTP/1.1 and HTTP/2.
fn two_listeners(app: &App) -> Value {
    bootstrap(
        json!({"id": "test", "cluster": "test"}),
        vec![
            http_listener("first", Traffic::Inbound, vec![], vec![route(&["*"], "one")]),
            http_listener("second", Traffic::Outbound, vec![], vec![route(&["app.example"], "two")]),
        ],
        vec![cluster("one", app.address(), Protocol::Http1), cluster("two", app.address(), Protocol::Http2)],
    )
}

async fn start(app: &App) -> Envoy {
    Envoy::start(&otelmesh_e2e::envoy(), "test", &two_listeners(app), &Options::default()).await.unwrap()
}

fn is_running(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}/exe")).read_link().is_ok()
}

#[tokio::test]
async fn listeners_choose_their_ports_and_are_found_by_name() {
    let app = App::start("app", |_| Vec::new()).await.unwrap();
    let envoy = start(&app).await;
    let client = Client::new();
    for (listener, host) in [("first", "anything"), ("second", "app.example")] {
        let url = format!("http://{}/{listener}", envoy.listener(listener).await.unwrap());
        let headers = HeaderMap::from_iter([(http::header::HOST, host.parse().unwrap())]);
        let reply = client.get(&url, headers).await.unwrap();
        assert_eq!((reply.status, reply.text()), (StatusCode::OK, format!("app /{listener}\n")));
    }
    assert!(envoy.listener("third").await.unwrap_err().to_string().contains("no listener third"));

    let stats = envoy.stats(r"^cluster\.(one|two)\.upstream_rq_total$").await.unwrap();
    let expected = [("cluster.one.upstream_rq_total", 1), ("cluster.two.upstream_rq_total", 1)];
    assert_eq!(stats, expected.map(|(name, value)| (name.to_owned(), value)).into());
    let http2 = envoy.stats(r"^cluster\.(one|two)\.upstream_cx_http2_total$").await.unwrap();
    assert_eq!(http2.into_values().collect::<Vec<_>>(), [0, 1]);
}

#[tokio::test]
async fn a_refused_bootstrap_is_reported_with_envoys_reason() {
    let bootstrap = bootstrap(json!({}), vec![], vec![json!({"name": "one", "no_such_field": 1})]);
    let error =
        Envoy::start(&otelmesh_e2e::envoy(), "test", &bootstrap, &Options::default()).await.unwrap_err().to_string();
    assert!(error.contains("test's Envoy has ended (exit status: 1)"), "{error}");
    assert!(error.contains("no_such_field"), "{error}");
}

#[tokio::test]
async fn stop_ends_it_in_order_and_hands_its_log_over() {
    let app = App::start("app", |_| Vec::new()).await.unwrap();
    let mut envoy = start(&app).await;
    let (pid, log) = (envoy.pid().unwrap(), envoy.log_path());
    envoy.check_running().unwrap();
    let text = envoy.stop().await.unwrap();
    assert!(text.contains("caught ENVOY_SIGTERM"), "{text}");
    assert!(!is_running(pid));
    assert!(!log.exists());
}

#[tokio::test]
async fn dropping_it_ends_it() {
    let app = App::start("app", |_| Vec::new()).await.unwrap();
    let envoy = start(&app).await;
    let pid = envoy.pid().unwrap();
    assert!(is_running(pid));
    drop(envoy);
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "not even a zombie may be left");
}

#[tokio::test]
async fn one_that_died_is_reported_with_the_end_of_its_log() {
    let app = App::start("app", |_| Vec::new()).await.unwrap();
    let mut envoy = start(&app).await;
    envoy.admin_post("/quitquitquit").await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    let error = loop {
        match envoy.check_running() {
            Err(error) => break error.to_string(),
            Ok(()) => assert!(Instant::now() < deadline, "Envoy ignores /quitquitquit"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(error.contains("test's Envoy has ended (exit status: 0)"), "{error}");
}
