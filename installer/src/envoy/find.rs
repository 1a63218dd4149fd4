//! An Envoy binary on disk.
//!
//! In: a path that the operator gave, or none. Out: where the binary is, as an absolute path, for Envoy runs in a
//! directory of its own. Refuses a path that was named and holds no file, rather than running another Envoy in its place.

use std::env;
use std::path::{Path, PathBuf, absolute};

use anyhow::{Result, bail};

/// Names the binary when no option does.
pub const ENV: &str = "ENVOY";

/// Finds an Envoy: as named, by `$ENVOY`, in `PATH`, or the newest that `make envoy` unpacked in the build tree of the
/// working directory or of the executable.
///
/// # Errors
/// There is none; the text says where was looked and what to do.
pub fn find(explicit: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = explicit {
        return named("--envoy", path);
    }
    if let Some(path) = env::var_os(ENV).filter(|value| !value.is_empty()) {
        return named(&format!("${ENV}"), Path::new(&path));
    }
    if let Ok(path) = which::which("envoy") {
        return Ok(absolute(path)?);
    }
    let exe = env::current_exe().ok();
    // A test binary lies in target/debug/deps, a user's in target/release: the tree is some directories up.
    let above = exe.iter().flat_map(|exe| exe.ancestors().skip(1)).map(Path::to_owned);
    let trees = env::current_dir().into_iter().chain(above);
    match trees.map(|tree| tree.join("target/envoy")).find_map(|builds| newest(&builds)) {
        Some(path) => Ok(absolute(path)?),
        None => bail!("found no Envoy in PATH or target/envoy; run `make envoy`, or name one with --envoy or ${ENV}"),
    }
}

fn named(origin: &str, path: &Path) -> Result<PathBuf> {
    if !path.is_file() {
        bail!(
            "{origin} names {}, which is no file; run `make envoy`, or name the binary that you mean",
            path.display()
        );
    }
    Ok(absolute(path)?)
}

/// `BUILDS/1.40.0/envoy` rather than `BUILDS/1.9.0/envoy`.
fn newest(builds: &Path) -> Option<PathBuf> {
    let versions = std::fs::read_dir(builds).ok()?.filter_map(|entry| {
        let entry = entry.ok()?;
        Some((version(entry.file_name().to_str()?)?, entry.path().join("envoy")))
    });
    versions.filter(|(_, path)| path.is_file()).max().map(|(_, path)| path)
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
        let builds = tempfile::tempdir().unwrap();
        for (name, has_binary) in [("1.9.4", true), ("1.40.0", true), ("1.41.0", false), ("cache", true)] {
            fs::create_dir(builds.path().join(name)).unwrap();
            if has_binary {
                fs::write(builds.path().join(name).join("envoy"), "").unwrap();
            }
        }
        assert_eq!(newest(builds.path()), Some(builds.path().join("1.40.0/envoy")));
        assert_eq!(newest(&builds.path().join("absent")), None);
    }

    #[test]
    fn a_named_binary_that_is_missing_is_never_replaced_by_another() {
        let error = find(Some(Path::new("/absent/envoy"))).unwrap_err().to_string();
        assert!(error.starts_with("--envoy names /absent/envoy, which is no file; run `make envoy`"), "{error}");
    }
}
