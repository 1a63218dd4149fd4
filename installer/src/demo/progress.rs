//! How far a demo is, on standard error, so that standard output holds the result alone.

use std::fmt::Display;
use std::io::IsTerminal;

pub(super) struct Progress {
    on_terminal: bool,
}

// === impl Progress ===

impl Progress {
    pub(super) fn new() -> Self {
        Self { on_terminal: std::io::stderr().is_terminal() }
    }

    pub(super) fn say(&self, what: impl Display) {
        eprintln!("· {what}");
    }

    /// One line that counts up; where nobody watches, nothing.
    pub(super) fn count(&self, number: usize, of: usize) {
        match (self.on_terminal, number == of) {
            (true, false) => eprint!("\r· request {number} of {of}"),
            (true, true) => eprintln!("\r· request {number} of {of}"),
            (false, _) => {}
        }
    }
}
