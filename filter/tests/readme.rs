//! The README's tables against the code: every setting with its default, every counter.

use otelmesh_filter::config::Config;
use otelmesh_filter::stats;

const README: &str = include_str!("../../README.md");

/// `key.key`, and the default as the table prints it.
fn settings() -> Vec<(String, String)> {
    let config = serde_json::to_value(Config::default()).unwrap();
    let mut all = Vec::new();
    for (section, value) in config.as_object().unwrap() {
        match value.as_object() {
            Some(keys) => all.extend(keys.iter().map(|(key, value)| (format!("{section}.{key}"), print(value)))),
            None => all.push((section.clone(), print(value))),
        }
    }
    all
}

fn print(value: &serde_json::Value) -> String {
    use serde_json::Value;
    match value {
        Value::String(text) => text.replace('|', "\\|"),
        Value::Array(items) => items.iter().map(print).collect::<Vec<_>>().join(", "),
        Value::Null => String::new(),
        // A group of settings that are all unset, or off.
        Value::Object(map) if map.values().all(|v| v == &Value::Bool(false) || print(v).is_empty()) => String::new(),
        Value::Number(number) => number.as_f64().unwrap().to_string(),
        other => other.to_string(),
    }
}

#[test]
fn every_setting_stands_in_the_table_with_its_default() {
    for (key, default) in settings() {
        let default = if default.is_empty() { String::new() } else { format!("`{default}` ") };
        let row = format!("| `{key}` | {default}| ");
        assert!(README.contains(&row), "README.md lacks the row {row}");
    }
}

#[test]
fn every_counter_stands_in_the_table_and_no_other() {
    let named: Vec<&str> =
        README.split('`').filter(|word| word.starts_with("otelmesh_") && !word.contains('*')).collect();
    for name in stats::names() {
        assert!(named.contains(&name), "README.md lacks the counter {name}");
    }
    for name in named {
        assert!(stats::names().any(|known| known == name), "README.md names a counter {name} that is none");
    }
}

/// The sources of the tests against real parts.
fn tests_of_real_parts(dir: &std::path::Path, text: &mut String) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests_of_real_parts(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn what_we_claim_beside_others_is_held_by_a_test_that_is_there() {
    let mut tests = String::new();
    tests_of_real_parts(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e/tests"), &mut tests);
    let (_, table) = README.split_once("## Beside others").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let claims: Vec<&str> = table.lines().filter(|line| line.contains("| ● |")).collect();
    assert!(claims.len() > 10);
    for claim in claims {
        let name = claim.rsplit('`').nth(1).unwrap_or_else(|| panic!("no test in {claim}"));
        assert!(tests.contains(&format!("fn {name}()")), "there is no test {name}");
    }
}
