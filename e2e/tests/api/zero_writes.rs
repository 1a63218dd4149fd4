//! Commands that only look write nothing: the API server's audit log is the witness.

use otelmesh_e2e::tools::{otelmesh, run};

use crate::cluster::Cluster;

#[test]
fn commands_that_look_write_nothing() {
    let cluster = Cluster::new("looks");
    let values = cluster.values();
    let looks = |installed: bool| {
        for args in [
            vec!["diff", "--set", &values],
            vec!["status"],
            vec!["history"],
            vec!["uninstall", "--dry-run"],
            vec!["install", "--dry-run", "--set", &values],
            vec!["rollback", "1", "--dry-run"],
            vec!["check", "--pre", "--set", &values],
            vec!["check"],
        ] {
            let output = cluster.command(&args).output().unwrap();
            assert!(installed || output.status.code().is_some(), "{args:?}");
        }
        run(otelmesh().args(["images", "--set", &values]));
    };
    looks(false);
    assert_eq!(cluster.server.writes("looks"), [""; 0]);
    assert!(cluster.server.audit("looks").len() > 20, "the audit log sees what is read");
    run(&mut cluster.apply(&["install"], ""));
    let written = cluster.server.writes("looks");
    assert!(written.len() >= 5, "and what is written: {written:?}");
    looks(true);
    assert_eq!(cluster.server.writes("looks"), written);
}

#[test]
fn diff_says_by_its_exit_code_whether_there_is_a_difference() {
    let cluster = Cluster::new("differs");
    let diff = |set: &str| {
        let output = cluster.command(&["diff", "-o", "json", "--set", &format!("{}{set}", cluster.values())]).output();
        let output = output.unwrap();
        (output.status.code(), serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap_or_default())
    };
    let (code, document) = diff("");
    assert_eq!(code, Some(1));
    assert_eq!(document["changes"].as_array().unwrap().len(), 3);
    run(&mut cluster.apply(&["install"], ""));
    assert_eq!(diff("").0, Some(0));
    let (code, document) = diff(",filter.priority=7");
    assert_eq!(code, Some(1));
    let change = &document["changes"][0];
    assert_eq!((&change["kind"], &change["action"]), (&"WasmPlugin".into(), &"update".into()));
    assert_eq!(change["fields"][0]["path"], "spec.priority");
    assert_eq!((&change["fields"][0]["before"], &change["fields"][0]["after"]), (&1000.into(), &7.into()));
    assert_eq!(diff(",filter.phase=FIRST").0, Some(2), "wrong values");
    let nobody = cluster.server.kubeconfig_for("https://127.0.0.1:1", None, &[]);
    let output = cluster.command_as(&nobody, &["diff", "--set", &cluster.values()]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("https://127.0.0.1:1/ does not answer") && said.contains("--context"), "{said}");
}
