//! Killed at every write, on either side of it: the next run converges. Two runs at once do not corrupt.

use std::process::{Child, Stdio};
use std::time::Duration;

use otelmesh_e2e::interruption::{Interruption, Side};
use otelmesh_e2e::tools::run;

use crate::cluster::Cluster;

/// Far longer than any command takes.
const PATIENCE: Duration = Duration::from_secs(120);
const MORE: &str = ",filter.priority=7,tracing.telemetry=false";

/// Runs a command that is killed at a write; false if it came to its end before.
fn killed(cluster: &Cluster, args: &[&str], set: Option<&str>, last: usize, side: Side) -> bool {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let way = Interruption::start(&cluster.kubeconfig, last, side).await;
        let kubeconfig = cluster.server.kubeconfig_for(&way.url, None, &[]);
        let mut command = cluster.command_as(&kubeconfig, args);
        command.arg("--yes").stdout(Stdio::null()).stderr(Stdio::null());
        if let Some(set) = set {
            command.args(["--set", &format!("{}{set}", cluster.values())]);
        }
        let mut child = command.spawn().unwrap();
        let killed = tokio::select! {
            () = way.reached() => true,
            () = ended(&mut child) => false,
            () = tokio::time::sleep(PATIENCE) => panic!("{args:?} neither ends nor comes to write {last}"),
        };
        child.kill().unwrap();
        let status = child.wait().unwrap();
        assert!(killed || status.success(), "{args:?} with {} writes fails by itself", way.seen());
        killed
    })
}

async fn ended(child: &mut Child) {
    while child.try_wait().unwrap().is_none() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Every write of a command, from both sides, until it came to its end.
fn at_every_write(mut test: impl FnMut(usize, Side) -> bool) -> usize {
    let mut last = 1;
    while [Side::Before, Side::After].map(|side| test(last, side)) == [true, true] {
        last += 1;
    }
    last - 1
}

fn assert_converged(cluster: &Cluster, members: usize, when: &str) {
    run(&mut cluster.command(&["status"]));
    assert_eq!(cluster.members().len(), members, "{when}: {:?}", cluster.members());
}

#[test]
fn an_install_that_is_killed_is_taken_up_and_can_be_undone() {
    let cluster = Cluster::new("kill-install");
    let writes = at_every_write(|last, side| {
        let when = format!("killed at write {last}, {side:?}");
        let was_killed = killed(&cluster, &["install"], Some(""), last, side);
        if last % 2 == 0 {
            // Taken back: nothing is left, not even of what was begun.
            run(&mut cluster.command(&["uninstall", "--yes", "--wait=false"]));
            assert_eq!(cluster.members(), [""; 0], "{when}");
            assert!(cluster.get(&["wasmplugin", "kill-install", "-n", "kill-install-root"]).is_null(), "{when}");
            cluster.free();
        } else {
            run(&mut cluster.apply(&["install"], ""));
            assert_converged(&cluster, 3, &when);
            run(&mut cluster.command(&["uninstall", "--yes", "--wait=false"]));
            cluster.free();
        }
        was_killed
    });
    assert!(writes >= 6, "namespace, parent, revision, two objects, parent again; there were {writes}");
}

#[test]
fn an_upgrade_that_is_killed_goes_on_forward_and_back() {
    let cluster = Cluster::new("kill-upgrade");
    run(&mut cluster.apply(&["install"], ""));
    let writes = at_every_write(|last, side| {
        let when = format!("killed at write {last}, {side:?}");
        let was_killed = killed(&cluster, &["upgrade"], Some(MORE), last, side);
        if side == Side::Before {
            run(&mut cluster.apply(&["upgrade"], MORE));
            assert_converged(&cluster, 2, &when);
        }
        run(&mut cluster.apply(&["install"], ""));
        assert_converged(&cluster, 3, &when);
        was_killed
    });
    assert!(writes >= 5, "parent, revision, objects, prune, parent again; there were {writes}");
    run(&mut cluster.apply(&["upgrade"], MORE));
    assert!(killed(&cluster, &["rollback"], None, 3, Side::After), "a rollback writes as an upgrade does");
    run(&mut cluster.command(&["rollback", "--yes"]));
    assert_converged(&cluster, 2, "back to the last that was complete");
}

#[test]
fn an_uninstall_that_is_killed_is_taken_up() {
    let cluster = Cluster::new("kill-uninstall");
    let writes = at_every_write(|last, side| {
        run(&mut cluster.apply(&["install"], ""));
        let was_killed = killed(&cluster, &["uninstall", "--wait=false"], None, last, side);
        run(&mut cluster.command(&["uninstall", "--yes", "--wait=false"]));
        assert!(cluster.parent().is_null(), "killed at write {last}, {side:?}");
        assert_eq!(cluster.revisions(), [""; 0], "killed at write {last}, {side:?}");
        assert!(cluster.get(&["telemetry", "kill-uninstall", "-n", "kill-uninstall-root"]).is_null());
        cluster.free();
        was_killed
    });
    assert!(writes >= 5, "two objects, namespace, revision, parent; there were {writes}");
}

#[test]
fn of_two_runs_at_once_one_wins_whole() {
    let cluster = Cluster::new("twice");
    run(&mut cluster.apply(&["install"], ""));
    for round in 0..6 {
        let one = format!(",filter.priority={},filter.phase=AUTHN", 10 + round);
        let two = format!(",filter.priority={},filter.phase=STATS,tracing.telemetry=false", 20 + round);
        let start =
            |set: &str| cluster.apply(&["install"], set).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let children = [start(&one), start(&two)];
        let ended = children.map(|child| child.wait_with_output().unwrap());
        let said: Vec<String> = ended.iter().map(|o| String::from_utf8_lossy(&o.stderr).into_owned()).collect();
        assert!(ended.iter().any(|output| output.status.success()), "{said:?}");
        run(&mut cluster.command(&["status"]));
        let spec = cluster.get(&["wasmplugin", "twice", "-n", "twice-root"])["spec"].clone();
        let telemetry = cluster.get(&["telemetry", "twice", "-n", "twice-root"]);
        match spec["phase"].as_str() {
            Some("AUTHN") => assert!(spec["priority"] == 10 + round && !telemetry.is_null(), "{spec} {said:?}"),
            _ => assert!(spec["priority"] == 20 + round && telemetry.is_null(), "{spec} {said:?}"),
        }
    }
}
