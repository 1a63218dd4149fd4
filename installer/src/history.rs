//! `otelmesh history`: the revisions of a release, and `otelmesh rollback`: back to one of them.
//!
//! In: a release, and the number of a revision. Out: a table or JSON; or that revision's objects applied as a new
//! revision, from what was stored, without the chart it came from. Refuses a revision that is not stored any more.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::json;

use crate::cluster::{ClusterArgs, block_on};
use crate::output::Format;
use crate::release::{Installed, ReleaseArgs, State};
use crate::run::{RunArgs, Target};

/// Enough of a digest to tell two revisions apart: `sha256:` and twelve digits.
const SHORT_DIGEST: usize = 19;

/// Arguments of `otelmesh history`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    #[command(flatten)]
    release: ReleaseArgs,
    /// A table, or a JSON list
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Arguments of `otelmesh rollback`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  otelmesh rollback
  otelmesh rollback 3 --dry-run")]
pub struct RollbackArgs {
    /// Revision to go back to [default: the one before the current]
    #[arg(value_name = "REVISION")]
    revision: Option<u32>,
    #[command(flatten)]
    release: ReleaseArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    run: RunArgs,
}

// === impl HistoryArgs ===

impl HistoryArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn run(self) -> Result<ExitCode> {
        let installed = block_on(async {
            let (_, installed) = self.release.find(&self.cluster).await?;
            anyhow::Ok(installed)
        })?;
        if installed.revisions.is_empty() {
            bail!("{}", installed.absent());
        }
        let mut text = format!(
            "{:<9} {:<21} {:<13} {:<8} {:<20} {:<8} CAUSE\n",
            "REVISION", "TIME", "STATE", "CHART", "DIGEST", "OBJECTS"
        );
        let mut list = Vec::new();
        for revision in &installed.revisions {
            let state = match (installed.complete, revision.number) {
                (Some(complete), number) if number == complete => "deployed",
                (complete, number) if complete.is_none_or(|complete| number > complete) => "not complete",
                _ => "superseded",
            };
            let short = revision.digest.get(..SHORT_DIGEST).unwrap_or(&revision.digest);
            text += &format!(
                "{:<9} {:<21} {:<13} {:<8} {:<20} {:<8} {}\n",
                revision.number,
                revision.time,
                state,
                revision.chart,
                short,
                revision.objects.len(),
                revision.cause
            );
            list.push(json!({
                "revision": revision.number, "time": revision.time, "state": state, "chart": revision.chart,
                "digest": revision.digest, "objects": revision.objects.len(), "cause": revision.cause,
                "values": revision.values,
            }));
        }
        self.output.print(&text, &list)?;
        Ok(ExitCode::SUCCESS)
    }
}

// === impl RollbackArgs ===

impl RollbackArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// A sentence for the operator; then nothing was changed.
    pub fn run(self) -> Result<ExitCode> {
        block_on(async {
            let (cluster, installed) = self.release.find(&self.cluster).await?;
            let number = match self.revision {
                Some(number) => number,
                None => before(&installed)?,
            };
            let Some(revision) = installed.revision(number) else {
                if installed.revisions.is_empty() {
                    bail!("{}", installed.absent());
                }
                let numbers: Vec<String> = installed.revisions.iter().map(|r| r.number.to_string()).collect();
                bail!(
                    "revision {number} is not stored; `otelmesh history` lists those that are: {}",
                    numbers.join(", ")
                );
            };
            let target = Target {
                cause: format!("rollback to {number}"),
                values: revision.values.clone(),
                objects: revision.objects.clone(),
                notes: None,
            };
            self.run.run(&cluster, &installed, target).await
        })
    }
}

/// After a run that was cut off, the last one that was not; else the one before that.
fn before(installed: &Installed) -> Result<u32> {
    let complete = installed.complete.unwrap_or(0);
    if installed.state() == State::Interrupted && installed.revision(complete).is_some() {
        return Ok(complete);
    }
    match installed.revisions.iter().rev().find(|revision| revision.number < complete) {
        Some(revision) => Ok(revision.number),
        None if installed.revisions.is_empty() => bail!("{}", installed.absent()),
        None => bail!("there is no revision before {complete} to go back to; `otelmesh history` lists what is stored"),
    }
}
