//! Who the telemetry is about. In: the operator's attributes, the proxy's environment and Envoy's node. Out: the content
//! of an OTLP `Resource`, the same for every signal. Runs once a configuration, never on the path of a request.
//!
//! Whoever is closer to the operator wins: pluginConfig, then the `OTEL_*` variables, then what Istio knows of the pod.

use crate::config::{MAX_RESOURCE_ATTRIBUTES, Resource};
use crate::host::Host;
use crate::otlp::{self, Buffer, Key, Value};

/// Encodes the resource.
pub fn encode(settings: &Resource, host: &impl Host) -> Vec<u8> {
    let mut buf = Buffer::default();
    for (key, value) in detect(settings, host) {
        buf.attribute(1, Key::of(&Key::encode(&key)), Value::Text(&value));
    }
    buf.into_vec()
}

/// All attributes, each once.
pub fn detect(settings: &Resource, host: &impl Host) -> Vec<(String, String)> {
    let node = |key: &str| host.text(&["xds\0node\0metadata\0", key].concat());
    let label = |key: &str| host.text(&["xds\0node\0metadata\0LABELS\0", key].concat());
    let env = |key: &str| host.env(key).filter(|v| !v.is_empty());
    let mut found = Attributes(Vec::new());

    found.add("telemetry.sdk.name", Some("otelmesh".to_owned()));
    found.add("telemetry.sdk.language", Some("rust".to_owned()));
    found.add("telemetry.sdk.version", Some(env!("CARGO_PKG_VERSION").to_owned()));

    let namespace = env("POD_NAMESPACE").or_else(|| node("NAMESPACE"));
    let pod = env("POD_NAME").or_else(|| node("NAME"));
    let workload = node("WORKLOAD_NAME");
    // As Istio writes them: all of the pod's but the proxy's own.
    let containers = node("APP_CONTAINERS").unwrap_or_default();
    let container = (!containers.is_empty() && !containers.contains(',')).then_some(containers);
    let service = label("app.kubernetes.io/name")
        .or_else(|| workload.clone())
        .or_else(|| label("service.istio.io/canonical-name"))
        .or_else(|| label("app"))
        .or_else(|| host.text("xds\0node\0cluster"))
        .or_else(|| pod.clone());
    found.add("service.name", service.or_else(|| Some("unknown_service:envoy".to_owned())));
    found.add("service.namespace", namespace.clone());
    found.add("service.version", label("app.kubernetes.io/version").or_else(|| label("version")));
    // OpenTelemetry's rule: namespace, pod and container; of several containers none is the service's for sure.
    if let (Some(namespace), Some(pod)) = (&namespace, &pod) {
        let parts: Vec<&str> = [namespace, pod].into_iter().chain(&container).map(String::as_str).collect();
        found.add("service.instance.id", Some(parts.join(".")));
    }
    found.add("k8s.namespace.name", namespace);
    if let Some(key) = node("OWNER").as_deref().and_then(kind_of) {
        found.add(key, workload);
    }
    found.add("k8s.pod.name", pod);
    found.add("k8s.pod.uid", env("POD_UID"));
    found.add("k8s.container.name", container);
    found.add("k8s.pod.ip", env("INSTANCE_IP"));
    found.add("k8s.node.name", env("NODE_NAME").or_else(|| node("NODE_NAME")));
    found.add("k8s.cluster.name", env("ISTIO_META_CLUSTER_ID").or_else(|| node("CLUSTER_ID")));
    let locality = |key: &str| host.text(&["xds\0node\0locality\0", key].concat());
    found.add("cloud.region", locality("region"));
    found.add("cloud.availability_zone", locality("zone"));

    for (key, value) in env("OTEL_RESOURCE_ATTRIBUTES").as_deref().map(parse_list).unwrap_or_default() {
        found.add(&key, Some(value));
    }
    found.add("service.name", env("OTEL_SERVICE_NAME"));
    for (key, value) in &settings.attributes.0 {
        found.add(key, Some(value.clone()));
    }
    found.0
}

