//! Who pushes: credentials as `docker login` keeps them.
//!
//! In: a registry's name, and Docker's configuration file with its helpers. Out: [`Credentials`], anonymous ones where
//! nothing is configured. Refuses a configuration that cannot be read and a helper that fails, since an anonymous push
//! would then fail with a less helpful error.

use std::env;
use std::fmt;
use std::fs::File;
use std::io::{BufReader, ErrorKind};
use std::path::{Path, PathBuf};

use docker_credential::{CredentialRetrievalError, DockerCredential};
use oci_client::secrets::RegistryAuth;

/// The name under which Docker keeps the credentials for its own registry.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// Who pushes.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Nobody in particular.
    Anonymous,
    /// A user with a password or token.
    Basic(String, String),
    /// A bearer of an identity token.
    Bearer(String),
}

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot read the credentials for {registry} from {path}: {message}; repair it, or give --username and --password-stdin"
)]
pub struct CredentialsError {
    registry: String,
    path: PathBuf,
    message: String,
}

// === impl Credentials ===

impl Credentials {
    /// What `docker login` knows about a registry.
    ///
    /// # Errors
    /// [`CredentialsError`] where there is a configuration that cannot be used.
    pub fn from_docker(registry: &str) -> Result<Self, CredentialsError> {
        let home = || env::var_os("HOME").map(|home| Path::new(&home).join(".docker"));
        match env::var_os("DOCKER_CONFIG").map(PathBuf::from).or_else(home) {
            Some(dir) => Self::from_file(&dir.join("config.json"), registry),
            None => Ok(Self::Anonymous),
        }
    }

    fn from_file(path: &Path, registry: &str) -> Result<Self, CredentialsError> {
        let failed =
            |message: String| CredentialsError { registry: registry.to_owned(), path: path.to_owned(), message };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Self::Anonymous),
            Err(e) => return Err(failed(e.to_string())),
        };
        let server = if registry == "docker.io" { DOCKER_HUB } else { registry };
        match docker_credential::get_credential_from_reader(BufReader::new(file), server) {
            Ok(DockerCredential::UsernamePassword(username, password)) => Ok(Self::Basic(username, password)),
            Ok(DockerCredential::IdentityToken(token)) => Ok(Self::Bearer(token)),
            Err(CredentialRetrievalError::NoCredentialConfigured) => Ok(Self::Anonymous),
            // Helpers have no word for "none": Docker's own answer failure and this text.
            Err(CredentialRetrievalError::HelperFailure { stdout, .. }) if stdout.contains("not found") => {
                Ok(Self::Anonymous)
            }
            Err(e) => Err(failed(e.to_string())),
        }
    }

    pub(super) fn registry_auth(&self) -> RegistryAuth {
        match self.clone() {
            Self::Anonymous => RegistryAuth::Anonymous,
            Self::Basic(username, password) => RegistryAuth::Basic(username, password),
            Self::Bearer(token) => RegistryAuth::Bearer(token),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("Anonymous"),
            Self::Basic(username, _) => write!(f, "Basic({username:?}, …)"),
            Self::Bearer(_) => f.write_str("Bearer(…)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(config: &str, registry: &str) -> Result<Credentials, CredentialsError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        std::fs::write(&path, config).unwrap();
        Credentials::from_file(&path, registry)
    }

    #[test]
    fn credentials_are_those_of_the_registry() {
        // ZG9jdG9yOmJsdWU6Ym94 is doctor:blue:box.
        let config = r#"{"auths": {
            "localhost:5000": {"auth": "ZG9jdG9yOmJsdWU6Ym94"},
            "https://index.docker.io/v1/": {"auth": "ZG9jdG9yOmJsdWU6Ym94"},
            "t.example": {"identitytoken": "t"}}}"#;
        let doctor = Credentials::Basic("doctor".to_owned(), "blue:box".to_owned());
        let vectors = [
            ("localhost:5000", doctor.clone(), "as docker login writes it"),
            ("docker.io", doctor, "kept under an old name"),
            ("t.example", Credentials::Bearer("t".to_owned()), "a token"),
            ("localhost:5001", Credentials::Anonymous, "another registry"),
        ];
        for (registry, expected, reason) in vectors {
            assert_eq!(from(config, registry).unwrap(), expected, "{registry}: {reason}");
        }
    }

    #[test]
    fn no_configuration_means_anonymous_and_a_broken_one_is_told() {
        let missing = Credentials::from_file(Path::new("/nonexistent/config.json"), "r.example").unwrap();
        assert_eq!(missing, Credentials::Anonymous);
        assert_eq!(from("{}", "r.example").unwrap(), Credentials::Anonymous);
        for config in ["{", r#"{"auths": {"r.example": {"auth": "!"}}}"#, r#"{"credsStore": "no-such-helper"}"#] {
            let error = from(config, "r.example").unwrap_err().to_string();
            assert!(error.contains("cannot read the credentials for r.example"), "{config} gave {error}");
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let shown =
            format!("{:?}{:?}", Credentials::Basic("u".into(), "secret".into()), Credentials::Bearer("secret".into()));
        assert!(!shown.contains("secret"), "{shown}");
    }
}
