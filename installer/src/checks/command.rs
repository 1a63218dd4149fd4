//! `otelmesh check`: whether an installation can go well, and whether it did.
//!
//! In: a cluster, and with `--pre` the values that will be installed. Out: each check with cause and next command, and an
//! exit code: 0 when no check failed, 1 when one did, 2 when the cluster could not be asked. Writes nothing.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::{AFTER, BEFORE, Report, Snapshot};
use crate::chart::Chart;
use crate::cluster::{Cluster, ClusterArgs, block_on};
use crate::install::ChartArgs;
use crate::output::Format;
use crate::release::ReleaseArgs;
use crate::render::render;
use crate::values::Sources;

const FAILED: u8 = 1;
/// Each takes a port-forward and some KiB; the first ones show what most faults look like.
const MAX_PROXIES: usize = 50;

/// Arguments of `otelmesh check`.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit code: 0 no check failed, 1 a check failed, 2 the cluster could not be asked.

Examples:
  otelmesh check --pre -f values.yaml
  otelmesh check
  otelmesh check -o json | jq -r '.checks[] | select(.result != \"success\").sentence'")]
pub struct CheckArgs {
    /// Check what must hold before an installation with these values
    #[arg(long)]
    pre: bool,
    #[command(flatten)]
    release: ReleaseArgs,
    /// Text for people, or one JSON object
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
    /// How many proxies are asked whether they run the filter
    #[arg(long, value_name = "NUMBER", default_value_t = MAX_PROXIES)]
    max_proxies: usize,
    #[command(flatten)]
    chart: ChartArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    sources: Sources,
}

// === impl CheckArgs ===

impl CheckArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn run(self) -> Result<ExitCode> {
        let report = if self.pre { self.before()? } else { self.after()? };
        self.output.print(&report.text(), &report)?;
        Ok(if report.success { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
    }

    fn before(&self) -> Result<Report> {
        let chart = Chart::embedded()?;
        let release = self.release.release();
        render(&chart, &self.sources, &release)?;
        let values = self.sources.merge(chart.defaults())?;
        let root = values["mesh"]["rootNamespace"].as_str().unwrap_or_default();
        block_on(async {
            let cluster = Cluster::connect(&self.cluster).await?;
            let objects = self.chart.objects(&chart.for_apis(cluster.apis().await?), &self.sources, &release)?;
            let snapshot = Snapshot::before(&cluster, &release, objects, root).await?;
            Ok(Report::new(BEFORE, &snapshot))
        })
    }

    fn after(&self) -> Result<Report> {
        block_on(async {
            let (cluster, installed) = self.release.find(&self.cluster).await?;
            let snapshot = Snapshot::after(&cluster, &installed, self.max_proxies).await?;
            Ok(Report::new(AFTER, &snapshot))
        })
    }
}
