//! The `otelmesh` command: parses arguments, calls the library, prints errors.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// OpenTelemetry for an Istio mesh, without touching the applications.
#[derive(Parser)]
#[command(name = "otelmesh", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(otelmesh::demo::Args),
}

/// Nothing was proved or changed; clap uses the same code for wrong arguments.
const COULD_NOT_START: u8 = 2;

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Demo(args) => args.run(),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(COULD_NOT_START)
    })
}
