//! The presets are what manifests/README.md says.

use serde_json::Value;

use super::render;

const README: &str = include_str!("../../../../manifests/README.md");

#[test]
fn the_presets_are_what_the_table_says() {
    let lines = README.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let cells = lines.map(|line| line.split(" | ").collect::<Vec<_>>());
    let rows: Vec<_> = cells.filter(|cells| ["small", "medium", "large"].contains(&cells[0])).collect();
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