/// A later value takes the place of an earlier one.
struct Attributes(Vec<(String, String)>);

impl Attributes {
    fn add(&mut self, key: &str, value: Option<String>) {
        if let Some(value) = value.filter(|v| !v.is_empty()) {
            let value = otlp::text(value.as_bytes()).into_owned();
            match self.0.iter_mut().find(|(known, _)| known == key) {
                Some((_, old)) => *old = value,
                None => self.0.push((key.to_owned(), value)),
            }
        }
    }
}

/// What the workload is called by, from the path of its owner: `kubernetes://apis/apps/v1/namespaces/NAME/KIND/NAME`.
fn kind_of(owner: &str) -> Option<&'static str> {
    Some(match owner.rsplit('/').nth(1)? {
        "deployments" => "k8s.deployment.name",
        "statefulsets" => "k8s.statefulset.name",
        "daemonsets" => "k8s.daemonset.name",
        "cronjobs" => "k8s.cronjob.name",
        "jobs" => "k8s.job.name",
        _ => return None,
    })
}

/// `OTEL_RESOURCE_ATTRIBUTES`: `key=value` pairs with commas between them and `%XX` in the values (OpenTelemetry,
/// "Specifying resource information via an environment variable"). One bad pair spoils the whole list, as it says there.
fn parse_list(list: &str) -> Vec<(String, String)> {
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=')?;
        Some((key.trim_ascii().to_owned(), unescape(value.trim_ascii())?)).filter(|(key, _)| !key.is_empty())
    };
    let pairs = list.split(',').filter(|p| !p.trim_ascii().is_empty()).take(MAX_RESOURCE_ATTRIBUTES);
    pairs.map(pair).collect::<Option<Vec<_>>>().unwrap_or_default()
}

