//! The seam to proxy-wasm ABI 0.2.1. In: bytes and statuses that Envoy hands over, of which nothing is trusted. Out: the
//! [`Host`] trait, which the rest of the crate is written against, and owned, bounds-checked views of what came in.
//!
//! The filter brings its own imports and exports instead of the proxy-wasm SDK's: the SDK panics on header values that
//! are not UTF-8, on statuses and context ids that it does not expect, and throws away replies to calls that a dying
//! stream made; in a proxy each of these is an outage or a silent loss. Exporting only the callbacks in use also saves
//! a crossing for every body chunk, trailer and connection event.

#[cfg(all(target_arch = "wasm32", target_os = "wasi"))]
#[allow(unsafe_code)]
mod envoy;
#[cfg(any(test, all(target_arch = "wasm32", target_os = "wasi")))]
#[allow(unsafe_code)]
mod heap;
#[cfg(test)]
pub(crate) mod fake;

use crate::otlp;

/// What a hostcall answered, `proxy_status_t`; a number, since hosts may know more of them than this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status(pub u32);

/// Severity of a line in Envoy's log, `proxy_log_level_t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Worth knowing once.
    Info = 2,
    /// Telemetry suffers, traffic does not.
    Warn = 3,
    /// The operator has to act.
    Error = 4,
}

/// A kind of Envoy stat, `proxy_metric_type_t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows.
    Counter = 0,
    /// Goes up and down.
    Gauge = 1,
}

/// A header map, `proxy_map_type_t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapKind {
    /// Headers of the request; writable in `on_request_headers` alone.
    RequestHeaders = 0,
    /// Headers of the response; readable when it has them, up to the log phase.
    ResponseHeaders = 2,
    /// Headers of the reply to our own call; readable in `on_http_call_response` alone.
    CallResponseHeaders = 6,
    /// Trailers of that reply.
    CallResponseTrailers = 7,
}

/// Headers as the ABI serialises them, owned; malformed input ends the iteration early.
#[derive(Debug, Clone, Default)]
pub struct Headers(Vec<u8>);

/// An HTTP request to a cluster of Envoy's.
#[derive(Debug)]
pub struct Call<'a> {
    /// Envoy's cluster name.
    pub cluster: &'a str,
    /// All headers, pseudo-headers first.
    pub headers: &'a [(&'a str, &'a str)],
    /// The request body.
    pub body: &'a [u8],
    /// Milliseconds until Envoy gives up; 0 would mean never.
    pub timeout_ms: u32,
}

