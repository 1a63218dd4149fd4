//! `otelmesh render` as its user sees it: the same values give the same bytes. OTELMESH_UPDATE=1 writes the golden files
//! anew; look at what changed before you commit.

use std::process::{Command, Output};

fn otelmesh(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_otelmesh")).args(args).output().unwrap()
}

fn golden(name: &str, args: &[&str]) {
    let output = otelmesh(&[&["render"], args].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("OTELMESH_UPDATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{path} differs from what is rendered");
}

#[test]
fn the_whole_mesh_by_default() {
    golden("the_whole_mesh_by_default.yaml", &["--set", "filter.image.registry=registry.example.com"]);
}

#[test]
fn waypoints_by_reference_and_by_digest() {
    golden(
        "waypoints_by_reference_and_by_digest.yaml",
        &[
            "-f",
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/waypoints.values.yaml"),
            "--release-name",
            "waypoints",
        ],
    );
}

#[test]
fn one_object_as_json() {
    golden(
        "one_object_as_json.json",
        &["--set", "filter.image.registry=r.example", "-o", "json", "--show-only", "templates/mesh/telemetry.yaml"],
    );
}

#[test]
fn errors_leave_standard_output_empty_and_name_the_key() {
    for (args, words) in [
        (vec!["render"], "wrong values:\n  filter.image.registry: is empty"),
        (vec!["render", "--set", "a"], "--set \"a\" has a key without a value"),
        (vec!["render", "--set-json", "a={"], "--set-json \"a={\" holds no JSON"),
        (vec!["render", "-f", "/nonexistent.yaml"], "cannot read the values file /nonexistent.yaml"),
        (vec!["render", "--show-only", "templates/x.yaml"], "--show-only templates/x.yaml is no template of the chart"),
        (
            vec!["render", "--set", "filter.image.registry=r.example", "--release-name", "A_b"],
            "--release-name \"A_b\" must be",
        ),
    ] {
        let output = otelmesh(&args);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && output.stdout.is_empty(), "{args:?}");
        assert!(errors.starts_with(&format!("otelmesh: {words}")), "{args:?} gave {errors}");
    }
}

#[test]
fn completion_knows_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = String::from_utf8(otelmesh(&["completion", shell]).stdout).unwrap();
        for command in ["render", "image", "completion"] {
            assert!(script.contains(command), "{shell} does not complete {command}");
        }
    }
}
