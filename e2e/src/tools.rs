//! The real programs that tests run.
//!
//! In: a program's name. Out: where it is, under target/, where `make test` or `make e2e-api` put it. Refuses to go on without it: a
//! test that is skipped proves nothing.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The workspace.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("e2e lies in the workspace")
}

/// A file that `e2e/fetch-go-tools.sh` put there.
///
/// # Panics
/// If it is not there.
pub fn go_tool(name: &str) -> PathBuf {
    there(root().join("target/tools").join(name))
}

/// A program that `e2e/fetch-debian.sh` unpacked, ready to run with the libraries that came with it.
///
/// # Panics
/// If it is not there.
pub fn debian(name: &str) -> Command {
    let dir = root().join("target/debian");
    let libraries = std::fs::read_to_string(there(dir.join("libraries"))).expect("target/debian/libraries can be read");
    let mut command = Command::new(there(dir.join("usr/bin").join(name)));
    command.env("LD_LIBRARY_PATH", libraries.trim());
    command
}

/// The `otelmesh` command, ready to run.
///
/// # Panics
/// If it was not built.
pub fn otelmesh() -> Command {
    Command::new(crate::otelmesh())
}

/// Runs a program to its end and gives its standard output.
///
/// # Panics
/// If it fails; with all that it said.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?} fails:\n{}", said(&output));
    String::from_utf8(output.stdout).expect("programs speak UTF-8")
}

/// Runs a program that must fail, and gives all that it said.
///
/// # Panics
/// If it does not fail.
pub fn refused(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(!output.status.success(), "{command:?} should fail and said:\n{}", said(&output));
    said(&output)
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn there(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "{} is missing; run `make test` or `make e2e-api`, which put it there", path.display());
    path
}
