//! The names that HTTP attributes had before the conventions became stable (semantic conventions 1.20). In: what the
//! stable attributes are made of. Out: the old ones, for backends and dashboards that know no others.

use super::{Kind, Parts, Writer};

/// Writes the attributes.
pub(super) fn write(attributes: &mut Writer<'_>, kind: Kind, parts: &Parts<'_>) {
    let Parts { request, response, host, port, peer_host, peer_port, url, .. } = parts;
    attributes.text("http.method", request.known_method().unwrap_or("_OTHER"));
    attributes.int("http.status_code", (response.code != 0).then_some(i64::from(response.code)));
    attributes.text("net.protocol.version", response.protocol_version());
    match kind {
        Kind::Server => {
            attributes.text("http.scheme", &request.scheme);
            attributes.text("http.target", &request.path);
            attributes.text("net.host.name", host);
            attributes.int("net.host.port", *port);
            attributes.text("http.client_ip", peer_host);
        }
        Kind::Client => {
            attributes.text("http.url", url);
            attributes.text("net.peer.name", host);
            attributes.int("net.peer.port", *port);
            attributes.text("net.sock.peer.addr", peer_host);
            attributes.int("net.sock.peer.port", *peer_port);
            attributes.int("http.resend_count", response.resends());
        }
    }
    let size = |size: Option<u64>| size.and_then(|size| i64::try_from(size).ok());
    attributes.int("http.request_content_length", size(response.request_size));
    attributes.int("http.response_content_length", size(response.response_size));
}
