//! What was installed: whether it is complete, unchanged and ready.

use super::{Findings, Snapshot, finding};
use crate::health::Health;
use crate::release::State;

pub(super) fn installed(snapshot: &Snapshot) -> Findings {
    let release = &snapshot.release;
    Ok(match snapshot.state {
        State::Deployed => vec![],
        State::NotInstalled => vec![finding(
            format!("there is no release {} in namespace {}", release.name, release.namespace),
            "otelmesh install",
        )],
        State::Interrupted => vec![finding(
            "a run was cut off, or is under way",
            "otelmesh history, then the command that was cut off once more",
        )],
    })
}

pub(super) fn drift(snapshot: &Snapshot) -> Findings {
    let lines = snapshot.drift.as_ref().map_err(Clone::clone)?;
    Ok(lines.iter().map(|line| finding(line, "otelmesh upgrade puts it back; otelmesh diff shows all of it")).collect())
}

pub(super) fn workloads(snapshot: &Snapshot) -> Findings {
    let ill = snapshot.health.iter().filter_map(|(id, health)| match health {
        Health::Healthy => None,
        Health::Progressing(reason) | Health::Failed(reason) => Some(finding(
            format!("{id}: {reason}"),
            format!("kubectl describe {} -n {} {}", id.kind.to_lowercase(), id.namespace, id.name),
        )),
    });
    Ok(ill.collect())
}
