//! Envoy's view of an exchange → OpenTelemetry's semantic conventions for HTTP. In: a [`Request`] taken from the header
//! map and a [`Response`] taken from Envoy attributes. Out: typed attributes in the stable conventions, the span's
//! status, and what stands in for `error.type`. Leaves out what Envoy did not say.

pub mod custom;
mod legacy;
mod peer;
mod rpc;

pub(crate) use peer::split;

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::config::{MAX_VALUE_BYTES, Semconv, response_flags};
#[cfg(test)]
use crate::host::Headers;
use crate::otlp::{self, Buffer, Key, key};
use crate::redact;

/// Which side of the call the proxy stands on, as OpenTelemetry's span kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Inbound.
    Server,
    /// Outbound.
    Client,
}

/// The headers that records are made of, where they are.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fields<'a> {
    /// `:method`
    pub method: &'a [u8],
    /// `:path`, with its query.
    pub path: &'a [u8],
    /// `:authority`
    pub authority: &'a [u8],
    /// `:scheme`
    pub scheme: &'a [u8],
    /// `user-agent`
    pub user_agent: &'a [u8],
    /// `content-type`
    pub content_type: &'a [u8],
}

/// What is kept of a request until its exchange ends; every text is valid UTF-8 and bounded.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Request {
    /// `:method`
    pub method: String,
    /// `:path`, with its query.
    pub path: String,
    /// `:authority`
    pub authority: String,
    /// `:scheme`
    pub scheme: String,
    /// `user-agent`
    pub user_agent: String,
    /// Whether the content type is one of gRPC's.
    pub grpc: bool,
    /// `http.route`
    pub route: Option<String>,
    /// How many of these are not whole.
    pub cut: u32,
    /// What the operator adds.
    pub custom: Vec<custom::Filled>,
}

/// What Envoy knows when the exchange has ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Response {
    /// The status code; 0 where none was sent.
    pub code: u16,
    /// Envoy's response flags as a bit set (`response.flags`).
    pub flags: u64,
    /// Envoy's own words for how the response came about (`response.code_details`).
    pub details: Option<String>,
    /// `grpc-status`
    pub grpc_status: Option<u32>,
    /// `HTTP/1.1`, `HTTP/2`, …
    pub protocol: Option<String>,
    /// How often the request was sent upstream, the first time included.
    pub attempts: Option<u64>,
    /// Address and port of the other side.
    pub peer: Option<String>,
    /// Who the other side is, by its certificate: a SPIFFE id in a mesh.
    pub principal: Option<String>,
    /// Nanoseconds from the first byte sent upstream to the first byte received; read where timings are asked for.
    pub backend_latency: Option<u64>,
    /// Nanoseconds until a connection upstream was ready; read where timings are asked for.
    pub pool_ready: Option<u64>,
    /// Bytes of the request's body; read for access logs and metrics only.
    pub request_size: Option<u64>,
    /// Bytes of the response's body; read for access logs and metrics only.
    pub response_size: Option<u64>,
}

/// The methods that the conventions know; any other is `_OTHER`.
const METHODS: [&str; 10] = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE", "QUERY"];

/// gRPC's status codes by number (gRPC, "Status codes and their use").
const GRPC_STATUS: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];
/// The codes that are a server's own fault (semantic conventions for gRPC, "Span status").
const GRPC_SERVER_ERRORS: [u32; 6] = [2, 4, 12, 13, 14, 15];

// === impl Fields ===

impl<'a> Fields<'a> {
    /// Takes note of one header, if it is one of these, and answers whether it is; of a repeated one, the first counts.
    pub fn see(&mut self, name: &[u8], value: &'a [u8]) -> bool {
        if !matches!(name, [b':' | b'u' | b'c', ..]) {
            return false;
        }
        let field = match name {
            b":method" => &mut self.method,
            b":path" => &mut self.path,
            b":authority" => &mut self.authority,
            b":scheme" => &mut self.scheme,
            b"user-agent" => &mut self.user_agent,
            b"content-type" => &mut self.content_type,
            _ => return false,
        };
        if field.is_empty() {
            *field = value;
        }
        true
    }
}

// === impl Request ===

impl Request {
    /// Takes what is needed from the header map.
    #[cfg(test)]
    pub(crate) fn of(headers: &Headers) -> Self {
        let mut fields = Fields::default();
        for (name, value) in headers.iter() {
            fields.see(name, value);
        }
        Self::new(&fields)
    }

