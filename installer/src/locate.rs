//! Finds the two files that the demo and the tests cannot do without: an Envoy and the filter's Wasm module.
//!
//! In: a path given by hand, the environment, the directories to look in. Out: an existing file. Refuses to guess: a
//! path given by hand must be there, and an error says where it looked and which command makes the file.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// Environment variable that names an Envoy binary.
pub const ENVOY_VARIABLE: &str = "ENVOY";
/// Environment variable that names the filter's Wasm module.
pub const WASM_VARIABLE: &str = "OTELMESH_WASM";

/// The filter as `make wasm` calls it.
const WASM_NAME: &str = "otelmesh.wasm";

/// An Envoy: the given one, `$ENVOY`, one in `PATH`, or the newest that `make envoy` unpacked.
///
/// # Errors
/// None of these exists.
pub fn envoy(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = by_hand(given, "--envoy", ENVOY_VARIABLE)? {
        return Ok(path);
    }
    if let Ok(path) = which::which("envoy") {
        return Ok(path);
    }
    match bases().iter().find_map(|base| newest_envoy(&base.join("target/envoy"))) {
        Some(path) => Ok(path),
        None => bail!(
            "no Envoy found: not given with --envoy or ${ENVOY_VARIABLE}, not in PATH, none in target/envoy\n\
             Run `make envoy` in the source tree, or name a binary: --envoy /usr/local/bin/envoy"
        ),
    }
}

/// The filter: the given file, `$OTELMESH_WASM`, beside this executable, or what `make wasm` built.
///
/// # Errors
/// None of these exists.
pub fn wasm(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = by_hand(given, "--wasm", WASM_VARIABLE)? {
        return Ok(path);
    }
    let beside = env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join(WASM_NAME)));
    let built = bases().into_iter().map(|base| base.join("target").join(WASM_NAME));
    match beside.into_iter().chain(built).find(|path| path.is_file()) {
        // Envoy runs in a directory of its own, so it needs the whole path.
        Some(path) => Ok(std::path::absolute(path)?),
        None => bail!(
            "no {WASM_NAME} found: not given with --wasm or ${WASM_VARIABLE}, not beside this executable, none in target\n\
             Run `make wasm` in the source tree, or name a file: --wasm target/{WASM_NAME}"
        ),
    }
}

fn by_hand(given: Option<&Path>, flag: &str, variable: &str) -> Result<Option<PathBuf>> {
    let (source, path) = match (given, env::var_os(variable).filter(|v| !v.is_empty())) {
        (Some(path), _) => (flag.to_owned(), path.to_owned()),
        (None, Some(path)) => (format!("${variable}"), PathBuf::from(path)),
        (None, None) => return Ok(None),
    };
    if !path.is_file() {
        bail!("{source} is {}, which is no file: correct it, or leave it out to search", path.display());
    }
    Ok(Some(std::path::absolute(path)?))
}

/// The current directory and every directory above this executable: a built tree is found from inside and from outside.
fn bases() -> Vec<PathBuf> {
    let exe = env::current_exe().ok();
    let above = exe.iter().flat_map(|exe| exe.ancestors().skip(1)).map(Path::to_owned);
    env::current_dir().ok().into_iter().chain(above).collect()
}

/// `DIRECTORY/1.40.0/envoy` rather than `DIRECTORY/1.9.0/envoy`.
fn newest_envoy(directory: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(directory).ok()?;
    entries
        .filter_map(|entry| {
            Some((version(entry.as_ref().ok()?.file_name().to_str()?)?, entry.ok()?.path().join("envoy")))
        })
        .filter(|(_, path)| path.is_file())
        .max()
        .map(|(_, path)| std::path::absolute(&path).unwrap_or(path))
}

fn version(name: &str) -> Option<Vec<u32>> {
    name.split('.').map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn versions_are_compared_by_number_and_a_directory_without_a_binary_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        for (name, has_binary) in [("1.9.4", true), ("1.40.0", true), ("1.41.0", false), ("cache", true)] {
            fs::create_dir(dir.path().join(name)).unwrap();
            if has_binary {
                fs::write(dir.path().join(name).join("envoy"), "").unwrap();
            }
        }
        assert_eq!(newest_envoy(dir.path()), Some(dir.path().join("1.40.0/envoy")));
        assert_eq!(newest_envoy(&dir.path().join("absent")), None);
    }

    #[test]
    fn a_path_given_by_hand_must_exist() {
        let error = by_hand(Some(Path::new("/absent/envoy")), "--envoy", "OTELMESH_UNSET").unwrap_err().to_string();
        assert!(error.contains("--envoy is /absent/envoy"), "{error}");
        assert_eq!(by_hand(None, "--envoy", "OTELMESH_UNSET").unwrap(), None);
    }
}
