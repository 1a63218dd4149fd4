//! Panics of the filter in sidecars and at a gateway, also while it gets another image and another configuration.

use std::cell::RefCell;
use std::fs;

use otelmesh_e2e::mesh::{Answers, FRONTEND, INGRESS, Mesh};
use otelmesh_e2e::tools::{root, run};
use serde_json::{Value, json};

use crate::gateway::{self, OUTSIDE};

const TRAP: &str = "x-otelmesh-trap: request";
/// Whose proxies panic, who asks them, and what for.
const ASKED: [(&str, &str, &str); 2] = [("client", "client", FRONTEND), (INGRESS, OUTSIDE, gateway::URL)];

#[test]
fn panics_cost_no_request_in_sidecars_and_at_a_gateway_also_during_updates_and_are_counted() {
    let mesh = Mesh::enter("panic");
    mesh.lend(&gateway::front());
    let images = ["trap", "another-trap"].map(|tag| push(&mesh, tag));
    let mut requests = 0;
    for delivery in ["wasmplugin", "envoyfilter"] {
        let values = |image: &str, delay: &str| {
            json!({"filter": {
                "delivery": delivery, "image": {"digest": image}, "config": {"batch": {"scheduleDelay": delay}},
            }})
        };
        mesh.install(&values(&images[0], "200ms"));
        mesh.wait_until("the gateway serves", || mesh.requests(OUTSIDE, &[gateway::URL]).bad() == 0);
        let loads = ASKED.map(|(_, from, url)| mesh.load(from, url));
        let panicking = RefCell::new(Vec::new());

        panic(&mesh, &panicking);
        // A worker goes on without the filter until its proxy restarts, or loads another image.
        update(&mesh, &values(&images[1], "200ms"));
        panic(&mesh, &panicking);
        update(&mesh, &values(&images[1], "300ms"));
        mesh.wait_until("the proxies have the configuration", || {
            ask(&mesh, &panicking);
            ASKED.iter().all(|(proxy, ..)| mesh.envoy(proxy, "config_dump?resource=ecds_filters").contains("300ms"))
        });

        let all = loads.into_iter().map(|load| load.end()).chain(panicking.into_inner());
        for answers in all {
            assert_eq!(answers.bad(), 0, "{delivery}: {answers:?}\n{}", mesh.diagnosis());
            requests += answers.requests;
        }
        mesh.renew_proxies();
    }
    mesh.done(&format!(
        "{requests} requests around panics in sidecars and at a gateway, before, between and during 2 updates under 2 \
         deliveries: 0 failed; counted"
    ));
}

/// The filter that panics when a request asks for it, as another image for each tag.
fn push(mesh: &Mesh, tag: &str) -> String {
    let mut module =
        fs::read(root().join("target/otelmesh-trap-guarded.wasm")).expect("make target/otelmesh-trap.wasm");
    // A custom section.
    module.extend([0, u8::try_from(tag.len()).expect("short") + 1, u8::try_from(tag.len()).expect("short")]);
    module.extend(tag.as_bytes());
    let file = mesh.file(&format!("{tag}.wasm"), &Value::Null);
    fs::write(&file, module).expect("a writable directory");
    mesh.push_module(&file, tag)
}

fn ask(mesh: &Mesh, panicking: &RefCell<Vec<Answers>>) {
    let asked = ASKED.map(|(_, from, url)| mesh.requests(from, &["-n", "4", "-H", TRAP, url]));
    panicking.borrow_mut().extend(asked);
}

/// Asks until both proxies counted another panic.
fn panic(mesh: &Mesh, panicking: &RefCell<Vec<Answers>>) {
    let before = ASKED.map(|(proxy, ..)| mesh.counter(proxy, "panics"));
    mesh.wait_until("both proxies count a panic", || {
        ask(mesh, panicking);
        let now = ASKED.map(|(proxy, ..)| mesh.counter(proxy, "panics"));
        now.iter().zip(before).all(|(now, before)| *now > before)
    });
}

fn update(mesh: &Mesh, values: &Value) {
    run(mesh.otelmesh(&["install", "--yes", "-f"]).arg(mesh.values(values)));
}
