//! `otelmesh values`: everything that can be set, with comments, ready to be changed.
//!
//! In: nothing, or the name of a profile. Out: the chart's values.yaml or values-PROFILE.yaml as it is. Refuses a profile
//! that the chart does not have.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::chart;
use crate::values::Profile;

/// Arguments of `otelmesh values`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  otelmesh values > values.yaml
  otelmesh values --profiles
  otelmesh values --profile production")]
pub struct ValuesArgs {
    /// Print the values of this profile, which go over the chart's own
    #[arg(long, value_enum, value_name = "NAME", conflicts_with = "profiles")]
    profile: Option<Profile>,
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
        let text = match self.profile {
            _ if self.profiles => {
                let names = Profile::value_variants().iter().filter_map(ValueEnum::to_possible_value);
                names.map(|name| format!("{}\n", name.get_name())).collect()
            }
            None => chart::values_text()?.to_owned(),
            Some(profile) => profile.text().to_owned(),
        };
        io::stdout().write_all(text.as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }
}
