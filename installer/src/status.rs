//! `otelmesh status`: what is installed, and whether it is as it should be.
//!
//! In: a release. Out: its revision and every object with its state, as text or JSON, and an exit code: 0 when all is
//! well, 1 when something is not or nothing is installed. Writes nothing.

use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use anyhow::Result;
use clap::Args;
use serde::Serialize;

use crate::cluster::{Cluster, ClusterArgs, ClusterError, Id, block_on};
use crate::health::Health;
use crate::output::Format;
use crate::release::{Installed, ReleaseArgs, State};

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
const NOT_WELL: u8 = 1;

/// Arguments of `otelmesh status`.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit code: 0 all is well, 1 something is not, or nothing is installed.")]
pub struct StatusArgs {
    #[command(flatten)]
    release: ReleaseArgs,
    /// Text for people, or one JSON object
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// The document of `-o json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    release: String,
    namespace: String,
    state: State,
    revision: Option<u32>,
    time: Option<String>,
    chart: Option<String>,
    objects: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    #[serde(flatten)]
    id: Id,
    #[serde(flatten)]
    health: Health,
}

// === impl StatusArgs ===

impl StatusArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn run(self) -> Result<ExitCode> {
        let document = block_on(async {
            let (cluster, installed) = self.release.find(&self.cluster).await?;
            anyhow::Ok(Document::new(&cluster, &installed).await?)
        })?;
        self.output.print(&document.text(), &document)?;
        let well = document.state == State::Deployed && document.objects.iter().all(|o| o.health == Health::Healthy);
        Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(NOT_WELL) })
    }
}

// === impl Document ===

impl Document {
    async fn new(cluster: &Cluster, installed: &Installed) -> Result<Self, ClusterError> {
        let current = installed.current();
        let mut objects = Vec::new();
        for object in current.iter().flat_map(|revision| &revision.objects) {
            let id = Id::of(object);
            let kind = cluster.kind_of(object).await;
            let live = match &kind {
                Ok(kind) => cluster.get(kind, &id.namespace, &id.name).await?,
                // A kind that is gone took its objects along.
                Err(ClusterError::NoKind { .. }) => None,
                Err(_) => {
                    kind?;
                    None
                }
            };
            let health = live.as_ref().map_or_else(|| Health::Failed("it is not there".to_owned()), Health::of);
            objects.push(Line { id, health });
        }
        Ok(Self {
            release: installed.release.name.clone(),
            namespace: installed.release.namespace.clone(),
            state: installed.state(),
            revision: current.map(|revision| revision.number),
            time: current.map(|revision| revision.time.clone()),
            chart: current.map(|revision| revision.chart.clone()),
            objects,
        })
    }

    fn text(&self) -> String {
        let state = match self.state {
            State::NotInstalled => "is not installed; `otelmesh install` installs it",
            State::Deployed => "is installed",
            State::Interrupted => {
                "is not complete: a run was cut off, or is under way; install, upgrade, rollback or uninstall goes on \
                 from there"
            }
        };
        let mut text = format!("release {} in namespace {} {state}\n", self.release, self.namespace);
        if let (Some(revision), Some(time), Some(chart)) = (self.revision, &self.time, &self.chart) {
            text += &format!("revision {revision} of {time}, chart {chart}\n");
        }
        for line in &self.objects {
            text += &match &line.health {
                Health::Healthy => format!("{GOOD}√{GOOD:#} {}\n", line.id),
                Health::Progressing(reason) | Health::Failed(reason) => {
                    format!("{BAD}×{BAD:#} {}: {reason}\n", line.id)
                }
            };
        }
        text
    }
}
