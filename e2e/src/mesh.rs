//! The real mesh that `make kind-up` brings up, and a release of otelmesh in it.
//!
//! In: values. Out: a [`Mesh`] with the applications of the tests behind sidecars, an OTLP receiver that the cluster's
//! collectors send to, and commands on both. There is one mesh, so one test at a time has it, and begins without a
//! release. What a test waits for and does not get is told with the pods, the proxies and the collectors as they are.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use otelmesh::receiver::Receiver;
use tokio::runtime::Runtime;

pub use books::{Accounts, Books};
pub use client::{Answers, Load};
pub use receiver::trace_id;
pub use release::merge;

mod books;
mod client;
mod diagnosis;
mod objects;
mod receiver;
mod release;

/// Where the cluster's pods reach this machine.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 1);
/// The registry that `make kind-up` starts there.
pub const REGISTRY: &str = "172.31.0.1:5000";
/// The namespace of the tests' own applications.
pub const SHOP: &str = "shop";
/// Its workloads with a sidecar.
const APPLICATIONS: [&str; 3] = ["client", "frontend", "backend"];
/// The ingress gateway.
pub const INGRESS: &str = "istio-system/istio-ingressgateway";
/// What clients ask, by way of four hops: out of the client, into and out of the frontend, into the backend.
pub const FRONTEND: &str = "http://frontend.shop:8080/orders/7";
/// Spans of such a request.
pub const HOPS: usize = 4;
/// On a machine whose two cores run a whole cluster.
pub const PATIENCE: Duration = Duration::from_secs(120);

static TURN: Mutex<()> = Mutex::new(());

/// A test's turn with the mesh.
pub struct Mesh {
    /// What the collectors send on.
    pub receiver: Receiver,
    digest: String,
    subject: &'static str,
    begun: Instant,
    lent: Mutex<Vec<PathBuf>>,
    runtime: Runtime,
    _turn: MutexGuard<'static, ()>,
}

// === impl Mesh ===

impl Mesh {
    /// Waits for its turn, and sees to it that the applications run and that no release is installed.
    ///
    /// # Panics
    /// There is no cluster; `make kind-up` starts one.
    pub fn enter(subject: &'static str) -> Self {
        // A test that failed leaves nothing that the next would not clear away.
        let turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        assert!(
            std::env::var_os("KUBECONFIG").is_some(),
            "there is no cluster: run `make e2e`, or `make kind-up` and `e2e/kind/cluster.sh run cargo test -p \
             otelmesh-e2e --test cluster`"
        );
        let runtime = Runtime::new().expect("a runtime");
        let receiver = runtime.block_on(Receiver::start_on(GATEWAY, None)).expect("a receiver where pods reach it");
        let (begun, lent) = (Instant::now(), Mutex::default());
        let mut mesh = Self { receiver, digest: String::new(), subject, begun, lent, runtime, _turn: turn };
        mesh.digest = mesh.push();
        mesh.clear();
        mesh.apply_file("shop.yaml");
        mesh.wait_for_proxies();
        // A test that failed may have left books that do not add up, or a panic; a proxy keeps them for as long as it lives.
        if !mesh.books().are_settled() || mesh.panicked() {
            mesh.renew_proxies();
        }
        mesh
    }

    /// Gives the applications and the gateway new pods, whose proxies have counted nothing yet.
    pub fn renew_proxies(&self) {
        self.kubectl(&["-n", SHOP, "delete", "pods", "--all"]);
        self.kubectl(&["-n", "istio-system", "delete", "pods", "-l", "istio=ingressgateway", "--grace-period=1"]);
        self.wait_for_proxies();
    }

    fn wait_for_proxies(&self) {
        for deployment in APPLICATIONS {
            self.kubectl(&["-n", SHOP, "rollout", "status", &format!("deployment/{deployment}"), "--timeout=120s"]);
        }
        self.kubectl(&["-n", "istio-system", "rollout", "status", "deployment/istio-ingressgateway", "--timeout=120s"]);
    }

    /// Waits for something to become so.
    ///
    /// # Panics
    /// It does not within [`PATIENCE`].
    pub fn wait_until(&self, what: &str, holds: impl Fn() -> bool) {
        let begun = Instant::now();
        while !holds() {
            assert!(
                begun.elapsed() < PATIENCE,
                "{}: not within {PATIENCE:?}: {what}\n{}",
                self.subject,
                self.diagnosis()
            );
            thread::sleep(Duration::from_secs(1));
        }
    }

    /// Prints the subject's line: what was sent, received and lost.
    pub fn done(&self, line: &str) {
        println!("{:<12} {:>4} s  {line}", self.subject, self.begun.elapsed().as_secs());
    }
}
