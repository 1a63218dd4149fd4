//! The `otelmesh` command: parses arguments, calls the library, prints errors.

use clap::Parser;

/// OpenTelemetry for an Istio mesh, without touching the applications.
#[derive(Parser)]
#[command(name = "otelmesh", version)]
struct Cli {}

fn main() {
    Cli::parse();
}
