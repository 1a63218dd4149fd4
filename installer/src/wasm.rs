//! The filter module on disk.
//!
//! In: a path that the operator gave, or none. Out: where the module is, and its bytes. Refuses a path that was named and
//! holds no file, rather than taking another module in its place, and a file that Envoy would refuse as a filter.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use wasmparser::{Parser, Payload, Validator, WasmFeatures};

/// Names the module when no option does.
pub const ENV: &str = "OTELMESH_WASM";
/// What `make wasm` writes, and what a release puts beside the executable.
pub const FILE_NAME: &str = "otelmesh.wasm";

/// The export by which Envoy knows the ABI that the filter speaks.
pub const ABI: &str = "proxy_abi_version_0_2_1";
/// Istio's agent takes no larger module (its `ISTIO_WASM_MAX_BINARY_SIZE_BYTES`).
pub const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// Why no module was taken.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// A path was named, and there is nothing.
    #[error("{origin} names {path}, which is no file; run `make wasm`, or name the module that you mean")]
    Named {
        /// Who named the path.
        origin: String,
        /// The path.
        path: PathBuf,
    },
    /// None was named, and the usual places are empty.
    #[error("found no {FILE_NAME} in {}; run `make wasm`, or name one with --wasm or ${ENV}", list(.0))]
    Nowhere(Vec<PathBuf>),
}

/// Why a file is no filter.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It cannot be read.
    #[error("cannot read {path}: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is not what Envoy takes for a filter.
    #[error("{path} is no proxy-wasm filter: {error}; build one with `make wasm`")]
    NoFilter {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: NoFilter,
    },
}

/// What is wrong with bytes that should be a filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoFilter {
    /// Not WebAssembly at all.
    #[error("it does not begin as WebAssembly does")]
    NoWasm,
    /// A component, not a core module.
    #[error("it is a WebAssembly component, and Envoy takes core modules only")]
    Component,
    /// A module that does not validate.
    #[error("it is not valid: {0}")]
    Invalid(String),
    /// Larger than Istio takes.
    #[error("it is larger than {MAX_BYTES} bytes, the most that Istio takes")]
    TooLarge,
    /// A module for something else.
    #[error("it does not export {ABI}{}", .0.as_ref().map(|other| format!(", but {other}")).unwrap_or_default())]
    Abi(Option<String>),
}

/// Finds the filter module: as named, by `$OTELMESH_WASM`, beside the executable, or in the build tree of the working
/// directory or of the executable.
///
/// # Errors
/// [`FindError`], whose text says where was looked and what to do.
pub fn find(explicit: Option<&Path>) -> Result<PathBuf, FindError> {
    if let Some(path) = explicit {
        return named("--wasm".to_owned(), path);
    }
    if let Some(path) = env::var_os(ENV).filter(|v| !v.is_empty()) {
        return named(format!("${ENV}"), Path::new(&path));
    }
    let places = places(env::current_exe().ok().as_deref(), env::current_dir().ok().as_deref());
    places.iter().find(|p| p.is_file()).cloned().ok_or(FindError::Nowhere(places))
}

/// Reads a module and checks that it is a filter.
///
/// # Errors
/// [`LoadError`], which names the file.
pub fn load(path: &Path) -> Result<Vec<u8>, LoadError> {
    let bytes = fs::read(path).map_err(|error| LoadError::Read { path: path.to_owned(), error })?;
    check(&bytes).map_err(|error| LoadError::NoFilter { path: path.to_owned(), error })?;
    Ok(bytes)
}

/// Checks that bytes are a core module that speaks the proxy-wasm ABI.
///
/// # Errors
/// [`NoFilter`] with what is wrong.
pub fn check(bytes: &[u8]) -> Result<(), NoFilter> {
    if !bytes.starts_with(b"\0asm") {
        return Err(NoFilter::NoWasm);
    }
    if bytes.len() as u64 > MAX_BYTES {
        return Err(NoFilter::TooLarge);
    }
    if Parser::is_component(bytes) {
        return Err(NoFilter::Component);
    }
    // The guard's exceptions are of the older form, as Envoy's V8 knows them.
    let features = WasmFeatures::default() | WasmFeatures::LEGACY_EXCEPTIONS;
    Validator::new_with_features(features).validate_all(bytes).map_err(|e| NoFilter::Invalid(e.to_string()))?;
    let mut other = None;
    for payload in Parser::new(0).parse_all(bytes) {
        let Ok(Payload::ExportSection(exports)) = payload else { continue };
        for export in exports.into_iter().flatten() {
            if export.name == ABI {
                return Ok(());
            }
            if export.name.starts_with("proxy_abi_version_") {
                other = Some(export.name.to_owned());
            }
        }
    }
    Err(NoFilter::Abi(other))
}

