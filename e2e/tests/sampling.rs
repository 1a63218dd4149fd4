//! Our sampling arithmetic against the collector's own: thresholds of ratios, decisions, and what stands in a tracestate.

use std::io::Write;
use std::process::{Command, Stdio};

use otelmesh_filter::propagation::TraceId;
use otelmesh_filter::propagation::id::Generator;
use otelmesh_filter::sampling::probability::{OtelState, Threshold};

/// What the collector's package answers, a line for a line.
fn oracle(questions: &[String]) -> Vec<String> {
    let mut child = Command::new(otelmesh_e2e::tools::go_tool("sampling-oracle"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let text = questions.join("\n");
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let answers: Vec<_> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(answers.len(), questions.len());
    answers
}

#[test]
fn ratios_have_the_collectors_thresholds() {
    let fractions = (1..=1000).map(|n| f64::from(n) / 1000.0);
    let small = (1..=50).map(|n| 0.5f64.powi(n));
    let odd = [0.1, 1.0 / 3.0, 2.0 / 3.0, 0.999_999, 0.000_001, 1e-9, 1.0 - 1e-12, 0.123_456_789];
    let ratios: Vec<f64> = fractions.chain(small).chain(odd).collect();
    let answers = oracle(&ratios.iter().map(|ratio| format!("ratio {ratio:e}")).collect::<Vec<_>>());
    for (ratio, answer) in ratios.iter().zip(answers) {
        assert_eq!(Threshold::of_ratio(*ratio).to_string(), answer, "{ratio}");
    }
}

#[test]
fn traces_are_decided_as_the_collector_decides_them() {
    let mut ids = Generator::seeded([3; 32]);
    let mut rows: Vec<(Threshold, TraceId)> = Vec::new();
    for n in 1..=2000 {
        rows.push((Threshold::of_ratio(f64::from(n % 100 + 1) / 101.0), ids.trace_id()));
    }
    // At a threshold, and on both sides of it.
    for hex in ["e6660000000000", "e665ffffffffff", "e6660000000001"] {
        let id = format!("{:0>32}", format!("a{hex}"));
        rows.push((Threshold::of_ratio(0.1), TraceId::from_hex(id.as_bytes()).unwrap()));
    }
    let question = |(threshold, id): &(Threshold, TraceId)| format!("keeps {threshold} {}", &id.to_string()[18..]);
    let answers = oracle(&rows.iter().map(question).collect::<Vec<_>>());
    for ((threshold, id), answer) in rows.iter().zip(&answers) {
        let ours = threshold.keeps(OtelState::default().randomness(*id));
        assert_eq!(ours.to_string(), *answer, "{threshold} {id}");
    }
    assert!(answers.iter().any(|a| a == "true") && answers.iter().any(|a| a == "false"));
}

#[test]
fn what_the_collector_reads_in_a_tracestate_is_what_we_go_on_with() {
    // A value, and what is left of it where the collector refuses it.
    let rows = [
        ("th:8", None),
        ("th:0", None),
        ("th:e666;rv:0123456789abcd", None),
        ("rv:0123456789abcd", None),
        ("th:80", None),
        ("a:b;th:c", None),
        ("th:xyz", Some("")),
        ("th:fffffffffffffff", Some("")),
        ("th:", Some("")),
        ("rv:123", Some("")),
        ("rv:0123456789abcg", Some("")),
    ];
    let answers = oracle(&rows.map(|(value, _)| format!("tracestate {value}")));
    for ((value, refused), answer) in rows.iter().zip(answers) {
        let ours = OtelState::parse(value).format();
        match refused {
            Some(left) => assert_eq!((answer.as_str(), ours.as_str()), ("error", *left), "{value}"),
            None => {
                let part = |key: &str| ours.split(';').find_map(|p| p.strip_prefix(key)).unwrap_or("").to_owned();
                let read = format!("th={} rv={}", part("th:"), part("rv:"));
                // The collector shows a threshold as it came, we send it on without zeros at its end.
                let answer = if *value == "th:80" { answer.replace("th=80", "th=8") } else { answer };
                assert_eq!(read, answer, "{value}");
            }
        }
    }
}
