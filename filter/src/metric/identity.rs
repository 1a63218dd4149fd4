//! Which series a measurement belongs to. In: an exchange. Out: the attributes that the semantic conventions give HTTP
//! metrics, encoded, which are the key of the series at once. Only what has few values gets in: known methods and
//! schemes, routes by template, hosts by the cluster that Envoy chose. Nothing that a caller can make up: of a request
//! that no route took, no host is told.

use crate::attributes::{Kind, Request, Response};
use crate::otlp::{Buffer, Value, key};

/// What decides on the series.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Which side we stand on.
    pub kind: Kind,
    /// The request.
    pub request: &'a Request,
    /// The response.
    pub response: &'a Response,
    /// The cluster that Envoy chose for the request (`xds.cluster_name`).
    pub cluster: Option<&'a str>,
}

/// Writes the attributes of a finished exchange, each as field `field`.
pub(super) fn write(buf: &mut Buffer, field: u32, subject: &Subject<'_>) {
    let Subject { kind, request, response, cluster } = subject;
    of_request(buf, field, request);
    buf.text(field, key!("http.route"), request.route.as_deref().unwrap_or_default());
    buf.text(field, key!("network.protocol.version"), response.protocol_version());
    buf.text(field, key!("error.type"), response.failure(*kind).as_deref().unwrap_or_default());
    buf.int(field, key!("http.response.status_code"), (response.code != 0).then_some(response.code.into()));
    if let (Kind::Client, Some(cluster)) = (kind, cluster) {
        let (host, port) = destination(cluster, request);
        if !host.is_empty() {
            buf.text(field, key!("server.address"), host);
            buf.attribute(field, key!("server.port"), Value::Int(port.into()));
        }
    }
}

/// Writes what is known of a request when it begins.
pub(super) fn of_request(buf: &mut Buffer, field: u32, request: &Request) {
    let method = request.known_method().unwrap_or("_OTHER");
    buf.text(field, key!("http.request.method"), method);
    if let scheme @ ("http" | "https") = request.scheme.as_str() {
        buf.text(field, key!("url.scheme"), scheme);
    }
}

/// Host and port: as Istio names the cluster, `outbound|PORT|SUBSET|HOST`; of any other cluster, as the request does.
fn destination<'a>(cluster: &'a str, request: &'a Request) -> (&'a str, u16) {
    let mut parts = cluster.split('|').skip(1);
    let (port, host) = (parts.next().and_then(|port| port.parse().ok()), parts.nth(1));
    if let (Some(port), Some(host)) = (port, host) {
        return (host, port);
    }
    let (host, port) = request.host_and_port();
    (host, port.unwrap_or(if request.scheme == "https" { 443 } else { 80 }))
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_host_is_the_clusters_before_the_requests() {
        let request = Request { authority: "shop.example:8443".into(), scheme: "https".into(), ..Request::default() };
        let bare = Request { authority: "shop".into(), ..Request::default() };
        let rows = [
            ("outbound|80||cart.shop.svc.cluster.local", &request, ("cart.shop.svc.cluster.local", 80)),
            ("outbound|80|v2|cart.shop.svc.cluster.local", &request, ("cart.shop.svc.cluster.local", 80)),
            ("outbound_.80_._.cart.shop", &request, ("shop.example", 8443)),
            ("PassthroughCluster", &request, ("shop.example", 8443)),
            ("cart", &bare, ("shop", 80)),
            ("a|b|c|d", &bare, ("shop", 80)),
        ];
        for (cluster, request, want) in rows {
            assert_eq!(destination(cluster, request), want, "{cluster}");
        }
    }
}