    /// Keeps what is needed of a request's headers.
    pub fn new(fields: &Fields<'_>) -> Self {
        let mut request = Self { grpc: is_grpc(fields.content_type), ..Self::default() };
        let of = [
            (&mut request.method, fields.method),
            (&mut request.path, fields.path),
            (&mut request.authority, fields.authority),
            (&mut request.scheme, fields.scheme),
            (&mut request.user_agent, fields.user_agent),
        ];
        for (field, value) in of {
            *field = otlp::text(value).into_owned();
            request.cut = request.cut.saturating_add(u32::from(value.len() > MAX_VALUE_BYTES));
        }
        request
    }

    /// The method, if the conventions know it.
    pub fn known_method(&self) -> Option<&str> {
        METHODS.contains(&self.method.as_str()).then_some(self.method.as_str())
    }

    fn split_path(&self) -> (&str, &str) {
        self.path.split_once('?').unwrap_or((&self.path, ""))
    }

    /// The host without its port, and the port where it is named.
    pub fn host_and_port(&self) -> (&str, Option<u16>) {
        let (host, port) = peer::split(redact::authority(&self.authority));
        (host, port.and_then(|port| u16::try_from(port).ok()))
    }

    /// The host in an authority.
    pub fn host_of(authority: &str) -> &str {
        peer::split(redact::authority(authority)).0
    }

    /// The span's name: the method, and the route where there is one; of a gRPC call, what it calls. Neither path nor host
    /// may name a span otherwise.
    pub fn span_name(&self, response: &Response) -> Cow<'_, str> {
        if let (None, Some(name)) = (&self.route, rpc::name(self, response)) {
            return Cow::Borrowed(name);
        }
        let method = self.known_method().unwrap_or("HTTP");
        self.route.as_ref().map_or(Cow::Borrowed(method), |route| Cow::Owned(format!("{method} {route}")))
    }

    /// The path without its query.
    pub fn url_path(&self) -> &str {
        self.split_path().0
    }
}

fn is_grpc(content_type: &[u8]) -> bool {
    content_type
        .strip_prefix(b"application/grpc")
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
}

// === impl Response ===

impl Response {
    /// Names of the response flags, `UF,URX`; empty where none is set.
    pub fn flag_names(&self) -> String {
        response_flags::names(self.flags)
    }

    /// How often the request was sent again, if it was.
    fn resends(&self) -> Option<i64> {
        let resent = self.attempts?.checked_sub(1).filter(|n| *n > 0);
        resent.and_then(|n| i64::try_from(n).ok())
    }

    /// `1.1`, `2`, …; empty where that is not known.
    pub fn protocol_version(&self) -> &str {
        self.protocol.as_deref().and_then(|protocol| protocol.strip_prefix("HTTP/")).unwrap_or_default()
    }

    /// What `error.type` says of a failed exchange; `None` where it did not fail.
    ///
    /// HTTP: from 500 on for a server, from 400 on for a client. gRPC: as its conventions list the codes. Without any
    /// answer: the response flag that tells why.
    pub fn failure(&self, kind: Kind) -> Option<Cow<'static, str>> {
        if self.code == 0 {
            return Some(Cow::Borrowed(response_flags::first_long_name(self.flags).unwrap_or("_OTHER")));
        }
        let first_error = match kind {
            Kind::Server => 500,
            Kind::Client => 400,
        };
        if self.code >= first_error {
            return Some(Cow::Owned(self.code.to_string()));
        }
        let status = self.grpc_status?;
        let failed = match kind {
            Kind::Client => status != 0,
            Kind::Server => GRPC_SERVER_ERRORS.contains(&status),
        };
        failed.then(|| match GRPC_STATUS.get(status as usize) {
            Some(name) => Cow::Borrowed(*name),
            None => Cow::Owned(status.to_string()),
        })
    }
}

/// What attributes of either convention are made of.
struct Parts<'a> {
    request: &'a Request,
    response: &'a Response,
    path: &'a str,
    query: &'a str,
    host: &'a str,
    port: Option<i64>,
    peer_host: &'a str,
    peer_port: Option<i64>,
    /// A client's `url.full`.
    url: String,
}

