//! What types cannot say about values.
//!
//! In: typed values. Out: one line for each key that is wrong, none when all is well. Refuses what Istio's API server,
//! its agent or the filter would refuse when it is too late to tell the operator.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{Delivery, Filter, Image, TracingMode, Values};
use crate::image::REPOSITORY_LENGTH;

mod collector;
mod shapes;
mod surroundings;

/// Istio's bounds (WasmPlugin's CRD).
const MAX_TARGET_REFS: usize = 16;
const MAX_ENV: usize = 256;
const MAX_ENV_NAME: usize = 256;
const MAX_ENV_VALUE: usize = 2048;

/// One line for each key that is wrong.
pub(super) fn check(values: &Values) -> Vec<String> {
    let mut wrong = Vec::new();
    let (mesh, filter) = (&values.mesh, &values.filter);
    let namespace = if filter.namespace.is_empty() {
        ("mesh.rootNamespace", &mesh.root_namespace)
    } else {
        ("filter.namespace", &filter.namespace)
    };
    must(&mut wrong, is_label(namespace.1), format_args!("{}: {:?} is no namespace", namespace.0, namespace.1));
    let native = values.tracing.mode == TracingMode::Native;
    if !native {
        image(&filter.image, &mut wrong);
    }
    must(
        &mut wrong,
        native || filter.delivery == Delivery::Wasmplugin || filter.image.pull_secret.is_empty(),
        "filter.image.pullSecret: no EnvoyFilter can use it; set filter.delivery to wasmplugin",
    );
    target(filter, &mut wrong);
    env(filter, &mut wrong);
    config(values, &mut wrong);
    shapes::check(values, &mut wrong);
    collector::check(values, &mut wrong);
    surroundings::check(values, &mut wrong);
    wrong
}

fn image(image: &Image, wrong: &mut Vec<String>) {
    let Image { registry, repository, tag, digest, pull_secret, .. } = image;
    if registry.is_empty() {
        wrong.push(
            "filter.image.registry: is empty; push the filter with `otelmesh image push`, then name its registry"
                .to_owned(),
        );
    } else {
        let host = registry.split('/').next().unwrap_or_default();
        must(
            wrong,
            // Without a dot or a port the agent's library takes it for a repository of Docker's own registry.
            (host.contains(['.', ':']) || host == "localhost")
                && !registry.contains("://")
                && !registry.ends_with('/')
                && registry.bytes().all(|b| b.is_ascii_graphic()),
            format_args!(
                "filter.image.registry: {registry:?} must be a host with a dot in its name or with its port, and no scheme"
            ),
        );
    }
    let is_repository = REPOSITORY_LENGTH.contains(&repository.len())
        && repository.split('/').all(|part| {
            part.starts_with(is_lower_or_digit)
                && part.ends_with(is_lower_or_digit)
                && part.chars().all(|c| is_lower_or_digit(c) || "._-".contains(c))
        });
    must(
        wrong,
        is_repository,
        format_args!(
            "filter.image.repository: {repository:?} must be a lower-case path of 2 to 255 characters, without tag or digest"
        ),
    );
    tag_and_digest("filter.image", tag, digest, wrong);
    must(wrong, pull_secret.len() <= 253, "filter.image.pullSecret: is longer than the name of a Secret can be");
}

fn tag_and_digest(image: &str, tag: &str, digest: &str, wrong: &mut Vec<String>) {
    let is_tag = tag.len() <= 128
        && !tag.starts_with(['.', '-'])
        && tag.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    must(wrong, is_tag, format_args!("{image}.tag: {tag:?} is no tag"));
    let is_digest = digest.is_empty()
        || digest
            .strip_prefix("sha256:")
            .is_some_and(|hex| hex.len() == 64 && hex.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c)));
    must(wrong, is_digest, format_args!("{image}.digest: {digest:?} must be sha256: and 64 hex digits"));
}

fn target(filter: &Filter, wrong: &mut Vec<String>) {
    let labels = &filter.selector.match_labels;
    must(
        wrong,
        labels.is_empty() || filter.target_refs.is_empty(),
        "filter.targetRefs: is set together with filter.selector, of which Istio takes one; install the chart twice, \
         under two names, to have both",
    );
    for (key, value) in labels {
        must(
            wrong,
            !key.is_empty() && !key.contains('*') && !value.contains('*') && value.len() <= 63,
            format_args!("filter.selector.matchLabels: {key}={value} is no label; Istio takes no wildcards here"),
        );
    }
    must(
        wrong,
        filter.target_refs.len() <= MAX_TARGET_REFS,
        format_args!("filter.targetRefs: holds more than {MAX_TARGET_REFS} references"),
    );
    for (i, target) in filter.target_refs.iter().enumerate() {
        must(
            wrong,
            !target.kind.is_empty() && !target.name.is_empty(),
            format_args!("filter.targetRefs[{i}]: needs both kind and name"),
        );
    }
}

fn env(filter: &Filter, wrong: &mut Vec<String>) {
    let host: BTreeSet<&str> = filter.host_env.iter().map(String::as_str).collect();
    must(wrong, host.len() == filter.host_env.len(), "filter.hostEnv: names a variable twice");
    let names = host.iter().copied().map(|name| ("hostEnv", name));
    for (key, name) in names.chain(filter.env.keys().map(|name| ("env", name.as_str()))) {
        must(
            wrong,
            !name.is_empty() && name.len() <= MAX_ENV_NAME && !name.contains('='),
            format_args!("filter.{key}: {name:?} is no name of a variable"),
        );
    }
    for (name, value) in &filter.env {
        must(
            wrong,
            value.len() <= MAX_ENV_VALUE,
            format_args!("filter.env.{name}: is longer than the {MAX_ENV_VALUE} bytes that Istio takes"),
        );
    }
    let all = filter.env.keys().map(String::as_str).chain(host).collect::<BTreeSet<_>>();
    must(
        wrong,
        all.len() <= MAX_ENV,
        format_args!("filter.env: with filter.hostEnv names more than {MAX_ENV} variables"),
    );
}

fn config(values: &Values, wrong: &mut Vec<String>) {
    let mut config = values.filter.config.clone();
    let exporter = config.0.entry("exporter").or_insert_with(|| Value::Object(Map::new()));
    let cluster = exporter.get("cluster").and_then(Value::as_str).unwrap_or_default();
    // The templates derive the cluster when it is empty; the filter would refuse an empty one.
    if cluster.is_empty() && exporter.is_object() {
        exporter["cluster"] = "outbound|4318||derived".into();
    }
    match config.read() {
        Err((path, message)) => wrong.push(format!("filter.config.{path}: {message}")),
        Ok(config) => {
            if let Err(e) = config.check() {
                wrong.push(format!("filter.config.{e}"));
            }
        }
    }
}

fn must(wrong: &mut Vec<String>, holds: bool, sentence: impl std::fmt::Display) {
    if !holds {
        wrong.push(sentence.to_string());
    }
}

/// A DNS label (RFC 1123), as names of namespaces and Services are.
fn is_label(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.starts_with(is_lower_or_digit)
        && name.ends_with(is_lower_or_digit)
        && name.chars().all(|c| is_lower_or_digit(c) || c == '-')
}

fn is_lower_or_digit(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}
