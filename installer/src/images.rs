//! `otelmesh images`: every image that the cluster will pull, for registries that have to hold them first.
//!
//! In: values. Out: one image a line; with a registry, the image and its name there, which is what
//! `otelmesh install --image-registry` takes. Refuses wrong values as render does.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};

use crate::chart::Chart;
use crate::output::Format;
use crate::release::ReleaseArgs;
use crate::render::render;
use crate::values::Sources;

/// How Istio's objects call an image.
const OCI: &str = "oci://";
/// The registry of names that have none.
const DEFAULT_REGISTRY: &str = "docker.io";

/// Arguments of `otelmesh images`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  otelmesh images -f values.yaml
  otelmesh images -f values.yaml --registry registry.example.com | while read from to; do
    skopeo copy --all docker://$from docker://$to
  done
  otelmesh install -f values.yaml --image-registry registry.example.com")]
pub struct ImagesArgs {
    #[command(flatten)]
    release: ReleaseArgs,
    /// Registry that shall hold them, with a path if it needs one
    #[arg(long, value_name = "REGISTRY")]
    registry: Option<String>,
    /// One image a line, or a JSON list
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
    #[command(flatten)]
    sources: Sources,
}

// === impl ImagesArgs ===

impl ImagesArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn run(self) -> Result<ExitCode> {
        let rendered = render(&Chart::embedded()?, &self.sources, &self.release.release())?;
        let objects: Vec<Value> = rendered.into_iter().map(|object| object.value).collect();
        let images = images(&objects);
        let target = |image: &str| self.registry.as_deref().map(|registry| moved(image, registry));
        let mut text = String::new();
        let mut list = Vec::new();
        for image in &images {
            let target = target(image);
            text += &target.as_ref().map_or_else(|| format!("{image}\n"), |target| format!("{image} {target}\n"));
            list.push(json!({"image": image, "target": target}));
        }
        self.output.print(&text, &list)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The images in objects, without how an object calls them.
pub fn images(objects: &[Value]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut objects = objects.to_vec();
    objects.iter_mut().for_each(|object| visit(object, &mut |image| found.extend([image.clone()])));
    found
}

/// Takes every image from a registry, under the same repository, tag and digest.
pub fn rewrite(objects: &mut [Value], registry: &str) {
    objects.iter_mut().for_each(|object| visit(object, &mut |image| *image = moved(image, registry)));
}

/// Shows each image without its scheme, to be read or changed.
fn visit(value: &mut Value, see: &mut dyn FnMut(&mut String)) {
    match value {
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                match value {
                    Value::String(text) if text.starts_with(OCI) => {
                        let mut image = text.split_off(OCI.len());
                        see(&mut image);
                        text.push_str(&image);
                    }
                    Value::String(image) if key == "image" && !image.is_empty() => see(image),
                    value => visit(value, see),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| visit(item, see)),
        _ => {}
    }
}

/// The image's name in another registry.
fn moved(image: &str, registry: &str) -> String {
    let (first, rest) = image.split_once('/').unwrap_or(("", image));
    // A first part is a registry if it could not be a user of the default one.
    let is_registry = first.contains(['.', ':']) || first == "localhost";
    let repository = match (is_registry, first) {
        (true, DEFAULT_REGISTRY) if !rest.contains('/') => format!("library/{rest}"),
        (true, _) => rest.to_owned(),
        (false, "") => format!("library/{rest}"),
        (false, _) => image.to_owned(),
    };
    format!("{}/{repository}", registry.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_found_wherever_they_are_and_moved() {
        let mut objects = vec![
            json!({"kind": "DaemonSet", "spec": {"template": {"spec": {
                "initContainers": [{"image": "busybox:1"}], "containers": [{"image": "ghcr.io/otel/col:0.161.0"}]}}}}),
            json!({"kind": "WasmPlugin", "spec": {"url": "oci://r.example:5000/otelmesh/filter@sha256:ab"}}),
        ];
        let all = ["busybox:1", "ghcr.io/otel/col:0.161.0", "r.example:5000/otelmesh/filter@sha256:ab"];
        assert_eq!(images(&objects).into_iter().collect::<Vec<_>>(), all);
        rewrite(&mut objects, "mirror.example/all/");
        assert_eq!(objects[1]["spec"]["url"], "oci://mirror.example/all/otelmesh/filter@sha256:ab");
        assert!(images(&objects).iter().all(|image| image.starts_with("mirror.example/all/")));
    }

    #[test]
    fn a_name_without_a_registry_is_the_default_ones() {
        for (image, expected) in [
            ("busybox", "m/library/busybox"),
            ("docker.io/busybox:1", "m/library/busybox:1"),
            ("otel/collector", "m/otel/collector"),
            ("localhost/a", "m/a"),
            ("r:5000/a/b:1", "m/a/b:1"),
        ] {
            assert_eq!(moved(image, "m"), expected);
        }
    }
}
