//! What must not leave the pod. In: the query and authority of a request. Out: the same without secrets: the values of
//! query keys that sign a request are replaced, user names and passwords are cut. The key list is the HTTP semantic
//! conventions' own (`url.full`, `url.query`).

use std::borrow::Cow;

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
const REDACTED: &str = "REDACTED";

/// The query with secret values replaced and keys kept.
pub fn query(query: &str) -> Cow<'_, str> {
    let is_secret = |pair: &str| pair.split_once('=').is_some_and(|(key, _)| SECRET_KEYS.contains(&key));
    if !query.split('&').any(is_secret) {
        return Cow::Borrowed(query);
    }
    let mut out = String::with_capacity(query.len());
    for (n, pair) in query.split('&').enumerate() {
        if n > 0 {
            out.push('&');
        }
        match pair.split_once('=') {
            Some((key, _)) if SECRET_KEYS.contains(&key) => {
                out.push_str(key);
                out.push('=');
                out.push_str(REDACTED);
            }
            _ => out.push_str(pair),
        }
    }
    Cow::Owned(out)
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
            assert_eq!(query(came), want, "{reason}");
        }
    }

    #[test]
    fn user_and_password_are_cut() {
        assert_eq!(authority("user:secret@shop.example:8443"), "shop.example:8443");
        assert_eq!(authority("a@b@shop"), "shop");
        assert_eq!(authority("shop"), "shop");
    }
}
