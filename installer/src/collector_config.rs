//! The collector's configuration, validated before anything is changed: a collector that does not start takes all
//! telemetry with it.
//!
//! In: the objects that will be applied. Each ConfigMap entry that is a collector's configuration is read: every
//! component that a pipeline names must be configured, and with a collector binary at hand `validate` has the last word, of
//! a copy without what is only in pods. Refuses with every fault at once.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// What distributions call their binary.
const BINARIES: [&str; 3] = ["otelcol", "otelcol-contrib", "otelcol-k8s"];
const KINDS: [&str; 3] = ["receivers", "processors", "exporters"];
/// What stands for values that only a pod knows: an address, a name, a secret.
const STAND_IN: &str = "127.0.0.1";
/// Where every pod finds the API server.
const API_SERVER: [(&str, &str); 2] = [("KUBERNETES_SERVICE_HOST", STAND_IN), ("KUBERNETES_SERVICE_PORT", "443")];

/// Validates every collector configuration in objects.
///
/// # Errors
/// Each fault with the ConfigMap it is in, or the words of the collector.
pub fn validate(objects: &[Value], otelcol: Option<&Path>) -> Result<()> {
    let binary = match otelcol {
        Some(path) => Some(which::which(path).with_context(|| format!("--otelcol {} is no program", path.display()))?),
        None => BINARIES.iter().find_map(|name| which::which(name).ok()),
    };
    for (place, config) in configurations(objects) {
        let faults = faults(&config);
        if !faults.is_empty() {
            bail!("the collector would not start with {place}:\n  {}", faults.join("\n  "));
        }
        if let Some(binary) = &binary {
            ask(binary, &place, config, &variables(objects))?;
        }
    }
    Ok(())
}

/// The place and the meaning of each configuration.
fn configurations(objects: &[Value]) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for object in objects.iter().filter(|object| object["kind"] == "ConfigMap") {
        for (key, text) in object["data"].as_object().into_iter().flatten() {
            let text = text.as_str().unwrap_or_default();
            let config: Option<Value> = serde_saphyr::from_str(text).ok();
            if let Some(config) = config.filter(|config| config["service"]["pipelines"].is_object()) {
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                found.push((format!("{key} of ConfigMap {name}"), config));
            }
        }
    }
    found
}

/// What is wrong with a configuration whatever the collector's version.
fn faults(config: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let names = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned)).collect()
    };
    let has = |kind: &str, name: &str| config[kind].as_object().is_some_and(|map| map.contains_key(name));
    for (pipeline, parts) in config["service"]["pipelines"].as_object().into_iter().flatten() {
        for kind in KINDS {
            for name in names(&parts[kind]) {
                // A connector ends one pipeline and begins another.
                let connects = kind != "processors" && has("connectors", &name);
                if !has(kind, &name) && !connects {
                    faults.push(format!("service.pipelines.{pipeline}.{kind}: {name} is not under {kind}"));
                }
            }
        }
        for kind in ["receivers", "exporters"] {
            if names(&parts[kind]).is_empty() {
                faults.push(format!("service.pipelines.{pipeline}.{kind}: is empty"));
            }
        }
        let limiter = names(&parts["processors"]).iter().position(|name| name.starts_with("memory_limiter"));
        if limiter.is_some_and(|place| place > 0) {
            faults.push(format!("service.pipelines.{pipeline}.processors: memory_limiter must come first"));
        }
    }
    for name in names(&config["service"]["extensions"]) {
        if !has("extensions", &name) {
            faults.push(format!("service.extensions: {name} is not under extensions"));
        }
    }
    faults
}

/// Names of what containers get from their pod or from Secrets.
fn variables(objects: &[Value]) -> Vec<&str> {
    let containers = objects.iter().filter_map(|object| object.pointer("/spec/template/spec/containers")?.as_array());
    let variables = containers.flatten().filter_map(|container| container["env"].as_array()).flatten();
    variables.filter(|variable| variable["valueFrom"].is_object()).filter_map(|v| v["name"].as_str()).collect()
}

/// Leaves out what a collector reads, when it is made, from files that only pods have.
fn outside_of_a_pod(config: &mut Value, dir: &Path) {
    let is = |name: &str, types: [&str; 2]| name.split('/').next().is_some_and(|kind| types.contains(&kind));
    for (name, kubelet) in config["receivers"].as_object_mut().into_iter().flatten() {
        if let Some(kubelet) = kubelet.as_object_mut().filter(|_| is(name, ["kubelet_stats", "kubeletstats"])) {
            kubelet.insert("auth_type".to_owned(), "none".into());
            kubelet.remove("ca_file");
        }
    }
    for (name, storage) in config["extensions"].as_object_mut().into_iter().flatten() {
        if let Some(storage) = storage.as_object_mut().filter(|_| is(name, ["file_storage", "filestorage"])) {
            storage.insert("directory".to_owned(), dir.display().to_string().into());
        }
    }
}

fn ask(binary: &Path, place: &str, mut config: Value, variables: &[&str]) -> Result<()> {
    let dir = tempfile::tempdir().context("cannot make a temporary directory for the collector's configuration")?;
    let file = dir.path().join("collector.yaml");
    outside_of_a_pod(&mut config, dir.path());
    // JSON is YAML.
    fs::write(&file, config.to_string()).with_context(|| format!("cannot write {}", file.display()))?;
    let mut command = Command::new(binary);
    command.arg("validate").arg("--config").arg(&file);
    command.envs(variables.iter().map(|name| (name, STAND_IN))).envs(API_SERVER);
    let output = command.output().with_context(|| format!("cannot run {}", binary.display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{} refuses {place}:\n{}\nif that collector is another version than collector.version, name the right one \
             with --otelcol",
            binary.display(),
            said.trim()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(config: &str) -> Value {
        json!({"kind": "ConfigMap", "metadata": {"name": "collector"}, "data": {"relay.yaml": config, "other": "a: 1"}})
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let config = "receivers: {otlp: {}}\nprocessors: {memory_limiter: {}, a: {}}\nexporters: {debug: {}}\n\
            connectors: {count: {}}\nextensions: {}\nservice:\n  extensions: [health_check]\n  pipelines:\n    \
            traces: {receivers: [otlp], processors: [a, memory_limiter], exporters: [debug, count]}\n    \
            metrics: {receivers: [count, zipkin], exporters: []}\n";
        let error = validate(&[object(config)], None).unwrap_err().to_string();
        for words in [
            "relay.yaml of ConfigMap collector",
            "service.pipelines.traces.processors: memory_limiter must come first",
            "service.pipelines.metrics.receivers: zipkin is not under receivers",
            "service.pipelines.metrics.exporters: is empty",
            "service.extensions: health_check is not under extensions",
        ] {
            assert!(error.contains(words), "{error} does not say {words}");
        }
        assert!(!error.contains("count"), "a connector is a receiver and an exporter: {error}");
    }

    #[test]
    fn a_collector_at_hand_has_the_last_word() {
        let config = "receivers: {otlp: {}}\nexporters: {debug: {}}\nservice: {pipelines: {traces: {receivers: [otlp], exporters: [debug]}}}";
        assert!(validate(&[object(config)], Some(Path::new("/bin/true"))).is_ok());
        let error = validate(&[object(config)], Some(Path::new("/bin/false"))).unwrap_err().to_string();
        assert!(error.contains("refuses relay.yaml of ConfigMap collector"), "{error}");
        assert!(validate(&[object(config)], Some(Path::new("/nonexistent"))).is_err());
    }
}
