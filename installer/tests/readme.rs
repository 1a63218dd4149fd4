//! The README's table of rows against the tree: templates and tests that exist, and commands that give the templates.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const README: &str = include_str!("../../README.md");
/// What an installation must be told besides.
const NEEDED: &str = "filter.image.registry=registry.example.com,demo.image=registry.example.com/app,\
    collector.exporters.backend.type=otlp_grpc,collector.exporters.backend.endpoint=backend:4317";

/// A row's name, and its cells.
struct Row<'a> {
    name: &'a str,
    templates: Vec<&'a str>,
    commands: Vec<&'a str>,
    /// Each file with the tests in it.
    tests: Vec<(&'a str, &'a str)>,
}

fn rows() -> Vec<Row<'static>> {
    let (_, table) = README.split_once("\n## Rows\n").expect("the table");
    let (table, _) = table.split_once("</details>").expect("its end");
    let lines = table.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let cells = lines.map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    cells.skip(2).map(|cells| Row::of(&cells)).collect()
}

/// What stands in backquotes.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

fn otelmesh(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_otelmesh")).args(args).output().unwrap()
}

/// The arguments of a command.
fn arguments(command: &str) -> Vec<&str> {
    command.strip_prefix("otelmesh ").unwrap_or_else(|| panic!("{command} is none of ours")).split(' ').collect()
}

/// Whether a command that installs gives objects of a template.
fn gives(command: &str, template: &str) -> bool {
    let Some(("install", values)) = arguments(command).split_first().map(|(first, rest)| (*first, rest.to_vec()))
    else {
        return false;
    };
    let output = otelmesh(&[&["render", "--set", NEEDED][..], &values, &["--show-only", template]].concat());
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    !output.stdout.trim_ascii().is_empty()
}

// === impl Row ===

impl<'a> Row<'a> {
    fn of(cells: &[&'a str]) -> Self {
        let [row, templates, commands, tests] = cells else { panic!("{cells:?}") };
        // Each file in backquotes, and after it the names of its tests.
        let parts: Vec<&str> = tests.split('`').skip(1).collect();
        Self {
            name: row.split(' ').next().unwrap_or(row),
            templates: quoted(templates),
            commands: quoted(commands),
            tests: parts.chunks(2).map(|pair| (pair[0], pair[1])).collect(),
        }
    }
}

#[test]
fn every_row_of_the_mission_has_a_command_and_a_test() {
    let named: Vec<&str> = rows().iter().map(|row| row.name).collect();
    let wanted = [("B", 11), ("C", 12), ("D", 9), ("E", 2)];
    let wanted: Vec<String> =
        wanted.iter().flat_map(|(letter, last)| (1..=*last).map(move |n| format!("{letter}{n}"))).collect();
    assert_eq!(named, wanted);
    assert!(rows().iter().all(|row| !row.commands.is_empty() && !row.tests.is_empty()));
}

#[test]
fn every_file_and_test_that_a_row_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for row in rows() {
        for file in row.templates {
            assert!(root.join("manifests").join(file).is_file(), "{}: no manifests/{file}", row.name);
        }
        for (file, tests) in row.tests {
            let source = fs::read_to_string(root.join(file)).unwrap_or_else(|e| panic!("{}: {file}: {e}", row.name));
            assert!(!tests.trim().is_empty(), "{}: {file} has no tests", row.name);
            for test in tests.split_whitespace() {
                assert!(source.contains(&format!("fn {test}()")), "{}: {file} has no test {test}", row.name);
            }
        }
    }
}

#[test]
fn every_command_of_a_row_is_one_and_gives_its_templates() {
    for row in rows() {
        for command in &row.commands {
            // What stands before it is parsed, and nothing is done.
            let output = otelmesh(&[&arguments(command)[..], &["--help"]].concat());
            assert!(output.status.success(), "{}: {}", row.name, String::from_utf8_lossy(&output.stderr));
        }
        let has_objects = |file: &&&str| file.starts_with("templates/") && file.ends_with(".yaml");
        for template in row.templates.iter().filter(has_objects) {
            let given = row.commands.iter().any(|command| gives(command, template));
            assert!(given, "{}: no command gives objects of {template}", row.name);
        }
    }
}
