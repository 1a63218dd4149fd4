//! Where an image goes: `REGISTRY/REPOSITORY[:TAG]`.
//!
//! In: what the operator typed. Out: a [`Target`] with a tag, this command's version if none was typed. Refuses a name
//! without a registry, a scheme, and a digest, which nobody can choose.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use oci_client::Reference;

/// Istio's agent takes no shorter and no longer repository, though registries do.
pub const REPOSITORY_LENGTH: RangeInclusive<usize> = 2..=255;

/// Where an image goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Registry, with its port if it has one.
    pub registry: String,
    /// Repository in the registry.
    pub repository: String,
    /// Tag.
    pub tag: String,
}

/// Why a reference was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reference:?} {message}; write REGISTRY/REPOSITORY[:TAG], such as registry.example.com/otelmesh/filter:1")]
pub struct ReferenceError {
    reference: String,
    message: String,
}

// === impl Target ===

impl Target {
    /// Reads a reference.
    ///
    /// # Errors
    /// [`ReferenceError`] with what is wrong.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        let refuse = |message: &str| ReferenceError { reference: text.to_owned(), message: message.to_owned() };
        if text.contains("://") {
            return Err(refuse("has a scheme"));
        }
        if text.contains('@') {
            return Err(refuse("has a digest, which the image itself decides"));
        }
        // Docker takes a first part without a dot or a port for a repository of its own registry; here it would be a
        // surprise to push there.
        let registry = text.split_once('/').map(|(first, _)| first);
        if !registry.is_some_and(|first| first.contains(['.', ':']) || first == "localhost") {
            return Err(refuse("names no registry"));
        }
        let reference = Reference::try_from(text).map_err(|e| refuse(&format!("is no image reference ({e})")))?;
        if !REPOSITORY_LENGTH.contains(&reference.repository().len()) {
            return Err(refuse(
                "has a repository of less than 2 or more than 255 characters, which Istio does not pull",
            ));
        }
        let has_tag = text.rsplit('/').next().is_some_and(|last| last.contains(':'));
        let tag = reference.tag().filter(|_| has_tag).unwrap_or(env!("CARGO_PKG_VERSION"));
        Ok(Self {
            registry: reference.registry().to_owned(),
            repository: reference.repository().to_owned(),
            tag: tag.to_owned(),
        })
    }

    /// Whether the registry is on this machine, where nobody has certificates.
    pub fn is_loopback(&self) -> bool {
        let host = match self.registry.rsplit_once(':') {
            Some((host, port)) if port.chars().all(|c| c.is_ascii_digit()) => host,
            _ => &self.registry,
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    pub(super) fn reference(&self) -> Reference {
        Reference::with_tag(self.registry.clone(), self.repository.clone(), self.tag.clone())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}:{}", self.registry, self.repository, self.tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_tag_the_image_gets_the_commands_version() {
        let vectors = [
            ("registry.example.com/otelmesh/filter", env!("CARGO_PKG_VERSION"), "the port is no tag"),
            ("localhost:5000/fi", env!("CARGO_PKG_VERSION"), "the port is no tag"),
            ("localhost:5000/fi:1", "1", "a tag"),
            ("localhost/a/b/c:x-1", "x-1", "a deeper path"),
        ];
        for (text, tag, reason) in vectors {
            assert_eq!(Target::parse(text).unwrap().tag, tag, "{text}: {reason}");
        }
        assert_eq!(Target::parse("localhost:5000/fi:1").unwrap().to_string(), "localhost:5000/fi:1");
    }

    #[test]
    fn references_that_would_surprise_are_refused() {
        let vectors = [
            ("otelmesh/filter:1", "names no registry", "it would go to Docker's registry"),
            ("filter", "names no registry", "the same"),
            ("https://r.example/f", "has a scheme", "a URL"),
            ("r.example/f@sha256:00", "has a digest", "a digest cannot be chosen"),
            ("r.example/f:1", "which Istio does not pull", "its library wants two letters"),
            ("r.example/F:1", "is no image reference", "registries refuse upper case"),
            ("r.example/filter:a b", "is no image reference", "no tag"),
        ];
        for (text, words, reason) in vectors {
            let error = Target::parse(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text} ({reason}) gave {error}");
        }
    }

    #[test]
    fn only_this_machine_is_spoken_to_in_the_clear() {
        for (registry, expected) in [
            ("localhost", true),
            ("localhost:5000", true),
            ("127.0.0.1:5000", true),
            ("127.8.9.1", true),
            ("[::1]:5000", true),
            ("localhost.example.com", false),
            ("10.0.0.1:5000", false),
            ("registry.example.com", false),
        ] {
            let target = Target { registry: registry.to_owned(), repository: "f".to_owned(), tag: "1".to_owned() };
            assert_eq!(target.is_loopback(), expected, "{registry}");
        }
    }
}
