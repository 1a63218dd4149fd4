//! An issuer of tokens: a key, where it is published, and what it signs (JWT, ES256).

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::{Router, routing};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use otelmesh::server::Server;
use otelmesh_e2e::mesh::GATEWAY;
use rcgen::{KeyPair, PublicKeyData, SigningKey};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

pub(super) const ISSUER: &str = "https://issuer.test";
pub(super) const AUDIENCE: &str = "otelmesh";
const NAME: &str = "key-1";

/// One that runs as long as it is there.
pub(super) struct Issuer {
    key: KeyPair,
    server: Server,
    _runtime: Runtime,
}

// === impl Issuer ===

impl Issuer {
    /// Publishes a new key where the cluster's pods reach this machine.
    pub(super) fn start() -> Self {
        let key = KeyPair::generate().expect("a key");
        let point = key.der_bytes();
        let (x, y) = (encode(&point[1..33]), encode(&point[33..65]));
        let keys = json!({"keys": [{
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": NAME, "x": x, "y": y,
        }]});
        let router = Router::new().route("/keys", routing::get(move || async move { keys.to_string() }));
        let runtime = Runtime::new().expect("a runtime");
        let server = runtime.block_on(Server::start(SocketAddr::from((GATEWAY, 0)), router)).expect("a server");
        Self { key, server, _runtime: runtime }
    }

    /// Where its keys are.
    pub(super) fn keys(&self) -> String {
        format!("http://{}/keys", self.server.address())
    }

    /// A token that ends in so many seconds, or did.
    pub(super) fn token(&self, seconds: i64) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
        let end = i64::try_from(now).expect("this millennium") + seconds;
        let part = |document: Value| encode(document.to_string().as_bytes());
        let header = part(json!({"alg": "ES256", "typ": "JWT", "kid": NAME}));
        let claims = part(json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "shop", "iat": end - 3600, "exp": end}));
        let signed = format!("{header}.{claims}");
        let signature = self.key.sign(signed.as_bytes()).expect("a signature");
        format!("{signed}.{}", encode(&plain(&signature)))
    }
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// An ECDSA signature as JWTs have it: both numbers in 32 bytes each, out of DER, where they are signed and as short as
/// they can be.
fn plain(der: &[u8]) -> [u8; 64] {
    let mut out = [0; 64];
    // SEQUENCE, its length, and twice INTEGER, its length, the number.
    let mut rest = &der[2..];
    for half in out.chunks_exact_mut(32) {
        let (number, after) = rest[2..].split_at(usize::from(rest[1]));
        let number = &number[number.len().saturating_sub(32)..];
        half[32 - number.len()..].copy_from_slice(number);
        rest = after;
    }
    out
}
