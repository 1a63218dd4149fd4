//! The `otelmesh` command: parses arguments, calls the library, prints errors.

use std::io;
use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};
use otelmesh::completion::CompletionArgs;
use otelmesh::demo::DemoArgs;
use otelmesh::image::ImageArgs;
use otelmesh::render::RenderArgs;

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
    /// Pack the filter into an image, and push it to a registry
    Image(ImageArgs),
    /// Print the chart's objects, without a cluster
    Render(RenderArgs),
    /// Print a script that completes arguments in your shell
    Completion(CompletionArgs),
}

/// Nothing was proved or changed; clap uses the same code for wrong arguments.
const COULD_NOT_START: u8 = 2;

fn main() -> ExitCode {
    run(Cli::parse().command).unwrap_or_else(|error| {
        // Who closes the pipe has read enough, as `head` does.
        let closed = error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe);
        if !closed {
            eprintln!("otelmesh: {error:#}");
        }
        ExitCode::from(COULD_NOT_START)
    })
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Demo(args) => args.run(),
        Command::Image(args) => args.run(),
        Command::Render(args) => args.run(),
        Command::Completion(args) => args.run(Cli::command()),
    }
}