/// Everything that the filter asks of Envoy.
///
/// Every method may fail at any time and must not panic; a read that fails answers `None`.
pub trait Host {
    /// Writes a line into Envoy's log.
    fn log(&mut self, level: LogLevel, message: &str);
    /// Unix time in nanoseconds.
    fn now(&self) -> u64;
    /// Fills `seed` with randomness fit for seeding a generator.
    fn random(&mut self, seed: &mut [u8]);
    /// An environment variable that the VM was given.
    fn env(&self, name: &str) -> Option<String>;
    /// The pluginConfig of the root context in whose `on_configure` this is called.
    fn configuration(&self) -> Option<Vec<u8>>;
    /// All headers of a map, in one crossing.
    fn headers(&self, map: MapKind) -> Option<Headers>;
    /// The body of the reply to our own call, at most `limit` bytes of it.
    fn call_response_body(&self, limit: usize) -> Option<Vec<u8>>;
    /// Sets a request header to one value, whatever it held before.
    fn replace_request_header(&mut self, name: &str, value: &[u8]) -> Result<(), Status>;
    /// Removes every value of a request header.
    fn remove_request_header(&mut self, name: &str) -> Result<(), Status>;
    /// An Envoy attribute in its wire form; the parts of its path have a NUL between them.
    fn property(&self, path: &str) -> Option<Vec<u8>>;
    /// An integer, timestamp or duration attribute: eight bytes, little-endian.
    fn integer(&self, path: &str) -> Option<u64> {
        Some(u64::from_le_bytes(self.property(path)?.try_into().ok()?))
    }
    /// A text attribute, bounded and valid; `None` where it is empty.
    fn text(&self, path: &str) -> Option<String> {
        Some(otlp::owned_text(self.property(path)?)).filter(|text| !text.is_empty())
    }
    /// Sets a property of the exchange at hand: `wasm.NAME` in Envoy's filter state.
    fn set_property(&mut self, name: &str, value: &[u8]) -> Result<(), Status>;
    /// The value that this process shares under `key` between its workers.
    fn shared(&self, key: &str) -> Option<Vec<u8>>;
    /// Sets a shared value.
    fn set_shared(&mut self, key: &str, value: &[u8]);
    /// Counts a shared value up, which has to be there, and answers what it was; a different number for each who asks.
    fn next_number(&mut self, key: &str) -> Option<u32>;
    /// Defines an Envoy stat, or finds it if it is there already.
    fn define_metric(&mut self, kind: MetricKind, name: &str) -> Result<u32, Status>;
    /// Adds to a stat; only a gauge may be lowered.
    fn increment_metric(&mut self, id: u32, by: i64) -> Result<(), Status>;
    /// Asks for `on_tick` of the current root context.
    fn set_tick_period(&mut self, ms: u32);
    /// Sends a request on behalf of the current root context; the answer names the token of its reply.
    fn call(&mut self, call: &Call<'_>) -> Result<u32, Status>;
    /// Compresses bytes into zlib's format, where Envoy offers that.
    fn compress(&mut self, bytes: &[u8]) -> Option<Vec<u8>>;
    /// Tells Envoy that the root context `id`, which asked for time in `on_done`, is done.
    fn done(&mut self, id: u32);
}

// === impl Status ===

impl Status {
    /// The call did what it says.
    pub const OK: Self = Self(0);
    /// No such thing.
    pub const NOT_FOUND: Self = Self(1);
    /// Not possible now, or not with these arguments; for a call: Envoy has no such cluster.
    pub const BAD_ARGUMENT: Self = Self(2);
    /// For a call: the cluster has no usable host, or its circuit breaker is open.
    pub const INTERNAL_FAILURE: Self = Self(10);
}

// === impl Headers ===

impl Headers {
    /// Takes a map as the host wrote it: a count, the sizes of each pair, then each name and value with a NUL behind it.
    pub fn from_wire(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Names and values in the order of arrival; repeated headers come once for each value.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let (count, rest) = take_u32(&self.0).unwrap_or((0, &[]));
        let sizes_len = (count as usize).saturating_mul(8);
        let (sizes, mut text) = rest.split_at_checked(sizes_len).unwrap_or((&[], &[]));
        sizes.chunks_exact(8).map_while(move |pair| {
            let (name_len, pair) = take_u32(pair)?;
            let (value_len, _) = take_u32(pair)?;
            let (name, rest) = take_text(text, name_len)?;
            let (value, rest) = take_text(rest, value_len)?;
            text = rest;
            Some((name, value))
        })
    }

    /// The first value of a header.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.iter().find(|(n, _)| *n == name).map(|(_, v)| v)
    }

    /// Serialises pairs as the host reads them.
    pub fn to_wire<'a>(pairs: &[(&'a str, &'a str)]) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        out.extend_from_slice(&(pairs.len() as u32).to_le_bytes());
        for (name, value) in pairs {
            out.extend_from_slice(&(name.len() as u32).to_le_bytes());
            out.extend_from_slice(&(value.len() as u32).to_le_bytes());
        }
        for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
            out.extend_from_slice(text.as_bytes());
            out.push(0);
        }
        out
    }
}

fn take_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_le_bytes(*head), rest))
}

fn take_text(bytes: &[u8], len: u32) -> Option<(&[u8], &[u8])> {
    let (text, rest) = bytes.split_at_checked(len as usize)?;
    Some((text, rest.get(1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn headers_survive_the_wire_in_order_and_repeated() {
        let pairs = [(":path", "/"), ("tracestate", "a=1"), ("tracestate", ""), ("x", "y")];
        let headers = Headers::from_wire(Headers::to_wire(&pairs));
        let back: Vec<_> = headers.iter().collect();
        let want: Vec<_> = pairs.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
        assert_eq!(back, want);
        assert_eq!(headers.get(b"tracestate"), Some(&b"a=1"[..]));
        assert_eq!(headers.get(b"absent"), None);
    }

    #[test]
    fn a_malformed_map_ends_early_and_never_panics() {
        let good = Headers::to_wire(&[("a", "1"), ("bb", "22")]);
        for len in 0..good.len() {
            let cut = Headers::from_wire(good.get(..len).unwrap().to_vec());
            assert!(cut.iter().count() < 2, "a map cut at {len} bytes is not whole");
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] = 0xff;
            assert!(Headers::from_wire(bad).iter().count() <= 2);
        }
        assert_eq!(Headers::from_wire(vec![0xff; 64]).iter().count(), 0);
    }
}
