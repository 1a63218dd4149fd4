//! The filter module on disk.
//!
//! In: a path that the operator gave, or none. Out: where the module is. Refuses a path that was named and holds no
//! file, rather than taking another module in its place.

use std::env;
use std::path::{Path, PathBuf};

/// Names the module when no option does.
pub const ENV: &str = "OTELMESH_WASM";
/// What `make wasm` writes, and what a release puts beside the executable.
pub const FILE_NAME: &str = "otelmesh.wasm";

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
}
