//! An image into a registry.
//!
//! In: an [`Image`], where to, and who pushes. Out: the image under its tag, and proof that the registry has it by the
//! very digest that was packed. What the registry has already is not sent again. Tries again where the fault may pass;
//! refuses with the likely cause and the next command where it will not ([`PushError`]).

use std::time::Duration;

use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::{Client, RegistryOperation};

use super::pack::{self, Image, MANIFEST_TYPE};
use super::{Credentials, Target};

mod failure;

pub use failure::PushError;

/// How long to wait before each further try: a registry that restarts is back within seconds.
const DELAYS: [Duration; 3] = [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two reads of an answer, not for the whole upload.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Pushes an image, telling each step.
///
/// # Errors
/// [`PushError`].
pub async fn push(
    image: &Image,
    target: &Target,
    credentials: &Credentials,
    plain_http: bool,
    tell: &mut dyn FnMut(String),
) -> Result<(), PushError> {
    // The libraries leave the choice of cryptography to the program; whoever chose first keeps it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let reference = target.reference();
    let auth = credentials.registry_auth();
    let explain = |error| PushError::new(target, credentials, plain_http, error);
    let client = Client::try_from(ClientConfig {
        protocol: if plain_http { ClientProtocol::Http } else { ClientProtocol::Https },
        // One request and one answer for a blob: every registry can do that.
        use_monolithic_push: true,
        connect_timeout: Some(CONNECT_TIMEOUT),
        read_timeout: Some(READ_TIMEOUT),
        user_agent: concat!("otelmesh/", env!("CARGO_PKG_VERSION")),
        ..ClientConfig::default()
    })
    .map_err(explain)?;

    // Asked for by itself, since the client would swallow a refusal here and go on as anonymous.
    retry(&DELAYS, tell, || client.auth(&reference, &auth, RegistryOperation::Push)).await.map_err(explain)?;
    for (what, bytes) in [("layer", &image.layer), ("configuration", &image.config)] {
        let digest = pack::digest(bytes);
        // A registry may refuse the question and still take the blob, which then says what is really wrong.
        if client.blob_exists(&reference, &digest).await.unwrap_or(false) {
            tell(format!("{what} {digest} is there already"));
            continue;
        }
        tell(format!("pushing {what} {digest}, {} bytes", bytes.len()));
        retry(&DELAYS, tell, || client.push_blob(&reference, bytes.clone(), &digest)).await.map_err(explain)?;
    }
    tell(format!("pushing manifest {}", image.digest));
    let media_type = http::HeaderValue::from_static(MANIFEST_TYPE);
    retry(&DELAYS, tell, || client.push_manifest_raw(&reference, image.manifest.clone(), media_type.clone()))
        .await
        .map_err(explain)?;
    let digest = retry(&DELAYS, tell, || client.fetch_manifest_digest(&reference, &auth)).await.map_err(explain)?;
    if digest == image.digest { Ok(()) } else { Err(PushError::converted(target, &image.digest, digest)) }
}

/// Tries until it works, the fault is one that stays, or the delays are used up.
async fn retry<T, F: Future<Output = Result<T, OciDistributionError>>>(
    delays: &[Duration],
    tell: &mut dyn FnMut(String),
    mut attempt: impl FnMut() -> F,
) -> Result<T, OciDistributionError> {
    for delay in delays {
        match attempt().await {
            Err(error) if failure::may_pass(&error) => {
                tell(format!("{}; trying again in {delay:?}", failure::reason(&error)));
                tokio::time::sleep(*delay).await;
            }
            done => return done,
        }
    }
    attempt().await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: u16) -> OciDistributionError {
        OciDistributionError::ServerError { code, url: String::new(), message: String::new() }
    }

    /// How often a call that answers so is tried, and how it ends.
    fn tries(codes: &[u16]) -> (usize, bool) {
        let mut tried = 0;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let done = runtime.block_on(retry(&[Duration::ZERO; 3], &mut |_| {}, || {
            let code = codes.get(tried).copied();
            tried += 1;
            async move { code.map_or(Ok(()), |code| Err(answer(code))) }
        }));
        (tried, done.is_ok())
    }

    #[test]
    fn a_fault_that_may_pass_is_tried_again_and_one_that_stays_is_not() {
        let vectors: &[(&[u16], (usize, bool), &str)] = &[
            (&[], (1, true), "no fault"),
            (&[503, 502], (3, true), "a registry that restarts"),
            (&[429], (2, true), "one that is busy"),
            (&[503, 503, 503, 503], (4, false), "one that stays away"),
            (&[401], (1, false), "a password does not get better"),
            (&[404], (1, false), "nor does a name"),
            (&[503, 401], (2, false), "it came back and refused"),
        ];
        for (codes, expected, reason) in vectors {
            assert_eq!(tries(codes), *expected, "{reason}");
        }
    }
}
