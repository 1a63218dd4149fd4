//! One change to the cluster, from the plan to pods that are ready: what install, upgrade and rollback have in common.
//!
//! In: the objects that should be, and why. Out: the plan on standard output, and after a yes the change, told step by
//! step on standard error. Refuses to write with conflicts that were not forced, and without a yes.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::Value;

use crate::apply;
use crate::chart::Chart;
use crate::cluster::Cluster;
use crate::health;
use crate::plan::{Action, Plan, text};
use crate::release::{Installed, State};
use crate::revision::{self, Revision};

/// Enough to go back over a bad week, few enough for a namespace's quota of Secrets.
const HISTORY: usize = 10;
/// The change was begun and is not as it should be.
const FAILED: u8 = 1;

/// How a change is made.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Change")]
pub struct RunArgs {
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Print the plan, which the API server has checked, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Take fields that other managers own
    #[arg(long)]
    force_conflicts: bool,
    /// Wait until every workload is ready
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    wait: bool,
    /// How long to wait, such as 90s or 5m
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    timeout: Duration,
    /// How many revisions are kept
    #[arg(long, value_name = "NUMBER", default_value_t = HISTORY)]
    history_max: usize,
}

/// What is to be, and why.
pub(crate) struct Target {
    pub(crate) cause: String,
    pub(crate) values: Value,
    pub(crate) objects: Vec<Value>,
    /// What to say when it is done.
    pub(crate) notes: Option<String>,
}

// === impl RunArgs ===

impl RunArgs {
    /// Plans, asks, writes, waits.
    pub(crate) async fn run(&self, cluster: &Cluster, installed: &Installed, target: Target) -> Result<ExitCode> {
        let plan = Plan::make(cluster, installed, &target.objects).await?;
        let release = &installed.release;
        let number = installed.revisions.last().map_or(0, |r| r.number).max(installed.complete.unwrap_or(0)) + 1;
        let header = format!(
            "{} of release {} in namespace {}, revision {number}, on {} ({})\n",
            target.cause,
            release.name,
            release.namespace,
            cluster.url(),
            cluster.version()
        );
        anstream::stdout().write_all((header + &text::summary(&plan)).as_bytes())?;
        let conflicts = plan.conflicts().count();
        if conflicts > 0 && !self.force_conflicts {
            bail!(
                "{conflicts} objects have fields that others own, named above, and nothing was changed\nlet go of the \
                 fields there, or take them with --force-conflicts"
            );
        }
        if self.dry_run {
            return Ok(ExitCode::SUCCESS);
        }
        let tell = &mut |line: String| eprintln!("· {line}");
        let objects = plan.objects();
        let adopts = plan.changes.iter().any(|change| change.adopts);
        if plan.is_empty() && !adopts && installed.state() == State::Deployed {
            eprintln!("nothing to do");
        } else {
            self.confirm(&plan)?;
            let revision = Revision {
                number,
                time: String::new(),
                chart: Chart::embedded()?.metadata().version.clone(),
                cause: target.cause,
                digest: revision::digest(&objects),
                values: target.values,
                objects: objects.clone(),
                replaced: plan.replaced.clone(),
            };
            if let Err(error) = apply::apply(cluster, installed, &plan, &revision, self.force_conflicts, tell).await {
                eprintln!("otelmesh: {error}");
                eprintln!(
                    "revision {number} is not complete; the next install, upgrade, rollback or uninstall goes on from here"
                );
                return Ok(ExitCode::from(FAILED));
            }
            apply::forget(cluster, release, self.history_max).await?;
            eprintln!("revision {number} is applied");
        }
        if self.wait
            && let Err(error) = health::wait(cluster, &objects, self.timeout, tell).await
        {
            eprintln!("otelmesh: {error}");
            eprintln!("`otelmesh status` shows every workload; `otelmesh rollback` goes back to the revision before");
            return Ok(ExitCode::from(FAILED));
        }
        if let Some(notes) = target.notes {
            write!(io::stdout(), "\n{}\n", notes.trim())?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn confirm(&self, plan: &Plan) -> Result<()> {
        let deletes = plan.changes.iter().filter(|change| change.action == Action::Delete).count();
        let question = match deletes {
            0 => "Apply this?".to_owned(),
            n => format!("Apply this, which deletes {n} objects?"),
        };
        confirm(&question, self.yes)
    }
}

/// Goes on only after a yes.
pub(crate) fn confirm(question: &str, yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        bail!("nothing was changed: there is no terminal to ask on; look at the plan above, then pass --yes");
    }
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    if !matches!(answer.trim(), "y" | "Y" | "yes") {
        bail!("nothing was changed");
    }
    Ok(())
}

/// A duration as Go programs write it, in one unit.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err("must be a number with a unit, such as 90s, 5m or 1h".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "must begin with a number".to_owned())?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(|| "is too long".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_one_unit() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        for wrong in ["", "5", "m", "1h30m", "-1s", "99999999999999999999h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
