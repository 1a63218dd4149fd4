//! Whether a registry has an image.

use std::time::Duration;

use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::{Client, Reference};

use super::{Credentials, Target};

/// Somebody is waiting for the answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The digest that the registry gives for an image, with the credentials of `docker login`.
///
/// # Errors
/// Why there is none, in the words of the registry or the network.
pub async fn digest(image: &str) -> Result<String, String> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (registry, rest) = image.split_once('/').ok_or("it has no registry")?;
    let (name, digest) = rest.split_once('@').map_or((rest, None), |(name, digest)| (name, Some(digest)));
    let (repository, tag) = name.rsplit_once(':').unwrap_or((name, "latest"));
    let target = Target { registry: registry.to_owned(), repository: repository.to_owned(), tag: tag.to_owned() };
    let reference = match digest {
        Some(digest) => Reference::with_digest(target.registry.clone(), target.repository.clone(), digest.to_owned()),
        None => target.reference(),
    };
    let credentials = Credentials::from_docker(registry).map_err(|e| e.to_string())?;
    let client = Client::try_from(ClientConfig {
        protocol: if target.is_loopback() { ClientProtocol::Http } else { ClientProtocol::Https },
        connect_timeout: Some(TIMEOUT),
        read_timeout: Some(TIMEOUT),
        user_agent: concat!("otelmesh/", env!("CARGO_PKG_VERSION")),
        ..ClientConfig::default()
    })
    .map_err(|e| e.to_string())?;
    let auth = credentials.registry_auth();
    client.fetch_manifest_digest(&reference, &auth).await.map_err(|e| crate::cluster::causes(&e))
}