/// Text with `%XX` for some of its bytes; `None` where that gives no text.
pub(crate) fn unescape(value: &str) -> Option<String> {
    let mut bytes = value.bytes();
    let mut out = Vec::with_capacity(value.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let pair = [bytes.next()?, bytes.next()?];
                u8::from_str_radix(std::str::from_utf8(&pair).ok()?, 16).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::Fake;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn get(found: &[(String, String)], key: &str) -> Option<String> {
        let mut values = found.iter().filter(|(known, _)| known == key).map(|(_, value)| value.clone());
        let value = values.next();
        assert_eq!(values.next(), None, "{key} is there twice");
        value
    }

    fn names(host: &Fake, settings: &Resource) -> String {
        get(&detect(settings, host), "service.name").unwrap()
    }

    #[test]
    fn whoever_is_closer_to_the_operator_names_the_service() {
        let mut host = Fake::default();
        let mut settings = Resource::default();
        assert_eq!(names(&host, &settings), "unknown_service:envoy");
        let rows: &[(&[&str], &str)] = &[
            (&["xds", "node", "metadata", "NAME"], "pod"),
            (&["xds", "node", "cluster"], "cluster"),
            (&["xds", "node", "metadata", "LABELS", "app"], "app"),
            (&["xds", "node", "metadata", "LABELS", "service.istio.io/canonical-name"], "canonical"),
            (&["xds", "node", "metadata", "WORKLOAD_NAME"], "workload"),
            (&["xds", "node", "metadata", "LABELS", "app.kubernetes.io/name"], "label"),
        ];
        for (path, value) in rows {
            host.set_property(path, value.as_bytes());
            assert_eq!(names(&host, &settings), *value);
        }
        host.env.insert("OTEL_RESOURCE_ATTRIBUTES".into(), "a=1,service.name=list".into());
        assert_eq!(names(&host, &settings), "list");
        host.env.insert("OTEL_SERVICE_NAME".into(), "variable".into());
        assert_eq!(names(&host, &settings), "variable");
        settings.attributes.0.push(("service.name".into(), "config".into()));
        assert_eq!(names(&host, &settings), "config");
    }

    #[test]
    fn istios_node_becomes_kubernetes_attributes() {
        let mut host = Fake::default();
        host.set_property(&["xds", "node", "metadata", "NAMESPACE"], b"shop");
        host.set_property(&["xds", "node", "metadata", "NAME"], b"cart-5d-x");
        host.set_property(&["xds", "node", "metadata", "WORKLOAD_NAME"], b"cart");
        host.set_property(
            &["xds", "node", "metadata", "OWNER"],
            b"kubernetes://apis/apps/v1/namespaces/shop/deployments/cart",
        );
        host.env.insert("INSTANCE_IP".into(), "10.0.0.7".into());
        let found = detect(&Resource::default(), &host);
        let get = |key: &str| get(&found, key);
        assert_eq!(get("k8s.namespace.name").as_deref(), Some("shop"));
        assert_eq!(get("k8s.pod.name").as_deref(), Some("cart-5d-x"));
        assert_eq!(get("k8s.deployment.name").as_deref(), Some("cart"));
        assert_eq!(get("k8s.pod.ip").as_deref(), Some("10.0.0.7"));
        assert_eq!(get("k8s.cluster.name"), None);
        assert_eq!(get("service.instance.id").as_deref(), Some("shop.cart-5d-x"));
    }

    #[test]
    fn an_instance_is_named_by_its_container_if_there_is_one() {
        for (containers, id, name) in
            [("cart", "shop.cart-0.cart", Some("cart")), ("cart,nginx", "shop.cart-0", None), ("", "shop.cart-0", None)]
        {
            let mut host = Fake::default();
            host.set_property(&["xds", "node", "metadata", "NAMESPACE"], b"shop");
            host.set_property(&["xds", "node", "metadata", "NAME"], b"cart-0");
            host.set_property(&["xds", "node", "metadata", "APP_CONTAINERS"], containers.as_bytes());
            let found = detect(&Resource::default(), &host);
            assert_eq!(get(&found, "service.instance.id").as_deref(), Some(id));
            assert_eq!(get(&found, "k8s.container.name").as_deref(), name);
        }
    }

    #[test]
    fn where_envoy_runs_is_told() {
        let mut host = Fake::default();
        host.set_property(&["xds", "node", "locality", "region"], b"eu-west-1");
        host.set_property(&["xds", "node", "locality", "zone"], b"eu-west-1b");
        host.env.insert("POD_UID".into(), "9c8f".into());
        let found = detect(&Resource::default(), &host);
        let rows = [("cloud.region", "eu-west-1"), ("cloud.availability_zone", "eu-west-1b"), ("k8s.pod.uid", "9c8f")];
        for (key, value) in rows {
            assert_eq!(get(&found, key).as_deref(), Some(value), "{key}");
        }
    }

    #[test]
    fn a_workload_that_is_no_deployment_is_not_called_one() {
        let mut host = Fake::default();
        host.set_property(&["xds", "node", "metadata", "WORKLOAD_NAME"], b"db");
        let owner = b"kubernetes://apis/apps/v1/namespaces/shop/statefulsets/db";
        host.set_property(&["xds", "node", "metadata", "OWNER"], owner);
        let found = detect(&Resource::default(), &host);
        assert_eq!(get(&found, "k8s.deployment.name"), None);
        assert_eq!(get(&found, "k8s.statefulset.name").as_deref(), Some("db"));
    }

    #[test]
    fn lists_are_read_as_the_specification_says() {
        let pairs = |list: &str| parse_list(list).into_iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>();
        assert_eq!(pairs("a=1, b = two%20words ,,c=%C3%A9"), ["a=1", "b=two words", "c=\u{e9}"]);
        for bad in ["a", "a=1,b", "=1", "a=%4", "a=%zz", "a=%ff"] {
            assert!(pairs(bad).is_empty(), "{bad} is malformed as a whole");
        }
    }
}
