//! The `otelmesh` command: parses arguments, calls the library, prints errors.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use otelmesh::demo::DemoArgs;

/// OpenTelemetry for an Istio mesh, without touching the applications.
#[derive(Debug, Parser)]
#[command(name = "otelmesh", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prove the filter on this machine: two services behind real Envoys, no cluster
    Demo(DemoArgs),
}

/// Nothing was proved or changed; clap uses the same code for wrong arguments.
const COULD_NOT_START: u8 = 2;

fn main() -> ExitCode {
    run(Cli::parse().command).unwrap_or_else(|error| {
        eprintln!("otelmesh: {error:#}");
        ExitCode::from(COULD_NOT_START)
    })
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Demo(args) => args.run(),
    }
}
