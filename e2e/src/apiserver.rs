//! A real Kubernetes API server with its etcd, on loopback, gone with the value that stands for it.
//!
//! In: nothing. Out: an [`ApiServer`] with the CRDs of Istio and the Prometheus operator, RBAC and an audit log. There are
//! no nodes and no controllers: what is applied stays as it is until a test changes it. Tests that run at the same time
//! share one server, each with namespaces and a user of its own.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::registry::free_address;
use crate::tools::{go_tool, run};

/// The token of the one user who logs in; everybody else is impersonated.
const TOKEN: &str = "otelmesh-test";
const AUDIT_POLICY: &str =
    "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules: [{level: Metadata}]\n";
/// On a machine whose cores are shared with builds; alone it takes 4 s.
const PATIENCE: Duration = Duration::from_secs(120);

/// An API server that runs.
pub struct ApiServer {
    /// Where it listens, `https://127.0.0.1:…`.
    pub url: String,
    dir: TempDir,
    children: Vec<Child>,
}

static SHARED: Mutex<Weak<ApiServer>> = Mutex::new(Weak::new());

// === impl ApiServer ===

impl ApiServer {
    /// The server that tests share, started by the first and stopped by the last of those that run.
    ///
    /// # Panics
    /// It does not start.
    pub fn shared() -> Arc<Self> {
        // A test that failed holds nothing that another could find broken.
        let mut shared = SHARED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Self::start());
            *shared = Arc::downgrade(&server);
            server
        })
    }

    /// Starts one.
    ///
    /// # Panics
    /// It does not start.
    pub fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut server = Self { url: String::new(), dir, children: Vec::new() };
        let etcd = server.start_etcd();
        server.start_apiserver(&etcd);
        let started = Instant::now();
        let kubeconfig = server.kubeconfig(None);
        while !kubectl(&kubeconfig).args(["get", "--raw", "/readyz"]).output().is_ok_and(|o| o.status.success()) {
            assert!(server.children.iter_mut().all(|c| c.try_wait().is_ok_and(|e| e.is_none())), "{}", server.log());
            assert!(started.elapsed() < PATIENCE, "the API server does not become ready: {}", server.log());
            thread::sleep(Duration::from_millis(100));
        }
        for crds in ["istio-crds.yaml", "operator-crds.yaml"] {
            run(kubectl(&kubeconfig).args(["apply", "--server-side", "-f"]).arg(go_tool(crds)));
        }
        run(kubectl(&kubeconfig).args(["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]));
        server
    }

    /// A kubeconfig for an administrator by this name, or for the one who logged in.
    pub fn kubeconfig(&self, user: Option<&str>) -> PathBuf {
        let groups: &[&str] = &["system:masters"];
        self.kubeconfig_for(&self.url, user, groups)
    }

    /// A kubeconfig for a user who may only do what roles allow.
    pub fn kubeconfig_without_rights(&self, user: &str) -> PathBuf {
        self.kubeconfig_for(&self.url, Some(user), &[])
    }

    /// A kubeconfig for another address of this server.
    pub fn kubeconfig_for(&self, url: &str, user: Option<&str>, groups: &[&str]) -> PathBuf {
        let mut identity = json!({"token": TOKEN});
        if let Some(user) = user {
            identity["as"] = user.into();
            identity["as-groups"] = json!([groups, &["system:authenticated"]].concat());
        }
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": url, "certificate-authority": self.path("server.pem")}}],
            "users": [{"name": "test", "user": identity}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        });
        let via = url.rsplit(':').next().unwrap_or_default();
        let path = self.path(&format!("kubeconfig-{via}-{}-{}", user.unwrap_or("admin"), groups.len()));
        // Put in place whole: another test may be reading the one that is there.
        let whole = tempfile::NamedTempFile::new_in(self.dir.path()).expect("a writable directory");
        fs::write(whole.path(), kubeconfig.to_string()).expect("a writable directory");
        whole.persist(&path).expect("a writable directory");
        path
    }

    /// What a user asked for, as the audit log has it.
    ///
    /// # Panics
    /// The log cannot be read.
    pub fn audit(&self, user: &str) -> Vec<Value> {
        let log = fs::read_to_string(self.path("audit.log")).expect("an audit log");
        let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.filter(|event| event["impersonatedUser"]["username"] == user).collect()
    }

    /// What a user changed: requests that are stored.
    pub fn writes(&self, user: &str) -> Vec<String> {
        let is_write = |event: &&Value| {
            let verb = event["verb"].as_str().unwrap_or_default();
            let uri = event["requestURI"].as_str().unwrap_or_default();
            let resource = event["objectRef"]["resource"].as_str().unwrap_or_default();
            !matches!(verb, "get" | "list" | "watch") && !uri.contains("dryRun=All") && !resource.ends_with("reviews")
        };
        let line = |event: &Value| format!("{} {}", event["verb"], event["requestURI"]);
        self.audit(user).iter().filter(is_write).map(line).collect()
    }

    /// What the server and its etcd said.
    pub fn log(&self) -> String {
        ["etcd.log", "apiserver.log"].map(|name| fs::read_to_string(self.path(name)).unwrap_or_default()).concat()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn start_etcd(&mut self) -> String {
        let (client, peer) = (format!("http://{}", free_address()), format!("http://{}", free_address()));
        let mut command = Command::new(go_tool("etcd"));
        command.arg("--data-dir").arg(self.path("etcd"));
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &format!("default={peer}"), "--unsafe-no-fsync", "--log-level", "error"]);
        self.spawn(command, "etcd.log");
        client
    }

    fn start_apiserver(&mut self, etcd: &str) {
        let address = free_address();
        let port = address.rsplit(':').next().unwrap_or_default();
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("a name");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.self_signed(&key).expect("a certificate");
        for (name, text) in [
            ("server.pem", certificate.pem()),
            ("key.pem", key.serialize_pem()),
            ("tokens.csv", format!("{TOKEN},admin,1,system:masters\n")),
            ("audit.yaml", AUDIT_POLICY.to_owned()),
        ] {
            fs::write(self.path(name), text).expect("a writable directory");
        }
        let mut command = Command::new(go_tool("kube-apiserver"));
        command.args(["--etcd-servers", etcd, "--bind-address", "127.0.0.1", "--secure-port", port]);
        // Nobody comes by service address, and without controllers no pod gets a service account.
        command.args(["--endpoint-reconciler-type", "none", "--advertise-address", "10.0.0.1"]);
        command.args(["--disable-admission-plugins", "ServiceAccount", "--service-cluster-ip-range", "10.0.0.0/24"]);
        command.args(["--authorization-mode", "RBAC", "--allow-privileged", "--profiling=false"]);
        command.args(["--service-account-issuer", "https://kubernetes.default.svc"]);
        for (flag, file) in [
            ("--tls-cert-file", "server.pem"),
            ("--tls-private-key-file", "key.pem"),
            ("--service-account-key-file", "server.pem"),
            ("--service-account-signing-key-file", "key.pem"),
            ("--token-auth-file", "tokens.csv"),
            ("--audit-policy-file", "audit.yaml"),
            ("--audit-log-path", "audit.log"),
            ("--cert-dir", "."),
        ] {
            command.arg(flag).arg(self.path(file));
        }
        self.spawn(command, "apiserver.log");
        self.url = format!("https://{address}");
    }

    fn spawn(&mut self, mut command: Command, log: &str) {
        let file = fs::File::create(self.path(log)).expect("a writable directory");
        let child = command.stdout(Stdio::null()).stderr(file).spawn();
        self.children.push(child.unwrap_or_else(|e| panic!("{command:?}: {e}")));
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        // The API server before its etcd, so that it has no time to complain.
        for child in self.children.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The real kubectl.
pub fn kubectl(kubeconfig: &PathBuf) -> Command {
    let mut command = Command::new(go_tool("kubectl"));
    command.arg("--kubeconfig").arg(kubeconfig).env("HOME", "/nonexistent");
    command
}
