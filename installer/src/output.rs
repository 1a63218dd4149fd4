//! What a command prints: text for people, or JSON for programs.

use clap::ValueEnum;

/// The values of `-o` where there are just these two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Text,
    Json,
}
