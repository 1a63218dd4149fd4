//! Our reader against serde's, on the defaults with one thing after another changed.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::Config;

/// Everything that may be left out by default, so that changes reach it.
fn full() -> Value {
    let mut full = serde_json::to_value(Config::default()).unwrap();
    full["propagation"]["inject"] = json!(["b3", "baggage"]);
    full["propagation"]["boundaries"] = json!([{"hosts": ["*.example"], "policy": "strip"}]);
    full["propagation"]["inbound"] = json!({"extract": ["jaeger"], "inject": ["xray"], "clear": [], "trust": "none"});
    full["sampling"]["rules"] = json!([{
        "methods": ["GET"], "hosts": ["a"], "paths": ["/a/{id}"], "ports": [80], "headers": {"a": null, "b": "c"},
        "direction": "inbound", "ratio": 0.25, "maxPerSecond": 5,
    }]);
    full["sampling"]["keep"] = json!({"errors": true, "slowerThan": "250ms", "responseFlags": ["UF"]});
    full["routes"]["templates"] = json!(["/a/{id}"]);
    full["attributes"] = json!([
        {"name": "n", "type": "int", "requestHeader": "x"},
        {"name": "n", "property": "a.b"},
        {"name": "n", "property": ["a", "b.c"]},
    ]);
    full["resource"]["attributes"] = json!({"a": "b"});
    full
}

fn pointers(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| pointers(value, &format!("{at}/{key}"), all)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(n, value)| pointers(value, &format!("{at}/{n}"), all));
        }
        _ => {}
    }
}

fn serde(text: &str) -> Option<Config> {
    let config: Config = serde_json::from_str(text).ok()?;
    config.check().is_ok().then_some(config)
}

fn any_value() -> impl Strategy<Value = Value> {
    let words = ["all", "none", "b3", "1s", "250ms", "/a", "a", "", "keep", "string", "UF", "\u{e9}\"\\"];
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0u32..70_000).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0u16..1000).prop_map(|n| json!(f64::from(n) / 500.0)),
        prop::sample::select(words.to_vec()).prop_map(Value::from),
        Just(json!([])),
        Just(json!(["b3"])),
        Just(json!({})),
        Just(json!({"unknown": 1})),
    ]
}

#[test]
fn every_key_that_serde_writes_is_read() {
    let text = full().to_string();
    assert_eq!(Config::parse(text.as_bytes()).unwrap(), serde(&text).unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn what_serde_takes_and_refuses_we_take_and_refuse(at in any::<prop::sample::Index>(), value in any_value()) {
        let mut config = full();
        let mut all = Vec::new();
        pointers(&config, "", &mut all);
        // Of the root itself, serde would take a list, and knows not that `null` means the defaults.
        all.retain(|pointer| !pointer.is_empty());
        let pointer = at.get(&all);
        *config.pointer_mut(pointer).unwrap() = value;
        let text = config.to_string();
        let ours = Config::parse(text.as_bytes());
        let theirs = serde(&text);
        prop_assert_eq!(ours.as_ref().ok(), theirs.as_ref(), "{} at {}: {:?}", text, pointer, ours);
    }
}
