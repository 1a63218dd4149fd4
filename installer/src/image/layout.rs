//! An image on disk, as the OCI image layout says.
//!
//! In: an [`Image`] and a path, or a directory that holds one. Out: the directory or an archive of it, or the image.
//! Refuses a directory that holds something else, more than one image, or a blob that is not what its digest says.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::pack::{self, CONFIG_TYPE, Descriptor, Image, LAYER_TYPE, MANIFEST_TYPE, Manifest};

const MARK: &str = "oci-layout";
const MARK_TEXT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
const INDEX: &str = "index.json";
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
const BLOBS: &str = "blobs/sha256";

/// Why a layout was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// A file could not be read or written.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Something else is where the layout should go.
    #[error("{0} holds files that are no image layout; name an empty or a new directory")]
    Occupied(PathBuf),
    /// What is there is not the image that `otelmesh image build` writes.
    #[error("{path} holds no filter image: {message}; write one with `otelmesh image build -o {path}`")]
    NoImage {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u32,
    media_type: String,
    manifests: Vec<Descriptor>,
}

/// Writes a layout, over an older one if there is one.
///
/// # Errors
/// [`LayoutError`], which names the path.
pub fn write(image: &Image, dir: &Path) -> Result<(), LayoutError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error| LayoutError::File { path, error }
    };
    let occupied = dir.exists() && fs::read_dir(dir).map_err(at(dir))?.next().is_some();
    if occupied && !dir.join(MARK).is_file() {
        return Err(LayoutError::Occupied(dir.to_owned()));
    }
    let blobs = dir.join(BLOBS);
    if blobs.exists() {
        fs::remove_dir_all(&blobs).map_err(at(&blobs))?;
    }
    fs::create_dir_all(&blobs).map_err(at(&blobs))?;
    for (path, bytes) in files(image) {
        let path = dir.join(path);
        fs::write(&path, bytes).map_err(at(&path))?;
    }
    Ok(())
}

/// Writes a layout as a tar archive.
///
/// # Errors
/// [`LayoutError::File`].
pub fn write_archive(image: &Image, path: &Path) -> Result<(), LayoutError> {
    let mut tar = tar::Builder::new(Vec::new());
    let built = files(image).into_iter().try_for_each(|(path, bytes)| pack::append(&mut tar, &path, &bytes));
    built
        .and_then(|()| tar.into_inner())
        .and_then(|bytes| fs::write(path, bytes))
        .map_err(|error| LayoutError::File { path: path.to_owned(), error })
}

/// Reads a layout and checks every digest in it.
///
/// # Errors
/// [`LayoutError`], which names the path.
pub fn read(dir: &Path) -> Result<Image, LayoutError> {
    let no_image = |message: String| LayoutError::NoImage { path: dir.to_owned(), message };
    let get = |path: &Path| fs::read(path).map_err(|error| no_image(format!("{}: {error}", path.display())));
    let index: Index =
        serde_json::from_slice(&get(&dir.join(INDEX))?).map_err(|e| no_image(format!("{INDEX}: {e}")))?;
    let [manifest] = index.manifests.as_slice() else {
        return Err(no_image(format!("{INDEX} names {} images, not one", index.manifests.len())));
    };
    let blob = |descriptor: &Descriptor, media_type: &str| {
        if descriptor.media_type != media_type {
            return Err(no_image(format!("it has a {} where a {media_type} belongs", descriptor.media_type)));
        }
        let hex = descriptor.digest.strip_prefix("sha256:").filter(|hex| hex.chars().all(|c| c.is_ascii_hexdigit()));
        let hex = hex.ok_or_else(|| no_image(format!("{:?} is no sha256 digest", descriptor.digest)))?;
        let bytes = get(&dir.join(BLOBS).join(hex))?;
        if pack::digest(&bytes) == descriptor.digest {
            Ok(bytes)
        } else {
            Err(no_image(format!("blob {hex} is not what its digest says")))
        }
    };
    let bytes = blob(manifest, MANIFEST_TYPE)?;
    let parsed: Manifest = serde_json::from_slice(&bytes).map_err(|e| no_image(format!("its manifest: {e}")))?;
    let [layer] = parsed.layers.as_slice() else {
        return Err(no_image(format!("it has {} layers, not one", parsed.layers.len())));
    };
    Ok(Image {
        digest: manifest.digest.clone(),
        config: blob(&parsed.config, CONFIG_TYPE)?,
        layer: blob(layer, LAYER_TYPE)?,
        manifest: bytes,
    })
}

