//! The `otelmesh` command: parses arguments, calls the library, prints errors.

use std::io;
use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};
use otelmesh::checks::command::CheckArgs;
use otelmesh::collector::CollectorArgs;
use otelmesh::completion::CompletionArgs;
use otelmesh::demo::DemoArgs;
use otelmesh::diff::DiffArgs;
use otelmesh::history::{HistoryArgs, RollbackArgs};
use otelmesh::image::ImageArgs;
use otelmesh::images::ImagesArgs;
use otelmesh::install::{InstallArgs, UpgradeArgs};
use otelmesh::plugin_config::ConfigArgs;
use otelmesh::render::RenderArgs;
use otelmesh::report::ReportArgs;
use otelmesh::show_values::ValuesArgs;
use otelmesh::status::StatusArgs;
use otelmesh::uninstall::UninstallArgs;
use otelmesh::verify::VerifyArgs;

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
    /// Print everything that can be set, with comments
    Values(ValuesArgs),
    /// Check, or explain, the filter's own configuration
    Config(ConfigArgs),
    /// List the images that the cluster will pull
    Images(ImagesArgs),
    /// Tell whether an installation can go well, and whether it did
    Check(Box<CheckArgs>),
    /// Install the chart's objects into the cluster, or bring them up to new values
    Install(Box<InstallArgs>),
    /// Bring what is installed up to new values, or to this version
    Upgrade(Box<UpgradeArgs>),
    /// Show what install or upgrade would change
    Diff(Box<DiffArgs>),
    /// Show what is installed, and whether it is well
    Status(StatusArgs),
    /// Send requests through a proxy, and find their spans and logs at the collector
    Verify(Box<VerifyArgs>),
    /// Tell what came in, went out and was lost, by the numbers of collectors and proxies
    Report(ReportArgs),
    /// List the revisions of what is installed
    History(HistoryArgs),
    /// Go back to an earlier revision
    Rollback(RollbackArgs),
    /// Restart, upgrade or roll back the collectors alone
    Collector(CollectorArgs),
    /// Remove exactly what was installed, and put back what it replaced
    Uninstall(UninstallArgs),
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
        Command::Values(args) => args.run(),
        Command::Config(args) => args.run(),
        Command::Images(args) => args.run(),
        Command::Check(args) => args.run(),
        Command::Install(args) => args.run(),
        Command::Upgrade(args) => args.run(),
        Command::Diff(args) => args.run(),
        Command::Status(args) => args.run(),
        Command::Verify(args) => args.run(),
        Command::Report(args) => args.run(),
        Command::History(args) => args.run(),
        Command::Rollback(args) => args.run(),
        Command::Collector(args) => args.run(),
        Command::Uninstall(args) => args.run(),
        Command::Completion(args) => args.run(Cli::command()),
    }
}
