//! Which requests of a mesh leave a record when hardly any should: those that fail.

use otelmesh_e2e::mesh::{HOPS, Mesh};
use serde_json::{Value, json};

const GOOD: &str = "http://frontend.shop:8080/orders/good";
const FAILING: &str = "http://frontend.shop:8080/status/500";
const REQUESTS: u64 = 10;

#[test]
fn only_what_fails_of_unsampled_traces_arrives_and_is_marked_as_such() {
    let mesh = Mesh::enter("sampling");
    mesh.install(&json!({"filter": {"config": {
        "sampling": {"ratio": 0, "keep": {"errors": true}},
        "logs": {"policy": "errors"},
    }}}));
    let before = mesh.settled();

    let good = mesh.requests("client", &["-n", &REQUESTS.to_string(), GOOD]);
    assert_eq!(good.bad(), 0, "{good:?}");
    let failed = mesh.requests("client", &[FAILING]);
    assert_eq!(failed.statuses["500"], 1, "{failed:?}");
    let answer: Value = serde_json::from_str(&failed.last).expect("JSON");
    let traceparent = answer["headers"]["Traceparent"][0].as_str().expect("an unsampled trace goes on, too");
    let (trace, unsampled) = (&traceparent[3..35], traceparent.ends_with("-00") || traceparent.ends_with("-02"));
    assert!(unsampled, "{traceparent}");

    for span in mesh.spans_of(trace, HOPS) {
        assert_eq!((span.text("otelmesh.kept"), span.flags & 1), ("error".to_owned(), 0), "{span:#?}");
    }
    for log in mesh.logs_of(trace, HOPS) {
        assert_eq!(log.body, "GET /status/500 500");
    }
    let after = mesh.settled();
    let (spans, logs) = (after.spans - before.spans, after.logs - before.logs);
    assert_eq!((spans.recorded, logs.recorded), (HOPS as u64, HOPS as u64), "nothing of the good ones");
    mesh.done(&format!(
        "{REQUESTS} good requests, 1 failing, none sampled: {HOPS} spans and {HOPS} logs of the failing one received, \
         marked as kept; nothing of the others"
    ));
}
