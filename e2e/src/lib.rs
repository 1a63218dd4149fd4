//! otelmesh against real parts.
//!
//! What the tests need is found, never skipped: a missing part fails a test and names the command that makes it.

use std::env;
use std::path::PathBuf;

pub mod apiserver;
pub mod faults;
pub mod interruption;
pub mod mesh;
pub mod names;
pub mod otelcol;
pub mod prometheus;
pub mod proxy;
pub mod raw;
pub mod registry;
pub mod rendered;
pub mod schema;
pub mod scripted;
pub mod soak;
pub mod tools;
pub mod upstream;

/// The Envoy to test with.
///
/// # Panics
/// There is none.
pub fn envoy() -> PathBuf {
    otelmesh::envoy::find(None).unwrap_or_else(|error| panic!("{error:#}"))
}

/// The filter to test.
///
/// # Panics
/// There is none.
pub fn wasm() -> PathBuf {
    let path = otelmesh::wasm::find(None).unwrap_or_else(|error| panic!("{error:#}"));
    std::path::absolute(path).expect("a file that is there has an absolute path")
}

/// The `otelmesh` binary of the profile that the tests were built with, or `$OTELMESH`.
///
/// # Panics
/// There is none.
pub fn otelmesh() -> PathBuf {
    if let Some(path) = env::var_os("OTELMESH") {
        return path.into();
    }
    // target/debug/deps/demo-0123456789abcdef
    let test = env::current_exe().expect("a running test has a path");
    let built = test.ancestors().nth(2).map(|profile| profile.join("otelmesh")).unwrap_or_default();
    assert!(built.is_file(), "{} is missing: run `cargo build -p otelmesh`, or set OTELMESH", built.display());
    built
}
