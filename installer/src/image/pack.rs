//! From a module to an image, byte by byte the same every time.
//!
//! In: a checked module. Out: an [`Image`]: one gzipped tar layer that holds `plugin.wasm`, its configuration and its
//! manifest. This is the one form that all of Istio's agents take which registries and tools for containers take too: its
//! agent wants a single manifest, not an index, and as its last layer a gzipped tar.

use std::collections::BTreeMap;
use std::io::{self, Write};

use flate2::{Compression, GzBuilder};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Media type of the manifest.
pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of the configuration.
pub(super) const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
/// Media type of the layer; the agent refuses zstd and plain tar.
pub const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// The file that the agent looks for in the layer.
pub const PLUGIN: &str = "plugin.wasm";

/// An image in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Digest of the manifest, by which the image is pinned.
    pub digest: String,
    /// The manifest.
    pub manifest: Vec<u8>,
    /// The configuration.
    pub config: Vec<u8>,
    /// The layer.
    pub layer: Vec<u8>,
}

/// An OCI content descriptor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub media_type: String,
    pub digest: String,
    pub size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// An OCI image manifest. Structs, not maps, fix the order of the keys, on which the digest hangs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    pub schema_version: u32,
    pub media_type: String,
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Config<'a> {
    architecture: &'a str,
    os: &'a str,
    config: Labels<'a>,
    rootfs: RootFs,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Labels<'a> {
    labels: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct RootFs {
    r#type: &'static str,
    diff_ids: Vec<String>,
}

// === impl Image ===

impl Image {
    /// Packs a module.
    ///
    /// # Errors
    /// None that a module in memory can cause.
    pub fn pack(module: &[u8]) -> io::Result<Self> {
        let tar = tar(module)?;
        let layer = gzip(&tar)?;
        let about = about();
        // What the layer holds is no program for a machine. WASI's name says so, and keeps a container runtime from
        // starting it; Istio's agent never looks.
        let config = serde_json::to_vec(&Config {
            architecture: "wasm",
            os: "wasip1",
            config: Labels { labels: &about },
            rootfs: RootFs { r#type: "layers", diff_ids: vec![digest(&tar)] },
        })?;
        let manifest = serde_json::to_vec(&Manifest {
            schema_version: 2,
            media_type: MANIFEST_TYPE.to_owned(),
            config: descriptor(CONFIG_TYPE, &config),
            layers: vec![descriptor(LAYER_TYPE, &layer)],
            annotations: about,
        })?;
        Ok(Self { digest: digest(&manifest), manifest, config, layer })
    }
}

/// Annotations and labels. No time of creation: it would give each build another digest.
fn about() -> BTreeMap<String, String> {
    [
        ("title", "otelmesh filter"),
        ("description", "Envoy filter: trace context, OTLP spans and access logs"),
        ("version", env!("CARGO_PKG_VERSION")),
        ("licenses", env!("CARGO_PKG_LICENSE")),
    ]
    .map(|(key, value)| (format!("org.opencontainers.image.{key}"), value.to_owned()))
    .into()
}

pub(super) fn descriptor(media_type: &str, bytes: &[u8]) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: digest(bytes),
        size: bytes.len() as u64,
        annotations: BTreeMap::new(),
    }
}

pub(super) fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn tar(module: &[u8]) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    append(&mut tar, PLUGIN, module)?;
    tar.into_inner()
}

/// Appends a file that nobody owns, from the beginning of time.
pub(super) fn append<W: Write>(tar: &mut tar::Builder<W>, path: &str, bytes: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o444);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    tar.append_data(&mut header, path, bytes)
}

fn gzip(tar: &[u8]) -> io::Result<Vec<u8>> {
    // No time, no name, and 255 (unknown) for the operating system: gzip's header must not tell who packed.
    let mut gzip = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::best());
    gzip.write_all(tar)?;
    gzip.finish()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use serde_json::{Value, json};

    use super::*;

    fn image() -> Image {
        Image::pack(b"\0asm any bytes do here").unwrap()
    }

    #[test]
    fn the_same_module_gives_the_same_image() {
        assert_eq!(image(), image());
        assert_ne!(image().digest, Image::pack(b"\0asm other bytes").unwrap().digest);
        assert_eq!(&image().layer[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255], "gzip's header tells time or maker");
    }

    #[test]
    fn the_layer_holds_the_module_and_nothing_else() {
        let image = image();
        let mut archive = tar::Archive::new(GzDecoder::new(image.layer.as_slice()));
        let mut files = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            let header = entry.header();
            assert_eq!((header.mtime().unwrap(), header.uid().unwrap(), header.mode().unwrap()), (0, 0, 0o444));
            files.push((entry.path().unwrap().display().to_string(), bytes));
        }
        assert_eq!(files, [("plugin.wasm".to_owned(), b"\0asm any bytes do here".to_vec())]);
    }

    #[test]
    fn the_manifest_is_what_istios_agent_takes() {
        let image = image();
        let manifest: Value = serde_json::from_slice(&image.manifest).unwrap();
        assert_eq!(manifest["schemaVersion"], 2);
        assert_eq!(manifest["mediaType"], MANIFEST_TYPE);
        assert_eq!(
            manifest["layers"],
            json!([{"mediaType": LAYER_TYPE, "digest": digest(&image.layer), "size": image.layer.len()}])
        );
        assert_eq!(manifest["config"]["digest"], digest(&image.config));
        assert_eq!(manifest["annotations"]["org.opencontainers.image.version"], env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn the_configuration_names_the_layer_by_what_is_in_it() {
        let image = image();
        let config: Value = serde_json::from_slice(&image.config).unwrap();
        let mut tar = Vec::new();
        GzDecoder::new(image.layer.as_slice()).read_to_end(&mut tar).unwrap();
        assert_eq!(config["rootfs"], json!({"type": "layers", "diff_ids": [digest(&tar)]}));
        assert_eq!((&config["architecture"], &config["os"]), (&json!("wasm"), &json!("wasip1")));
    }
}
