//! Why a push failed, in the operator's words.
//!
//! In: what the registry's client met. Out: a sentence with the cause and the next command, and whether the fault may pass
//! by itself.

use std::error::Error;

use oci_client::errors::{OciDistributionError, OciEnvelope, OciErrorCode};

use crate::image::{Credentials, Target};

/// Why a push failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot push {target}: {reason}; {advice}")]
pub struct PushError {
    target: Target,
    reason: String,
    advice: String,
}

// === impl PushError ===

impl PushError {
    pub(super) fn new(
        target: &Target,
        credentials: &Credentials,
        plain_http: bool,
        error: OciDistributionError,
    ) -> Self {
        let registry = &target.registry;
        let reason = reason(&error);
        let advice = match (Cause::of(&error), credentials) {
            (Cause::Refused, Credentials::Anonymous) => format!(
                "it wants to know who you are: run `docker login {registry}`, or give --username and --password-stdin"
            ),
            (Cause::Refused, _) => format!(
                "the credentials for {registry} are wrong or may not push to {}: log in anew, or ask who owns it",
                target.repository
            ),
            (Cause::Unknown, _) => {
                format!("the registry knows no repository {}: create it there, or correct the name", target.repository)
            }
            (Cause::Unreachable, _) => {
                format!(
                    "is {registry} the right host and port, and is the registry running? try `curl -v {}`",
                    url(registry, plain_http)
                )
            }
            (Cause::NoTls, _) => {
                "the registry speaks plain HTTP there: add --plain-http, or name its TLS port".to_owned()
            }
            (Cause::OnlyTls, _) => "add --plain-http=false".to_owned(),
            (Cause::Certificate, _) => format!(
                "this machine does not trust the certificate of {registry}: add its authority to the system's, or name a \
                 file with it in SSL_CERT_FILE"
            ),
            (Cause::NoAuthorities, _) => "this machine trusts no certificate authority at all: install its package \
                ca-certificates, or name a file with one in SSL_CERT_FILE"
                .to_owned(),
            (Cause::Passing, _) => "the registry is in trouble: try again later, and look at its log".to_owned(),
            (Cause::Other, _) => format!("is {} a registry? try `curl -v {}`", registry, url(registry, plain_http)),
        };
        Self { target: target.clone(), reason, advice }
    }

    /// A registry that keeps something else than what was sent.
    pub(super) fn converted(target: &Target, sent: &str, kept: String) -> Self {
        Self {
            target: target.clone(),
            reason: format!("it was sent as {sent}, and the registry gives {kept}"),
            advice:
                "someone pushed the tag at the same time, or the registry converts images: push again, and turn the \
                     conversion off"
                    .to_owned(),
        }
    }
}

fn url(registry: &str, plain_http: bool) -> String {
    format!("{}://{registry}/v2/", if plain_http { "http" } else { "https" })
}

/// What kind of fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Refused,
    Unknown,
    Unreachable,
    NoTls,
    OnlyTls,
    Certificate,
    NoAuthorities,
    Passing,
    Other,
}

// === impl Cause ===

impl Cause {
    fn of(error: &OciDistributionError) -> Self {
        match error {
            OciDistributionError::UnauthorizedError { .. } | OciDistributionError::AuthenticationFailure(_) => {
                Self::Refused
            }
            OciDistributionError::RegistryError { envelope, .. } => Self::of_envelope(envelope).unwrap_or(Self::Other),
            OciDistributionError::ServerError { code, message, .. } => match code {
                401 | 403 => Self::Refused,
                429 | 500..=599 => Self::Passing,
                // Go's servers, and so most registries, say it in these words.
                400 if message.contains("HTTP request to an HTTPS server") => Self::OnlyTls,
                _ => serde_json::from_str(message).ok().and_then(|e| Self::of_envelope(&e)).unwrap_or(match code {
                    404 => Self::Unknown,
                    _ => Self::Other,
                }),
            },
            OciDistributionError::RequestError(error) => {
                let words = chain(error);
                if words.contains("InvalidContentType") || words.contains("corrupt message") {
                    Self::NoTls
                } else if words.contains("No CA certificates") {
                    Self::NoAuthorities
                } else if words.contains("certificate") {
                    Self::Certificate
                } else if error.is_connect() {
                    Self::Unreachable
                } else if error.is_timeout() || error.is_request() || error.is_body() {
                    Self::Passing
                } else {
                    Self::Other
                }
            }
            _ => Self::Other,
        }
    }

