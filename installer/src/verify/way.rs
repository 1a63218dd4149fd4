//! How a request gets into a proxy.
//!
//! In: what the operator named, or nothing. Out: a [`Way`], and the answer to a request that went by it. Refuses where no
//! application can be found, or none can be reached, with another way to try.

use std::time::Instant;

use anyhow::{Result, bail};
use http::Request;
use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::AttachParams;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use crate::checks::snapshot::Proxy;
use crate::checks::snapshot::proxies::Runs;
use crate::cluster::{Cluster, causes};

/// Where a request goes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Way {
    /// To a pod's application, through the API server, which is a client without a certificate of the mesh.
    ApiServer { namespace: String, pod: String, port: u16, path: String },
    /// From a container beside a proxy, by the client that is in it.
    Container { namespace: String, pod: String, container: Option<String>, url: String },
    /// From here.
    Here { url: String },
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) millis: u64,
}

// === impl Way ===

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ApiServer { namespace, pod, port, path } => {
                write!(f, "{path} of pod {namespace}/{pod}, port {port}, through the API server")
            }
            Self::Container { namespace, pod, url, .. } => write!(f, "{url} from pod {namespace}/{pod}"),
            Self::Here { url } => write!(f, "{url} from here"),
        }
    }
}

impl Way {
    /// To a pod as NAMESPACE/POD:PORT.
    pub(super) fn to_pod(text: &str, path: &str) -> Result<Self> {
        let parts = || {
            let (namespace, rest) = text.split_once('/')?;
            let (pod, port) = rest.split_once(':')?;
            Some((namespace.to_owned(), pod.to_owned(), port.parse().ok()?))
        };
        let Some((namespace, pod, port)) = parts() else { bail!("--to {text} must be NAMESPACE/POD:PORT") };
        Ok(Self::ApiServer { namespace, pod, port, path: path.to_owned() })
    }

    /// From a pod as NAMESPACE/POD or NAMESPACE/POD/CONTAINER.
    pub(super) fn from_pod(text: &str, url: &str) -> Result<Self> {
        let mut parts = text.split('/').map(str::to_owned);
        let (Some(namespace), Some(pod), container, None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            bail!("--from {text} must be NAMESPACE/POD or NAMESPACE/POD/CONTAINER");
        };
        Ok(Self::Container { namespace, pod, container, url: url.to_owned() })
    }

    /// To an application whose proxy runs the filter, and whose Service says that it speaks HTTP.
    pub(super) async fn find(cluster: &Cluster, proxies: &[Proxy], path: &str) -> Result<Self> {
        let runs = |proxy: &&Proxy| proxy.said.as_ref().is_ok_and(|said| said.0 == Runs::Filter);
        let filtered: Vec<&str> = proxies.iter().filter(runs).map(|proxy| proxy.pod.as_str()).collect();
        if filtered.is_empty() {
            bail!("no proxy runs the filter\n`otelmesh check` says why");
        }
        let kind = |name: &str| json!({"apiVersion": "v1", "kind": name});
        let services = cluster.list(&cluster.kind_of(&kind("Service")).await?, "", "").await?;
        let pods = cluster.kind_of(&kind("Pod")).await?;
        for proxy in &filtered {
            let (namespace, name) = proxy.split_once('/').unwrap_or_default();
            let Some(pod) = cluster.get(&pods, namespace, name).await? else { continue };
            let port = services.iter().filter(|s| s["metadata"]["namespace"] == namespace).find_map(|s| port(s, &pod));
            if let Some(port) = port {
                let (namespace, pod) = (namespace.to_owned(), name.to_owned());
                return Ok(Self::ApiServer { namespace, pod, port, path: path.to_owned() });
            }
        }
        bail!(
            "{} proxies run the filter, and behind none of them is a Service with a port whose name or appProtocol is http\n\
             name an application with --to NAMESPACE/POD:PORT, or a gateway's address with --url",
            filtered.len()
        );
    }

    /// Sends a GET.
    pub(super) async fn send(&self, cluster: &Cluster, headers: &[(String, String)]) -> Result<Answer> {
        let begun = Instant::now();
        let status = match self {
            Self::ApiServer { namespace, pod, port, path } => {
                let uri = format!("/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy{path}");
                through_api_server(cluster, &uri, headers).await?
            }
            Self::Container { namespace, pod, container, url } => {
                from_container(cluster, namespace, pod, container.as_deref(), url, headers).await?
            }
            Self::Here { url } => {
                let mut map = http::HeaderMap::new();
                for (name, value) in headers {
                    map.insert(http::HeaderName::try_from(name)?, value.parse()?);
                }
                crate::client::Client::new().get(url, map).await?.status.as_u16()
            }
        };
        Ok(Answer { status, millis: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX) })
    }
}

async fn through_api_server(cluster: &Cluster, uri: &str, headers: &[(String, String)]) -> Result<u16> {
    let mut request = Request::get(uri);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let response = cluster.client().send(request.body(Body::empty())?).await?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    // Its own errors come as a Status of Kubernetes, or as a line of text.
    let text = String::from_utf8_lossy(&body);
    if matches!(status, 502..=504) && text.contains("error trying to reach service") {
        bail!(
            "the API server does not get through to the application: {}\n\
             a sidecar that takes mTLS only (PeerAuthentication STRICT) refuses it; send from a pod in the mesh with \
             --from NAMESPACE/POD --url URL, or through a gateway with --url",
            text.trim()
        );
    }
    if status == 403 && text.contains("\"kind\":\"Status\"") && text.contains("pods/proxy") {
        bail!(
            "you may not get pods/proxy there; ask for that right, or send from a pod with --from NAMESPACE/POD --url URL"
        );
    }
    Ok(status)
}