/// Writes the attributes that a span and its access log share, by the names of `semconv`, as fields `field`.
pub fn write(buf: &mut Buffer, field: u32, semconv: Semconv, kind: Kind, request: &Request, response: &Response) {
    let authority = redact::authority(&request.authority);
    let (host, port) = peer::split(authority);
    let (path, query) = request.split_path();
    let (peer_host, peer_port) = response.peer.as_deref().map_or(("", None), peer::split);
    let is_url = kind == Kind::Client && !host.is_empty();
    let url = if is_url { full_url(&request.scheme, authority, path, query) } else { String::new() };
    // The conventions require a client's port even where the URL leaves it out.
    let default = is_url.then_some(if request.scheme == "https" { 443 } else { 80 });
    let port = port.or(default);
    let parts = Parts { request, response, path, query, host, port, peer_host, peer_port, url };
    let mut attributes = Writer { buf, field };
    if semconv != Semconv::Legacy {
        stable(&mut attributes, kind, &parts);
    }
    if semconv != Semconv::Stable {
        legacy::write(&mut attributes, kind, &parts);
    }
    attributes.text(key!("http.route"), request.route.as_deref().unwrap_or(""));
    if let Some((service, method)) = rpc::method(request) {
        attributes.text(key!("rpc.system"), "grpc");
        attributes.text(key!("rpc.service"), service);
        attributes.text(key!("rpc.method"), method);
        attributes.int(key!("rpc.grpc.status_code"), response.grpc_status.map(i64::from));
    }
    attributes.text(key!("error.type"), response.failure(kind).as_deref().unwrap_or(""));
    attributes.text(key!("otelmesh.peer.principal"), response.principal.as_deref().unwrap_or(""));
    attributes.text(key!("envoy.response_flags"), &response.flag_names());
    attributes.text(key!("envoy.response_code_details"), response.details.as_deref().unwrap_or(""));
    request.custom.iter().for_each(|custom| custom.write(buf, field));
}

/// The stable conventions' own names.
fn stable(attributes: &mut Writer<'_>, kind: Kind, parts: &Parts<'_>) {
    let Parts { request, response, path, query, host, port, peer_host, peer_port, url } = parts;
    attributes.text(key!("http.request.method"), request.known_method().unwrap_or("_OTHER"));
    if request.known_method().is_none() {
        attributes.text(key!("http.request.method_original"), &request.method);
    }
    match kind {
        Kind::Server => {
            attributes.text(key!("url.scheme"), &request.scheme);
            attributes.text(key!("url.path"), path);
            attributes.text(key!("url.query"), query);
            attributes.text(key!("user_agent.original"), &request.user_agent);
            attributes.text(key!("server.address"), host);
            attributes.int(key!("server.port"), *port);
            // Envoy has taken trusted X-Forwarded-For hops into account, so this is the client, not the last hop.
            attributes.text(key!("client.address"), peer_host);
            attributes.int(key!("client.port"), *peer_port);
        }
        Kind::Client => {
            attributes.text(key!("url.full"), url);
            attributes.text(key!("server.address"), host);
            attributes.int(key!("server.port"), *port);
            attributes.text(key!("network.peer.address"), peer_host);
            attributes.int(key!("network.peer.port"), *peer_port);
            attributes.int(key!("http.request.resend_count"), response.resends());
        }
    }
    attributes.text(key!("network.protocol.version"), response.protocol_version());
    attributes.int(key!("http.response.status_code"), (response.code != 0).then_some(i64::from(response.code)));
}

/// Writes fields of one number.
struct Writer<'a> {
    buf: &'a mut Buffer,
    field: u32,
}

impl Writer<'_> {
    fn text(&mut self, key: Key<'_>, text: &str) {
        self.buf.text(self.field, key, text);
    }

    fn int(&mut self, key: Key<'_>, number: Option<i64>) {
        self.buf.int(self.field, key, number);
    }
}

fn full_url(scheme: &str, authority: &str, path: &str, query: &str) -> String {
    let mut url = String::new();
    let separator = if query.is_empty() { "" } else { "?" };
    let scheme = if scheme.is_empty() { "http" } else { scheme };
    // Writing into a String cannot fail.
    let _ = write!(url, "{scheme}://{authority}{path}{separator}{query}");
    url
}

#[cfg(test)]
mod tests;
