//! Each function against what Helm's function of that name gives.

use super::*;

fn eval(template: &str) -> Result<String, String> {
    let data = gotmpl::to_value(&json!({
        "map": {"b": [1, {"c": "yes"}], "a": "x", "f": 0.1}, "big": 1_000_000.0, "text": "a\nb", "nil": null, "empty": "",
    }));
    gotmpl::Template::new("t")
        .funcs(functions())
        .parse(template)
        .and_then(|t| t.execute_to_string(&data.unwrap()))
        .map_err(message)
}

#[test]
fn each_function_gives_what_helms_gives() {
    // The right column is what `helm template` 4.3.1 printed for the left.
    let vectors = [
        ("{{ default 1 .nil }}{{ default 1 0 }}{{ default 1 .empty }}{{ default 1 2 }}", "1112"),
        ("{{ (default dict .nil).x }}", "<no value>"),
        ("{{ hasKey .map \"a\" }}{{ hasKey .map \"z\" }}", "truefalse"),
        ("{{ int .big }}{{ int \"7\" }}{{ int .nil }}", "100000070"),
        ("-{{ nindent 2 .text }}-", "-\n  a\n  b-"),
        ("{{ omit .map \"a\" \"f\" | toYaml }}", "b:\n- 1\n- c: \"yes\""),
        ("{{ omit .map \"a\" \"b\" \"f\" | toYaml }}", "{}"),
        ("{{ quote \"a\\\"b\" 1 .nil true }}", "\"a\\\"b\" \"1\" \"true\""),
        ("{{ required \"gone\" 0 }}", "0"),
        ("{{ (dict \"k\" .big).k | int }}", "1000000"),
    ];
    for (template, expected) in vectors {
        assert_eq!(eval(template).as_deref(), Ok(expected), "{template}");
    }
}

#[test]
fn fail_and_required_speak_with_the_templates_words() {
    assert_eq!(eval("{{ fail \"no such luck\" }}"), Err("no such luck".to_owned()));
    assert_eq!(eval("{{ required \"x is empty\" .nil }}"), Err("x is empty".to_owned()));
    assert_eq!(eval("{{ required \"x is empty\" .empty }}"), Err("x is empty".to_owned()));
}

#[test]
fn a_function_that_helm_has_and_this_has_not_is_an_error_not_nothing() {
    assert!(eval("{{ lookup \"v1\" \"Pod\" \"a\" \"b\" }}").unwrap_err().contains("lookup"));
}
