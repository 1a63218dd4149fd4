//! What a command prints: text for people, or JSON for programs.

use std::io::{self, Write};

use clap::ValueEnum;
use serde::Serialize;

/// The values of `-o` where there are just these two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Text,
    Json,
}

// === impl Format ===

impl Format {
    /// Prints a document in one of its two forms; the text without its colours where nobody would see them.
    ///
    /// # Errors
    /// Standard output cannot be written to.
    pub(crate) fn print(self, text: &str, document: &impl Serialize) -> io::Result<()> {
        match self {
            Self::Text => anstream::stdout().write_all(text.as_bytes()),
            Self::Json => writeln!(io::stdout(), "{}", serde_json::to_string_pretty(document)?),
        }
    }
}
