//! `otelmesh completion`: a script that completes the command's arguments in a shell.
//!
//! In: the name of a shell. Out: the script. Refuses a shell that clap cannot write for.

use std::io;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Command};
use clap_complete::Shell;

/// Arguments of `otelmesh completion`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  In this shell:
    source <(otelmesh completion bash)
  For good:
    otelmesh completion bash > /etc/bash_completion.d/otelmesh
    otelmesh completion zsh > \"${fpath[1]}/_otelmesh\"
    otelmesh completion fish > ~/.config/fish/completions/otelmesh.fish")]
pub struct CompletionArgs {
    /// The shell
    shell: Shell,
}

// === impl CompletionArgs ===

impl CompletionArgs {
    /// Runs the command, for the whole command line that is given.
    ///
    /// # Errors
    /// None today.
    pub fn run(self, mut command: Command) -> Result<ExitCode> {
        let name = command.get_name().to_owned();
        // Into memory first: clap_complete panics when the reader of a pipe is gone.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, name, &mut script);
        io::Write::write_all(&mut io::stdout(), &script)?;
        Ok(ExitCode::SUCCESS)
    }
}