/// The files of a layout, by their paths in it.
fn files(image: &Image) -> Vec<(String, Vec<u8>)> {
    let mut manifest = pack::descriptor(MANIFEST_TYPE, &image.manifest);
    manifest.annotations.insert("org.opencontainers.image.ref.name".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    let index = Index { schema_version: 2, media_type: INDEX_TYPE.to_owned(), manifests: vec![manifest] };
    let index = serde_json::to_vec(&index).unwrap_or_default();
    let blob =
        |bytes: &Vec<u8>| (format!("{BLOBS}/{}", pack::digest(bytes).trim_start_matches("sha256:")), bytes.clone());
    vec![
        (MARK.to_owned(), MARK_TEXT.as_bytes().to_vec()),
        (INDEX.to_owned(), index),
        blob(&image.config),
        blob(&image.layer),
        blob(&image.manifest),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(module: &str) -> Image {
        Image::pack(module.as_bytes()).unwrap()
    }

    #[test]
    fn what_was_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        write(&image("a"), dir.path()).unwrap();
        assert_eq!(read(dir.path()).unwrap(), image("a"));
    }

    #[test]
    fn a_layout_replaces_an_older_one_whole() {
        let dir = tempfile::tempdir().unwrap();
        write(&image("a"), dir.path()).unwrap();
        write(&image("b"), dir.path()).unwrap();
        assert_eq!(read(dir.path()).unwrap(), image("b"));
        assert_eq!(fs::read_dir(dir.path().join(BLOBS)).unwrap().count(), 3);
    }

    #[test]
    fn files_that_are_no_layout_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("thesis.txt");
        fs::write(&file, "years of work").unwrap();
        assert!(matches!(write(&image("a"), dir.path()), Err(LayoutError::Occupied(_))));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_blob_that_was_changed_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        write(&image("a"), dir.path()).unwrap();
        let layer = dir.path().join(BLOBS).join(pack::digest(&image("a").layer).trim_start_matches("sha256:"));
        fs::write(layer, "other").unwrap();
        assert!(read(dir.path()).unwrap_err().to_string().contains("is not what its digest says"));
    }

    #[test]
    fn a_digest_cannot_lead_out_of_the_layout() {
        let dir = tempfile::tempdir().unwrap();
        write(&image("a"), dir.path()).unwrap();
        let index = fs::read_to_string(dir.path().join(INDEX)).unwrap();
        fs::write(dir.path().join(INDEX), index.replacen("sha256:", "sha256:../../", 1)).unwrap();
        assert!(read(dir.path()).unwrap_err().to_string().contains("is no sha256 digest"));
    }

    #[test]
    fn a_directory_without_a_layout_says_how_to_get_one() {
        let dir = tempfile::tempdir().unwrap();
        let error = read(dir.path()).unwrap_err().to_string();
        assert!(error.contains("holds no filter image") && error.contains("otelmesh image build -o"), "{error}");
    }

    #[test]
    fn an_archive_is_the_same_every_time() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a.tar"), dir.path().join("b.tar"));
        write_archive(&image("a"), &a).unwrap();
        write_archive(&image("a"), &b).unwrap();
        assert_eq!(fs::read(a).unwrap(), fs::read(b).unwrap());
    }
}