    fn of_envelope(envelope: &OciEnvelope) -> Option<Self> {
        envelope.errors.iter().find_map(|error| match error.code {
            OciErrorCode::Unauthorized | OciErrorCode::Denied => Some(Self::Refused),
            OciErrorCode::NameUnknown | OciErrorCode::NameInvalid => Some(Self::Unknown),
            OciErrorCode::Toomanyrequests => Some(Self::Passing),
            _ => None,
        })
    }
}

/// Whether the same call may work in a moment.
pub(super) fn may_pass(error: &OciDistributionError) -> bool {
    Cause::of(error) == Cause::Passing
}

/// The registry's own words, or the network's, in one line.
pub(super) fn reason(error: &OciDistributionError) -> String {
    let envelope = |e: &OciEnvelope| e.errors.iter().map(|e| e.message.clone()).collect::<Vec<_>>().join(", ");
    match error {
        OciDistributionError::RegistryError { envelope: e, .. } => format!("the registry says {:?}", envelope(e)),
        OciDistributionError::ServerError { code, message, .. } => {
            let said = serde_json::from_str(message).map_or_else(|_| first_line(message), |e| envelope(&e));
            if said.is_empty() {
                format!("the registry answers {code}")
            } else {
                format!("the registry answers {code}, {said:?}")
            }
        }
        OciDistributionError::UnauthorizedError { .. } => "the registry answers 401".to_owned(),
        OciDistributionError::AuthenticationFailure(message) => {
            format!("the registry's token service refuses, {:?}", first_line(message))
        }
        OciDistributionError::RequestError(error) => chain(error),
        other => chain(other),
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(200).collect()
}

/// The innermost cause: the outer ones repeat the address.
fn chain(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explain(error: OciDistributionError, credentials: Credentials) -> String {
        let target = Target::parse("r.example/team/filter:1").unwrap();
        PushError::new(&target, &credentials, false, error).to_string()
    }

    fn server(code: u16, message: &str) -> OciDistributionError {
        OciDistributionError::ServerError { code, url: String::new(), message: message.to_owned() }
    }

    #[test]
    fn each_answer_of_a_registry_leads_to_a_next_step() {
        let anonymous = || Credentials::Anonymous;
        let ci = || Credentials::Basic("ci".to_owned(), "x".to_owned());
        let unknown = r#"{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known to registry"}]}"#;
        let denied = r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#;
        let vectors = [
            (server(401, ""), anonymous(), "run `docker login r.example`"),
            (server(403, denied), ci(), "may not push to team/filter"),
            (server(404, unknown), ci(), "knows no repository team/filter"),
            (server(404, "not found"), ci(), "knows no repository team/filter"),
            (server(400, denied), anonymous(), "docker login"),
            (server(503, ""), ci(), "try again later"),
            (server(405, "<html>"), ci(), "is r.example a registry? try `curl -v https://r.example/v2/`"),
            (OciDistributionError::AuthenticationFailure("no\nmore".to_owned()), ci(), "log in anew"),
        ];
        for (error, credentials, words) in vectors {
            let shown = format!("{error:?}");
            let text = explain(error, credentials);
            assert!(
                text.starts_with("cannot push r.example/team/filter:1: ") && text.contains(words),
                "{shown} gave {text}"
            );
            assert!(!text.contains('\n'), "{text}");
        }
    }

    #[test]
    fn the_registrys_own_words_are_kept() {
        let text =
            explain(server(400, r#"{"errors":[{"code":"QUOTA","message":"no space left"}]}"#), Credentials::Anonymous);
        assert!(text.contains("400, \"no space left\""), "{text}");
    }
}
