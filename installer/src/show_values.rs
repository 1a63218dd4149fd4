//! `otelmesh values`: everything that can be set, with comments, ready to be changed.
//!
//! In: nothing, or the name of a profile. Out: the chart's values.yaml or values-PROFILE.yaml as it is. Refuses a profile
//! that the chart does not have, and names those that it has.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;

use crate::chart;

/// Arguments of `otelmesh values`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  otelmesh values > values.yaml
  otelmesh values --profiles
  otelmesh values --profile production | otelmesh install -f -")]
pub struct ValuesArgs {
    /// Print the values of this profile, which go over the chart's own
    #[arg(long, value_name = "NAME", conflicts_with = "profiles")]
    profile: Option<String>,
    /// List the profiles
    #[arg(long)]
    profiles: bool,
}

// === impl ValuesArgs ===

impl ValuesArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn run(self) -> Result<ExitCode> {
        let names: Vec<&str> = chart::profiles().into_iter().map(|(name, _)| name).collect();
        let text = match &self.profile {
            _ if self.profiles => names.iter().map(|name| format!("{name}\n")).collect(),
            None => chart::values_text()?.to_owned(),
            Some(name) => match chart::profiles().into_iter().find(|(known, _)| known == name) {
                Some((_, text)) => text.to_owned(),
                None if names.is_empty() => bail!("the chart has no profiles; `otelmesh values` prints its values"),
                None => bail!("--profile {name} is no profile of the chart; there are {}", names.join(", ")),
            },
        };
        io::stdout().write_all(text.as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }
}
