//! The filter's image: a proxy that cannot pull it runs without the filter, and says so nowhere else.

use super::{Findings, Snapshot, finding};

pub(super) fn there(snapshot: &Snapshot) -> Findings {
    let mut findings = Vec::new();
    for (image, digest) in &snapshot.images {
        let pinned = image.split_once('@').map(|(_, digest)| digest);
        match digest {
            Err(reason) => findings.push(finding(
                format!("{image} cannot be found: {reason}"),
                "otelmesh image push REGISTRY/REPOSITORY, then set filter.image to what it prints; proxies must reach \
                 the registry too",
            )),
            Ok(digest) if pinned.is_some_and(|pinned| pinned != digest) => findings.push(finding(
                format!("the registry gives {digest} for {image}"),
                "set filter.image.digest to what `otelmesh image push` printed",
            )),
            Ok(_) => {}
        }
    }
    Ok(findings)
}
