//! What must not leave the pod. In: a request, before anything of it is told. Out: the same without secrets: the values of
//! query keys that sign a request are replaced, user names and passwords are cut, and where the operator says so, parts
//! of paths, whole queries and the hosts of client addresses. The key list is the HTTP semantic conventions' own
//! (`url.full`, `url.query`), and cannot be shortened. Costs time linear in the request's text for each pattern, of which
//! there are 64 at most.

use std::borrow::Cow;

use crate::attributes::{Request, split};
use crate::config::pattern::PathTemplate;
use crate::config::{ClientAddress, Redaction};

/// Keys whose values are signatures or credentials; the conventions compare them case-sensitively.
const SECRET_KEYS: [&str; 7] = [
    "AWSAccessKeyId",
    "Signature",
    "X-Amz-Credential",
    "X-Amz-Security-Token",
    "X-Amz-Signature",
    "X-Goog-Signature",
    "sig",
];
/// What the conventions put in a secret's place.
const MASK: &str = "REDACTED";

/// What is redacted, as configured.
#[derive(Debug, Default)]
pub struct Redactor {
    /// Beside [`SECRET_KEYS`].
    query_keys: Vec<String>,
    drops_query: bool,
    paths: Vec<PathTemplate>,
    client: ClientAddress,
    max_len: usize,
}

// === impl Redactor ===

impl Redactor {
    /// Reads the configuration.
    pub fn new(redaction: &Redaction) -> Self {
        Self {
            query_keys: redaction.query_keys.clone(),
            drops_query: redaction.drop_query,
            paths: redaction.paths.iter().filter_map(|template| PathTemplate::parse(template)).collect(),
            client: redaction.client_address,
            max_len: redaction.max_value_bytes as usize,
        }
    }

    /// Redacts a request before anything of it is told; answers how many of its values were changed, and how many cut.
    pub fn request(&self, request: &mut Request) -> (u64, u64) {
        let (mut redacted, mut cut) = (0u64, u64::from(request.cut));
        let mut replace = |value: &mut String, new: Option<String>| {
            if let Some(new) = new {
                *value = new;
                redacted = redacted.saturating_add(1);
            }
        };
        let path = self.path(&request.path);
        replace(&mut request.path, path);
        let host = authority(&request.authority);
        let host = (host.len() < request.authority.len()).then(|| host.to_owned());
        replace(&mut request.authority, host);
        for value in [&mut request.path, &mut request.authority, &mut request.user_agent, &mut request.method] {
            if value.len() > self.max_len {
                let end = (0..=self.max_len).rev().find(|at| value.is_char_boundary(*at)).unwrap_or(0);
                value.truncate(end);
                cut = cut.saturating_add(1);
            }
        }
        (redacted, cut)
    }

    /// A path with its query, if it has to be changed.
    fn path(&self, path: &str) -> Option<String> {
        let (bare, query) = path.split_once('?').map_or((path, None), |(bare, query)| (bare, Some(query)));
        let masked = self
            .paths
            .iter()
            .find(|template| template.matches(bare.as_bytes()))
            .map(|template| template.mask(bare, MASK));
        let query_left = match query {
            Some(_) if self.drops_query => None,
            Some(query) => Some(self.query(query)),
            None => None,
        };
        let is_same = query_left.as_deref() == query;
        if masked.is_none() && is_same {
            return None;
        }
        let mut out = masked.unwrap_or_else(|| bare.to_owned());
        if let Some(query) = query_left {
            out.push('?');
            out.push_str(&query);
        }
        Some(out)
    }

    /// The query with secret values replaced and keys kept.
    fn query<'a>(&self, query: &'a str) -> Cow<'a, str> {
        let is_secret = |key: &str| SECRET_KEYS.contains(&key) || self.query_keys.iter().any(|known| known == key);
        if !query.split('&').any(|pair| pair.split_once('=').is_some_and(|(key, _)| is_secret(key))) {
            return Cow::Borrowed(query);
        }
        let mut out = String::with_capacity(query.len());
        for (n, pair) in query.split('&').enumerate() {
            if n > 0 {
                out.push('&');
            }
            match pair.split_once('=') {
                Some((key, _)) if is_secret(key) => {
                    out.push_str(key);
                    out.push('=');
                    out.push_str(MASK);
                }
                _ => out.push_str(pair),
            }
        }
        Cow::Owned(out)
    }

    /// The address of a client, as far as it may be told: of `host:port`, the network without its hosts and no port.
    pub fn client(&self, address: String) -> Option<String> {
        match self.client {
            ClientAddress::Keep => Some(address),
            ClientAddress::Drop => None,
            ClientAddress::Truncate => Some(network(&address)),
        }
    }
}