fn named(origin: String, path: &Path) -> Result<PathBuf, FindError> {
    if path.is_file() { Ok(path.to_owned()) } else { Err(FindError::Named { origin, path: path.to_owned() }) }
}

/// Where to look when nothing was named, best first.
fn places(exe: Option<&Path>, cwd: Option<&Path>) -> Vec<PathBuf> {
    let beside = exe.and_then(Path::parent).map(|dir| dir.join(FILE_NAME));
    let in_tree = |dir: &Path| dir.join("target").join(FILE_NAME);
    let mut places: Vec<PathBuf> = beside.into_iter().chain(cwd.map(in_tree)).collect();
    // A test binary lies in target/debug/deps, a user's in target/release: the tree is some directories up.
    for dir in exe.into_iter().flat_map(|exe| exe.ancestors().skip(1)) {
        let place = in_tree(dir);
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

fn list(places: &[PathBuf]) -> String {
    places.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_beside_the_executable_comes_before_any_build_tree() {
        let places = places(Some(Path::new("/src/target/debug/otelmesh")), Some(Path::new("/home")));
        let places: Vec<_> = places.iter().map(|p| p.to_str().unwrap()).collect();
        assert_eq!(
            places,
            [
                "/src/target/debug/otelmesh.wasm",
                "/home/target/otelmesh.wasm",
                "/src/target/debug/target/otelmesh.wasm",
                "/src/target/target/otelmesh.wasm",
                "/src/target/otelmesh.wasm",
                "/target/otelmesh.wasm",
            ]
        );
    }

    #[test]
    fn a_named_module_that_is_missing_is_never_replaced_by_another() {
        let error = find(Some(Path::new("/nonexistent/otelmesh.wasm"))).unwrap_err().to_string();
        assert_eq!(
            error,
            "--wasm names /nonexistent/otelmesh.wasm, which is no file; run `make wasm`, or name the module that you mean"
        );
    }

    #[test]
    fn a_named_module_is_taken_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("any-name.wasm");
        std::fs::write(&path, b"").unwrap();
        assert_eq!(find(Some(&path)).unwrap(), path);
    }

    #[test]
    fn only_a_core_module_with_the_abi_is_a_filter() {
        let module = |text: &str| wat::parse_str(text).unwrap();
        let filter = module(r#"(module (func (export "proxy_abi_version_0_2_1")))"#);
        let mut cut = filter.clone();
        cut.pop();
        let vectors = [
            (filter, Ok(()), "as the filter is"),
            (Vec::new(), Err(NoFilter::NoWasm), "an empty file"),
            (b"#!/bin/sh".to_vec(), Err(NoFilter::NoWasm), "a script"),
            (module("(component)"), Err(NoFilter::Component), "what newer toolchains make"),
            (module("(module)"), Err(NoFilter::Abi(None)), "some other module"),
            (
                module(r#"(module (func (export "proxy_abi_version_0_1_0")))"#),
                Err(NoFilter::Abi(Some("proxy_abi_version_0_1_0".to_owned()))),
                "a filter for another host",
            ),
        ];
        for (bytes, expected, reason) in vectors {
            assert_eq!(check(&bytes), expected, "{reason}");
        }
        assert!(matches!(check(&cut), Err(NoFilter::Invalid(_))), "a download that broke off");
    }

    #[test]
    fn a_file_that_is_no_filter_is_named_with_the_way_to_get_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.wasm");
        std::fs::write(&path, b"\0asm\x01\0\0\0").unwrap();
        let error = load(&path).unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "{} is no proxy-wasm filter: it does not export proxy_abi_version_0_2_1; build one with `make wasm`",
                path.display()
            )
        );
    }
}
