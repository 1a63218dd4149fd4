//! `host:port` as Envoy and HTTP write it. Out: the host without brackets, and the port if there is one. A path of a
//! Unix socket is a host without a port.

/// Splits an address.
pub(crate) fn split(address: &str) -> (&str, Option<i64>) {
    if let Some((host, rest)) = address.strip_prefix('[').and_then(|a| a.split_once(']')) {
        return (host, rest.strip_prefix(':').and_then(port));
    }
    match address.rsplit_once(':') {
        // More than one colon without brackets is a bare IPv6 address.
        Some((host, digits)) if !host.contains(':') && !host.starts_with('/') => match port(digits) {
            Some(port) => (host, Some(port)),
            None => (address, None),
        },
        _ => (address, None),
    }
}

fn port(digits: &str) -> Option<i64> {
    digits.parse::<u16>().ok().map(i64::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn vectors() {
        let rows = [
            ("10.0.0.1:8080", ("10.0.0.1", Some(8080)), "IPv4"),
            ("[2001:db8::1]:443", ("2001:db8::1", Some(443)), "IPv6"),
            ("[::1]", ("::1", None), "IPv6 without a port"),
            ("::1", ("::1", None), "IPv6 without brackets"),
            ("shop.example", ("shop.example", None), "a name"),
            ("shop.example:", ("shop.example:", None), "an empty port is no port"),
            ("shop.example:x", ("shop.example:x", None), "a word is no port"),
            ("shop.example:65536", ("shop.example:65536", None), "too large a number is no port"),
            ("/run/app.sock", ("/run/app.sock", None), "a Unix socket"),
            ("", ("", None), "nothing"),
        ];
        for (address, want, reason) in rows {
            assert_eq!(split(address), want, "{reason}");
        }
    }
}
