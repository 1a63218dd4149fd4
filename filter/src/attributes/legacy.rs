//! The names that HTTP attributes had before the conventions became stable (semantic conventions 1.20). In: what the
//! stable attributes are made of. Out: the old ones, for backends and dashboards that know no others.

use super::{Kind, Parts, Writer};
use crate::otlp::key;

/// Writes the attributes.
pub(super) fn write(attributes: &mut Writer<'_>, kind: Kind, parts: &Parts<'_>) {
    let Parts { request, response, host, port, peer_host, peer_port, url, .. } = parts;
    attributes.text(key!("http.method"), request.known_method().unwrap_or("_OTHER"));
    attributes.int(key!("http.status_code"), (response.code != 0).then_some(i64::from(response.code)));
    attributes.text(key!("net.protocol.version"), response.protocol_version());
    match kind {
        Kind::Server => {
            attributes.text(key!("http.scheme"), &request.scheme);
            attributes.text(key!("http.target"), &request.path);
            attributes.text(key!("net.host.name"), host);
            attributes.int(key!("net.host.port"), *port);
            attributes.text(key!("http.client_ip"), peer_host);
        }
        Kind::Client => {
            attributes.text(key!("http.url"), url);
            attributes.text(key!("net.peer.name"), host);
            attributes.int(key!("net.peer.port"), *port);
            attributes.text(key!("net.sock.peer.addr"), peer_host);
            attributes.int(key!("net.sock.peer.port"), *peer_port);
            attributes.int(key!("http.resend_count"), response.resends());
        }
    }
    let size = |size: Option<u64>| size.and_then(|size| i64::try_from(size).ok());
    attributes.int(key!("http.request_content_length"), size(response.request_size));
    attributes.int(key!("http.response_content_length"), size(response.response_size));
}