/// The /24 of an IPv4 address, the /48 of an IPv6 address; nothing of anything else. Envoy writes addresses in their
/// shortest form, so text is enough.
fn network(address: &str) -> String {
    let host = split(address).0;
    let is_of = |extra: &[u8]| host.bytes().all(|b| b.is_ascii_hexdigit() || extra.contains(&b));
    if host.contains(':') && is_of(b":.") {
        let mut out: String =
            host.split(':').take(3).take_while(|group| !group.is_empty()).collect::<Vec<_>>().join(":");
        out.push_str("::");
        return out;
    }
    match host.rsplit_once('.') {
        Some((network, _)) if is_of(b".") => [network, ".0"].concat(),
        _ => String::new(),
    }
}

/// An authority without `user:password@`.
pub fn authority(authority: &str) -> &str {
    authority.rsplit('@').next().unwrap_or(authority)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn query_vectors() {
        let rows = [
            ("", "", "nothing"),
            ("a=1&b=2", "a=1&b=2", "no secret"),
            ("sig=abc", "sig=REDACTED", "one secret"),
            ("a=1&X-Amz-Signature=abc&b", "a=1&X-Amz-Signature=REDACTED&b", "order and bare keys are kept"),
            ("Signature=a=b", "Signature=REDACTED", "a value with = goes whole"),
            ("sig=1&sig=2", "sig=REDACTED&sig=REDACTED", "each of them"),
            ("SIG=abc&signature=x", "SIG=abc&signature=x", "keys are compared case-sensitively"),
            ("sig", "sig", "a key without a value has no secret"),
            ("xsig=1", "xsig=1", "whole keys only"),
            ("AWSAccessKeyId=A&X-Goog-Signature=B", "AWSAccessKeyId=REDACTED&X-Goog-Signature=REDACTED", "the list"),
        ];
        for (came, want, reason) in rows {
            assert_eq!(Redactor::default().query(came), want, "{reason}");
        }
    }

    #[test]
    fn user_and_password_are_cut() {
        assert_eq!(authority("user:secret@shop.example:8443"), "shop.example:8443");
        assert_eq!(authority("a@b@shop"), "shop");
        assert_eq!(authority("shop"), "shop");
    }

    fn redactor(json: &str) -> Redactor {
        Redactor::new(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn paths_and_queries_are_masked_as_configured() {
        let rows = [
            ("{}", "/a?x=1", "/a?x=1", 0),
            ("{}", "/a?sig=1", "/a?sig=REDACTED", 1),
            (r#"{"queryKeys":["token"]}"#, "/a?token=1&sig=2&b=3", "/a?token=REDACTED&sig=REDACTED&b=3", 1),
            (r#"{"dropQuery":true}"#, "/a?x=1", "/a", 1),
            (r#"{"dropQuery":true}"#, "/a", "/a", 0),
            (r#"{"paths":["/users/{id}/**"]}"#, "/users/7/mail/1?x=1", "/users/REDACTED/REDACTED?x=1", 1),
            (r#"{"paths":["/users/{id}"]}"#, "/users/7/mail", "/users/7/mail", 0),
            (r#"{"paths":["/users/{id}"]}"#, "/users/7", "/users/REDACTED", 1),
        ];
        for (json, came, want, changes) in rows {
            let mut request = Request { path: came.into(), ..Request::default() };
            assert_eq!(redactor(json).request(&mut request), (changes, 0), "{json} {came}");
            assert_eq!(request.path, want, "{json}");
        }
    }

    #[test]
    fn values_are_cut_at_a_character_boundary_and_counted() {
        let mut request =
            Request { path: "/\u{e9}\u{e9}".repeat(100), authority: "a:b@shop".into(), ..Request::default() };
        assert_eq!(redactor(r#"{"maxValueBytes":64}"#).request(&mut request), (1, 1));
        assert!(request.path.len() <= 64 && request.path.len() > 60, "{}", request.path);
        assert_eq!(request.authority, "shop");
    }

    #[test]
    fn a_clients_address_is_told_as_far_as_allowed() {
        let rows = [
            ("{}", "10.1.2.3:4567", Some("10.1.2.3:4567")),
            (r#"{"clientAddress":"drop"}"#, "10.1.2.3:4567", None),
            (r#"{"clientAddress":"truncate"}"#, "10.1.2.3:4567", Some("10.1.2.0")),
            (r#"{"clientAddress":"truncate"}"#, "[2001:db8:7:8::1]:443", Some("2001:db8:7::")),
            (r#"{"clientAddress":"truncate"}"#, "[2001:db8::1]:443", Some("2001:db8::")),
            (r#"{"clientAddress":"truncate"}"#, "[::ffff:10.1.2.3]:443", Some("::")),
            (r#"{"clientAddress":"truncate"}"#, "/run/app.sock", Some("")),
            (r#"{"clientAddress":"truncate"}"#, "an.internal.name", Some("")),
        ];
        for (json, came, want) in rows {
            assert_eq!(redactor(json).client(came.to_owned()).as_deref(), want, "{json} {came}");
        }
    }
}
