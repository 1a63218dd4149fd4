//! The cluster that a command works on: connection, kinds, and single requests.
//!
//! In: the kubeconfig and the context to take ([`ClusterArgs`]). Out: a [`Cluster`] that reads, applies and deletes
//! objects of any kind, found by discovery and kept as JSON. Refuses with the likely cause and the next command
//! ([`ClusterError`]).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use clap::Args;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

mod error;
mod id;
mod kinds;
mod pod;
mod requests;

pub(crate) use error::chain as causes;
pub use error::{ClusterError, Conflict};
pub use id::{Id, namespace_object};
pub use kinds::Kind;
pub use requests::ApplyOptions;

/// The one field manager of everything that this command writes.
pub const FIELD_MANAGER: &str = "otelmesh";

/// Long enough for a cluster at the other end of the world, short enough for a person to wait.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The API server itself gives up after a minute.
const READ_TIMEOUT: Duration = Duration::from_secs(65);

/// Which cluster.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Cluster")]
pub struct ClusterArgs {
    /// Kubeconfig to read [default: $KUBECONFIG, else ~/.kube/config, else the pod's service account]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig to take [default: its current one]
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
}

/// A cluster that answered.
pub struct Cluster {
    client: Client,
    url: String,
    version: String,
    kinds: Mutex<BTreeMap<(String, String), Option<Kind>>>,
}

// === impl ClusterArgs ===

impl ClusterArgs {
    async fn config(&self) -> Result<Config, ClusterError> {
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let broken = |error: &dyn std::error::Error| ClusterError::Kubeconfig(error::chain(error));
        let mut config = match (&self.kubeconfig, &self.context) {
            (Some(path), _) => {
                let kubeconfig = Kubeconfig::read_from(path).map_err(|e| broken(&e))?;
                Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|e| broken(&e))?
            }
            (None, Some(_)) => Config::from_kubeconfig(&options).await.map_err(|e| broken(&e))?,
            (None, None) => Config::infer().await.map_err(|e| broken(&e))?,
        };
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        config.read_timeout = Some(READ_TIMEOUT);
        Ok(config)
    }
}

// === impl Cluster ===

impl Cluster {
    /// Connects, and asks for the version to know that somebody answers.
    ///
    /// # Errors
    /// [`ClusterError`] for a kubeconfig that cannot be used, or an API server that does not answer or refuses.
    pub async fn connect(args: &ClusterArgs) -> Result<Self, ClusterError> {
        // The libraries leave the choice of cryptography to the program; whoever chose first keeps it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = args.config().await?;
        let url = config.cluster_url.to_string();
        let client = Client::try_from(config).map_err(|e| ClusterError::Kubeconfig(error::chain(&e)))?;
        let mut cluster = Self { client, url, version: String::new(), kinds: Mutex::new(BTreeMap::new()) };
        let version = cluster.client.apiserver_version().await;
        cluster.version = version.map_err(|e| cluster.explain("the version of the API server", e))?.git_version;
        Ok(cluster)
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its version, such as v1.34.4.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The client underneath, for what is no object: logs, streams, the proxy.
    pub fn client(&self) -> &Client {
        &self.client
    }

    fn explain(&self, what: &str, error: kube::Error) -> ClusterError {
        ClusterError::new(&self.url, what, error)
    }
}

/// Runs a command's conversation with the cluster to its end.
///
/// # Errors
/// The conversation's own, or the machine has no more threads or files to give.
pub fn block_on<T, E: From<std::io::Error>>(future: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}
