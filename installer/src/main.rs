//! The `otelmesh` command: parses arguments, calls the library, prints errors.

use std::io;
use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};
use otelmesh::completion::CompletionArgs;
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
    /// Print the chart's objects, without a cluster
    Render(RenderArgs),
    /// Pack the filter into an image, and push it to a registry
    Image(ImageArgs),
    /// Print a script that completes arguments in your shell
    Completion(CompletionArgs),
}

fn main() -> ExitCode {
    run(Cli::parse().command).unwrap_or_else(|error| {
        // Who closes the pipe has read enough, as `head` does.
        let closed = error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe);
        if !closed {
            eprintln!("otelmesh: {error:#}");
        }
        ExitCode::FAILURE
    })
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Render(args) => args.run(),
        Command::Image(args) => args.run(),
        Command::Completion(args) => args.run(Cli::command()),
    }
}
