//! `otelmesh diff`: what install or upgrade would change, field by field.
//!
//! In: values and a cluster. Out: the differences that a server-side dry run finds, as text or JSON, and an exit code: 0
//! when there are none, 1 when there are, 2 when it could not be found out. Writes nothing.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use serde_json::json;

use crate::chart::Chart;
use crate::cluster::{Cluster, ClusterArgs, block_on};
use crate::install::ChartArgs;
use crate::output::Format;
use crate::plan::{Action, Change, Plan, text};
use crate::release::{Installed, ReleaseArgs};
use crate::render::render;
use crate::values::Sources;

const DIFFERENT: u8 = 1;

/// Arguments of `otelmesh diff`.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit code: 0 no difference, 1 differences, 2 could not be found out.

Examples:
  otelmesh diff -f values.yaml
  otelmesh diff -f values.yaml -o json | jq '.changes[].name'")]
pub struct DiffArgs {
    #[command(flatten)]
    release: ReleaseArgs,
    /// Text for people, or one JSON object
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
    #[command(flatten)]
    chart: ChartArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    sources: Sources,
}

// === impl DiffArgs ===

impl DiffArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn run(self) -> Result<ExitCode> {
        let release = self.release.release();
        let chart = Chart::embedded()?;
        render(&chart, &self.sources, &release)?;
        let plan = block_on(async {
            let cluster = Cluster::connect(&self.cluster).await?;
            let objects = self.chart.objects(&chart.for_apis(cluster.apis().await?), &self.sources, &release)?;
            let installed = Installed::read(&cluster, &release).await?;
            anyhow::Ok(Plan::make(&cluster, &installed, &objects).await?)
        })?;
        let changes: Vec<&Change> = plan.changes.iter().filter(|c| c.action != Action::Keep).collect();
        let release = json!({"name": release.name, "namespace": release.namespace});
        let document = json!({"release": release, "changes": changes, "summary": text::sum(&plan)});
        self.output.print(&text::details(&plan), &document)?;
        Ok(if plan.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) })
    }
}
