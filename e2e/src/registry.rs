//! A real image registry on this machine, gone with the value that stands for it.
//!
//! In: whether it asks for a password, or has a certificate. Out: its address. It listens on loopback only and keeps its data in a directory of
//! its own.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::tools;

/// The user that a registry with a password knows.
pub const USER: &str = "ci";
/// That user's password.
pub const PASSWORD: &str = "blue:box";
/// Both, as htpasswd writes them (bcrypt, the one hash that the registry takes).
const HTPASSWD: &str = "ci:$2y$05$otelmeshotelmeshotelmeBvfJ1UmAPYWXeWAtGU4aLJyYZApOzlC\n";

const CERTIFICATE: &str = "certificate.pem";

/// A registry that runs.
pub struct Registry {
    /// Host and port.
    pub address: String,
    child: Child,
    dir: TempDir,
}

// === impl Registry ===

impl Registry {
    /// Starts one that takes images from anybody.
    pub fn open() -> Self {
        Self::start(tempfile::tempdir().expect("a temporary directory"), "", "")
    }

    /// Starts one that takes images from [`USER`] only.
    pub fn with_password() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("htpasswd");
        fs::write(&path, HTPASSWD).expect("a writable directory");
        Self::start(dir, "", &format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", path.display()))
    }

    /// Starts one that speaks HTTPS with a certificate that nobody trusts yet.
    pub fn with_certificate() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let signed = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
        let (certificate, key) = (dir.path().join(CERTIFICATE), dir.path().join("key.pem"));
        fs::write(&certificate, signed.cert.pem()).expect("a writable directory");
        fs::write(&key, signed.signing_key.serialize_pem()).expect("a writable directory");
        let tls = format!(", tls: {{certificate: {}, key: {}}}", certificate.display(), key.display());
        Self::start(dir, &tls, "")
    }

    /// The certificate of [`Registry::with_certificate`].
    pub fn certificate(&self) -> PathBuf {
        self.dir.path().join(CERTIFICATE)
    }

    fn start(dir: TempDir, tls: &str, auth: &str) -> Self {
        let path = |name: &str| dir.path().join(name).display().to_string();
        let address = free_address();
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: '{address}'{tls}}}\n{auth}",
            path("data")
        );
        fs::write(path("config.yml"), config).expect("a writable directory");
        let child = tools::debian("docker-registry")
            .args(["serve", &path("config.yml")])
            .stdout(Stdio::null())
            .stderr(fs::File::create(path("log")).expect("a writable directory"))
            .spawn()
            .expect("docker-registry starts");
        let mut registry = Self { address, child, dir };
        let started = Instant::now();
        while TcpStream::connect(&registry.address).is_err() {
            let log = || fs::read_to_string(registry.dir.path().join("log")).unwrap_or_default();
            assert!(registry.child.try_wait().is_ok_and(|ended| ended.is_none()), "docker-registry ended: {}", log());
            assert!(started.elapsed() < Duration::from_secs(20), "docker-registry does not listen: {}", log());
            thread::sleep(Duration::from_millis(20));
        }
        registry
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address on loopback that nobody listens on.
pub fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound port").to_string()
}
