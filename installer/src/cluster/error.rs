//! Why the cluster did not do what it was asked, in words for the operator.

use std::error::Error;
use std::fmt;

use kube::core::Status;

/// A field that another manager owns.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Conflict {
    /// The field, such as `.spec.replicas`.
    pub field: String,
    /// Who owns it, such as `"kubectl-edit" using apps/v1`.
    pub owner: String,
}

/// What failed, the likely cause, the next command.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// There is none, or it is broken.
    #[error(
        "cannot use the kubeconfig: {0}\nname one with --kubeconfig or $KUBECONFIG, and a context with --context; \
         `kubectl config get-contexts` lists them"
    )]
    Kubeconfig(String),
    /// Nobody answers.
    #[error(
        "the API server {url} does not answer: {message}\nthe cluster may be down, or the context may be another \
         cluster's; `kubectl config current-context` names it, and --context takes another"
    )]
    Unreachable {
        /// Of the API server.
        url: String,
        /// What the network said.
        message: String,
    },
    /// Not logged in.
    #[error(
        "the API server {url} does not accept these credentials\nthe token or certificate in the kubeconfig may have \
         expired; log in again, then try `kubectl auth whoami`"
    )]
    Unauthorized {
        /// Of the API server.
        url: String,
    },
    /// Logged in, but not allowed.
    #[error("not allowed: {message}\n`otelmesh check --pre` lists every permission that is needed")]
    Forbidden {
        /// The API server's words, which name who, what and where.
        message: String,
    },
    /// The cluster lacks a CustomResourceDefinition, mostly Istio's.
    #[error(
        "the cluster has no kind {kind} in {version}\nits CustomResourceDefinition is missing{}; \
         `kubectl api-resources` lists what is there",
        if version.contains("istio.io") { ": install Istio first" } else { "" }
    )]
    NoKind {
        /// The kind.
        kind: String,
        /// The group and version.
        version: String,
    },
    /// Somebody else owns fields.
    #[error(
        "{what} has fields that others own:\n{}\nlet go of them there, or take them with --force-conflicts",
        lines(conflicts)
    )]
    Conflicts {
        /// The object.
        what: String,
        /// The fields.
        conflicts: Vec<Conflict>,
    },
    /// It changed between reading and writing.
    #[error("{what} changed while it was written\nanother run or a controller was faster; run the command again")]
    Changed {
        /// The object.
        what: String,
    },
    /// It is there already.
    #[error("{what} is there already")]
    Exists {
        /// The object.
        what: String,
    },
    /// It, or its namespace, is not there.
    #[error("{what}: {message}")]
    Missing {
        /// The object.
        what: String,
        /// The API server's words.
        message: String,
    },
    /// Any other refusal: validation, admission, quota.
    #[error("the API server refuses {what}: {message}")]
    Refused {
        /// The object.
        what: String,
        /// The API server's words.
        message: String,
    },
}

// === impl ClusterError ===

impl ClusterError {
    pub(super) fn new(url: &str, what: &str, error: kube::Error) -> Self {
        let url = url.to_owned();
        match error {
            kube::Error::Api(status) => Self::from_status(url, what.to_owned(), *status),
            error => Self::Unreachable { url, message: chain(&error) },
        }
    }

    fn from_status(url: String, what: String, status: Status) -> Self {
        let causes = status.details.as_ref().map(|d| d.causes.as_slice()).unwrap_or_default();
        let conflicts: Vec<Conflict> = causes
            .iter()
            .filter(|cause| cause.reason == "FieldManagerConflict")
            .map(|cause| Conflict {
                field: cause.field.clone(),
                owner: cause.message.trim_start_matches("conflict with ").to_owned(),
            })
            .collect();
        let message = status.message;
        match (status.code, status.reason.as_str()) {
            (401, _) => Self::Unauthorized { url },
            // Admission refuses with 403 as well, but for reasons that no permission heals.
            (403, _) if !message.contains("cannot") => Self::Refused { what, message },
            (403, _) => Self::Forbidden { message },
            (409, _) if !conflicts.is_empty() => Self::Conflicts { what, conflicts },
            (409, "AlreadyExists") => Self::Exists { what },
            (409, "Conflict") => Self::Changed { what },
            (404, _) => Self::Missing { what, message },
            _ => Self::Refused { what, message },
        }
    }
}

/// An error with its causes, since the outermost alone seldom says what happened.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

fn lines(conflicts: &[Conflict]) -> String {
    conflicts.iter().map(|conflict| format!("  {conflict}")).collect::<Vec<_>>().join("\n")
}

// === impl Conflict ===

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is owned by {}", self.field, self.owner)
    }
}
