//! A pluginConfig that cannot be used switches the filter off; it never hurts a request.

use otelmesh_e2e::proxy::Setup;
use otelmesh_e2e::raw;
use otelmesh_e2e::upstream::Upstream;
use serde_json::{Value, json};

#[tokio::test]
async fn a_bad_configuration_is_reported_once_and_traffic_flows_untouched() {
    let rows: [(Value, &str); 4] = [
        (json!({"smapling": {"ratio": 1}}), "unknown field `smapling`"),
        (json!({"sampling": {"ratio": 7}}), "sampling.ratio must be from 0 to 1"),
        (json!({"batch": {"scheduleDelay": 5}}), "a duration such as"),
        (json!(["not", "an", "object"]), "expected an object"),
    ];
    for (config, sentence) in rows {
        let upstream = Upstream::start().await;
        let proxy = Setup { config: config.clone(), concurrency: 2, ..Setup::new(upstream.address()) }.start().await;
        let sent: [(&str, &[u8]); 3] = [("traceparent", b"rubbish"), ("tracestate", b"a"), ("b3", b"x")];
        for to in [proxy.inbound, proxy.outbound, proxy.inbound] {
            assert_eq!(raw::send(to, &raw::request(b"/", &sent)).await, Some(200), "{config}");
            let head = upstream.last();
            for (name, value) in sent {
                assert_eq!(head.value(name).as_bytes(), value, "{config}");
            }
        }
        let books = proxy.until("a rejection", |b| !b.is_empty() && b.get("config_rejected") == 1).await;
        assert_eq!(books.recorded("spans"), 0);
        let log = proxy.envoy.log();
        let lines: Vec<_> = log.lines().filter(|line| line.contains("the pluginConfig cannot be used")).collect();
        assert_eq!(lines.len(), 1, "main thread and two workers, two listeners, one line: {lines:?}");
        assert!(lines[0].contains("[error]") && lines[0].contains(sentence), "{}", lines[0]);
        proxy.assert_alive().await;
    }
}

#[tokio::test]
async fn no_configuration_at_all_works() {
    let upstream = Upstream::start().await;
    let edit = |bootstrap: &mut Value| {
        // The default cluster is Istio's name of a Service; let Envoy know it under that name.
        let text = bootstrap.to_string().replace(
            "\"name\":\"otel-collector\",",
            &format!("\"name\":\"{}\",", otelmesh_filter::config::DEFAULT_CLUSTER),
        );
        *bootstrap = serde_json::from_str(&text).unwrap();
        for listener in 0..2 {
            let filter = format!(
                "/static_resources/listeners/{listener}/filter_chains/0/filters/0/typed_config/http_filters/0/typed_config/config"
            );
            bootstrap.pointer_mut(&filter).unwrap().as_object_mut().unwrap().remove("configuration");
        }
    };
    let proxy = Setup { edit: Box::new(edit), ..Setup::new(upstream.address()) }.start().await;
    assert_eq!(raw::send(proxy.inbound, &raw::request(b"/", &[])).await, Some(200));
    proxy.settle(1, 1).await;
}
