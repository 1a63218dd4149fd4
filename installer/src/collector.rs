//! `otelmesh collector`: restart, upgrade and roll back the collectors alone.
//!
//! In: a release that is installed. Out: its collectors restarted one workload after the other, each ready before the next;
//! or the release with another collector version and everything else as it is; or the revision before. The revision that
//! is left is the backup. Refuses a release without collectors.

use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cluster::{ClusterArgs, Id, block_on};
use crate::health;
use crate::history::RollbackArgs;
use crate::install::UpgradeArgs;
use crate::release::{Installed, ReleaseArgs};
use crate::run::{confirm, duration};

/// Whose change a restart is: of its own, so that an upgrade neither undoes it nor meets it as a conflict.
const MANAGER: &str = "otelmesh-restart";
/// Annotation of the pods, whose change makes a controller replace them.
const RESTARTED: &str = "otelmesh.io/restarted-at";
const COMPONENT: &str = "app.kubernetes.io/component";
/// In this order: gateways drain into backends, agents into gateways, so that what is sent on has somewhere to go.
const COMPONENTS: [&str; 2] = ["collector-gateway", "collector-agent"];
const FAILED: u8 = 1;

/// Arguments of `otelmesh collector`.
#[derive(Debug, Args)]
pub struct CollectorArgs {
    #[command(subcommand)]
    command: CollectorCommand,
}

#[derive(Debug, Subcommand)]
enum CollectorCommand {
    /// Replace the collectors' pods, one workload after the other
    Restart(RestartArgs),
    /// Bring the collectors to another version, with all other values as they are
    Upgrade(Box<VersionArgs>),
    /// Go back to an earlier revision of the release
    Rollback(RollbackArgs),
}

#[derive(Debug, Args)]
struct RestartArgs {
    #[command(flatten)]
    release: ReleaseArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Wait until each workload is ready
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    wait: bool,
    /// How long to wait for each workload, such as 90s or 5m
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    timeout: Duration,
}

#[derive(Debug, Args)]
struct VersionArgs {
    /// Version of the collector, such as 0.165.0
    #[arg(value_name = "VERSION")]
    version: String,
    #[command(flatten)]
    upgrade: UpgradeArgs,
}

// === impl CollectorArgs ===

impl CollectorArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn run(self) -> Result<ExitCode> {
        match self.command {
            CollectorCommand::Restart(args) => args.run(),
            CollectorCommand::Upgrade(args) => {
                args.upgrade.with_value(format!("collector.version={}", args.version)).run()
            }
            CollectorCommand::Rollback(args) => args.run(),
        }
    }
}

// === impl RestartArgs ===

impl RestartArgs {
    fn run(self) -> Result<ExitCode> {
        block_on(async {
            let (cluster, installed) = self.release.find(&self.cluster).await?;
            let workloads = workloads(&installed);
            if workloads.is_empty() {
                let release = &installed.release;
                bail!(
                    "release {} in namespace {} has no collectors; `otelmesh status` shows what it has",
                    release.name,
                    release.namespace
                );
            }
            for workload in &workloads {
                println!("~ {}", Id::of(workload));
            }
            confirm("Restart these?", self.yes)?;
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().to_string();
            let patch = json!({"spec": {"template": {"metadata": {"annotations": {RESTARTED: now}}}}});
            for workload in workloads {
                cluster.merge(workload, &patch, MANAGER).await?;
                eprintln!("· restarting {}", Id::of(workload));
                let tell = &mut |line: String| eprintln!("· {line}");
                if self.wait
                    && let Err(error) = health::wait(&cluster, std::slice::from_ref(workload), self.timeout, tell).await
                {
                    eprintln!("otelmesh: {error}\nthe workloads after it were not restarted");
                    return Ok(ExitCode::from(FAILED));
                }
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}

/// The collectors of the current revision, in the order of [`COMPONENTS`].
fn workloads(installed: &Installed) -> Vec<&Value> {
    let objects = installed.current().map(|revision| revision.objects.as_slice()).unwrap_or_default();
    let of = |component: &'static str| {
        objects.iter().filter(move |object| {
            object["spec"]["template"].is_object() && object["metadata"]["labels"][COMPONENT] == component
        })
    };
    COMPONENTS.into_iter().flat_map(of).collect()
}
