//! What manifests/README.md promises: templates and tests that exist, and presets that are what it says.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::render;

const README: &str = include_str!("../../../../manifests/README.md");

/// The cells of the rows of a table whose first cell `is_row` knows.
fn rows(is_row: impl Fn(&str) -> bool) -> Vec<Vec<String>> {
    let lines = README.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let cells = lines.map(|line| line.split(" | ").map(|cell| cell.trim().to_owned()).collect::<Vec<_>>());
    cells.filter(|cells| is_row(&cells[0])).collect()
}

#[test]
fn every_row_names_templates_and_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let is_mission =
        |cell: &str| cell.starts_with(['B', 'C', 'D']) && cell[1..].starts_with(|c: char| c.is_ascii_digit());
    let rows = rows(is_mission);
    let named: Vec<&str> = rows.iter().map(|row| row[0].split(' ').next().unwrap()).collect();
    let wanted = (1..=11).map(|n| format!("B{n}")).chain((1..=12).map(|n| format!("C{n}")));
    // D5, D8 and D9 are commands.
    let wanted: Vec<String> = wanted.chain([1, 2, 3, 4, 6, 7].map(|n| format!("D{n}"))).collect();
    assert_eq!(named, wanted);
    for row in &rows {
        let files = row[1].split('`').filter(|part| !part.trim().is_empty());
        for file in files {
            assert!(root.join("manifests").join(file).is_file(), "{}: no manifests/{file}", row[0]);
        }
        // Each file in backquotes, and after it the names of its tests.
        let parts: Vec<&str> = row[2].split('`').collect();
        for pair in parts[1..].chunks(2) {
            let (file, tests) = (pair[0], pair[1]);
            let source = fs::read_to_string(root.join(file)).unwrap_or_else(|e| panic!("{}: {file}: {e}", row[0]));
            assert!(!tests.trim().is_empty(), "{}: {file} has no tests", row[0]);
            for test in tests.split_whitespace() {
                assert!(source.contains(&format!("fn {test}()")), "{}: {file} has no test {test}", row[0]);
            }
        }
    }
}

#[test]
fn the_presets_are_what_the_table_says() {
    let rows = rows(|cell| ["small", "medium", "large"].contains(&cell));
    assert_eq!(rows.len(), 3);
    for row in rows {
        let set = format!(
            "filter.image.registry=r,collector.preset={},collector.exporters.j.type=otlp_grpc,collector.exporters.j.endpoint=j",
            row[0]
        );
        let objects = render(&[&set]).unwrap();
        let value = |kind: &str| &objects.iter().find(|o| o.kind() == kind).unwrap().value;
        let requests = &value("Deployment")["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"];
        let config: Value =
            serde_saphyr::from_str(value("ConfigMap")["data"]["config.yaml"].as_str().unwrap()).unwrap();
        let queue = &config["exporters"]["otlp_grpc/j"]["sending_queue"];
        let text = |value: &Value| value.to_string().trim_matches('"').to_owned();
        let found = [
            text(&requests["cpu"]).trim_end_matches('m').to_owned(),
            text(&requests["memory"]).trim_end_matches("Mi").to_owned(),
            text(&queue["queue_size"]),
            text(&queue["batch"]["min_size"]),
            text(&queue["batch"]["flush_timeout"]),
        ];
        assert_eq!(row[1..], found, "{}", row[0]);
    }
}