/// What a client in the container says: curl prints the status, wget the answer's first line.
async fn from_container(
    cluster: &Cluster,
    namespace: &str,
    pod: &str,
    container: Option<&str>,
    url: &str,
    headers: &[(String, String)],
) -> Result<u16> {
    let pods: Api<Pod> = Api::namespaced(cluster.client().clone(), namespace);
    let headers: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let mut curl: Vec<&str> = vec!["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}"];
    curl.extend(headers.iter().flat_map(|header| ["-H", header]));
    let mut wget: Vec<&str> = vec!["wget", "-S", "-O", "/dev/null"];
    wget.extend(headers.iter().flat_map(|header| ["--header", header]));
    let mut said = String::new();
    for mut command in [curl, wget] {
        command.push(url);
        let params = AttachParams { container: container.map(str::to_owned), ..AttachParams::default().stdin(false) };
        let mut process = match pods.exec(pod, command, &params).await {
            Ok(process) => process,
            Err(error) => bail!("cannot run a command in pod {namespace}/{pod}: {}", causes(&error)),
        };
        let mut output = String::new();
        if let Some(mut stdout) = process.stdout() {
            stdout.read_to_string(&mut output).await?;
        }
        if let Some(mut stderr) = process.stderr() {
            stderr.read_to_string(&mut output).await?;
        }
        if let Some(status) = status_in(&output) {
            return Ok(status);
        }
        said += output.trim();
    }
    bail!("no answer from {url} in pod {namespace}/{pod}, whose container needs curl or wget: {said}");
}

/// The last HTTP status in what a client printed.
fn status_in(output: &str) -> Option<u16> {
    let line = |line: &str| {
        let line = line.trim();
        let code = line.strip_prefix("HTTP/").map_or(Some(line), |rest| rest.split(' ').nth(1))?;
        code.parse().ok().filter(|code| (100..600).contains(code))
    };
    output.lines().rev().find_map(line)
}

/// The port of a pod on which a Service reaches it by HTTP.
fn port(service: &Value, pod: &Value) -> Option<u16> {
    let selector = service["spec"]["selector"].as_object().filter(|selector| !selector.is_empty())?;
    if !selector.iter().all(|(key, value)| pod["metadata"]["labels"][key] == *value) {
        return None;
    }
    let speaks_http = |port: &&Value| {
        let (name, protocol) = (port["name"].as_str().unwrap_or(""), port["appProtocol"].as_str());
        protocol.unwrap_or_else(|| name.split('-').next().unwrap_or("")) == "http"
    };
    let port = service["spec"]["ports"].as_array()?.iter().find(speaks_http)?;
    let target = if port["targetPort"].is_null() { &port["port"] } else { &port["targetPort"] };
    let number = match target.as_str() {
        None => target.as_u64(),
        Some(name) => {
            let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
            let mut ports = containers.flat_map(|container| container["ports"].as_array().into_iter().flatten());
            ports.find(|port| port["name"] == name).and_then(|port| port["containerPort"].as_u64())
        }
    };
    u16::try_from(number?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_found_by_what_its_service_says_of_it() {
        let pod = json!({
            "metadata": {"labels": {"app": "shop", "version": "v1"}},
            "spec": {"containers": [{"ports": [{"name": "web", "containerPort": 8080}]}]},
        });
        let service = |ports: Value, app: &str| json!({"spec": {"selector": {"app": app}, "ports": ports}});
        for (ports, app, found, why) in [
            (json!([{"name": "http", "port": 80, "targetPort": 8081}]), "shop", Some(8081), "by name"),
            (json!([{"name": "http-web", "port": 80}]), "shop", Some(80), "by its prefix"),
            (
                json!([{"name": "x", "appProtocol": "http", "port": 80, "targetPort": "web"}]),
                "shop",
                Some(8080),
                "named",
            ),
            (json!([{"name": "grpc", "port": 80}, {"name": "tcp", "port": 81}]), "shop", None, "other protocols"),
            (json!([{"name": "http", "appProtocol": "grpc", "port": 80}]), "shop", None, "appProtocol wins"),
            (json!([{"name": "http", "port": 80}]), "other", None, "another application's"),
        ] {
            assert_eq!(port(&service(ports, app), &pod), found, "{why}");
        }
        assert_eq!(port(&json!({"spec": {"ports": [{"name": "http", "port": 80}]}}), &pod), None, "selects nothing");
    }

    #[test]
    fn clients_tell_the_status_in_their_own_ways() {
        for (output, status) in [
            ("200", Some(200)),
            ("Connecting to shop (10.0.0.1:80)\n  HTTP/1.1 404 Not Found\n  server: envoy\nwget: error", Some(404)),
            ("curl: (7) Failed to connect\n000", None),
            ("exec: \"curl\": executable file not found in $PATH", None),
        ] {
            assert_eq!(status_in(output), status, "{output}");
        }
    }

    #[test]
    fn ways_are_named_as_kubernetes_names_pods() {
        let way = Way::to_pod("shop/cart-0:8080", "/x").unwrap();
        assert_eq!(way.to_string(), "/x of pod shop/cart-0, port 8080, through the API server");
        for wrong in ["shop", "shop/cart-0", "shop/cart-0:http"] {
            assert!(Way::to_pod(wrong, "/").is_err(), "{wrong}");
        }
        assert!(Way::from_pod("shop", "http://x/").is_err() && Way::from_pod("a/b/c/d", "http://x/").is_err());
        let from = Way::from_pod("shop/cart-0/app", "http://x/").unwrap();
        assert!(matches!(from, Way::Container { container: Some(container), .. } if container == "app"));
    }
}
