//! The functions of Helm and sprig that the chart's templates use, and no more.
//!
//! In: template values. Out: what Helm's function of that name gives, which a test with the real Helm holds them to.
//! Refuses wrong arguments as an execution error. A template that calls a function that is not here does not render.

use std::sync::Arc;

use gotmpl::{FuncMap, TemplateError, Value, ValueFunc};
use serde_json::{Number, json};

type Outcome = gotmpl::Result<Value>;
type Function = fn(&[Value]) -> Outcome;

/// All functions but `include`, which needs the templates.
pub(super) fn functions() -> FuncMap {
    const FUNCTIONS: &[(&str, Function)] = &[
        ("default", default),
        ("dict", dict),
        ("fail", fail),
        ("hasKey", has_key),
        ("int", int),
        ("nindent", nindent),
        ("omit", omit),
        ("quote", quote),
        ("required", required),
        ("toYaml", to_yaml),
    ];
    FUNCTIONS.iter().map(|(name, function)| ((*name).to_owned(), Arc::new(function) as ValueFunc)).collect()
}

/// The text of an error that `fail` or `required` raised, or the engine's own.
pub(super) fn message(error: TemplateError) -> String {
    match error {
        TemplateError::Exec(message) => message,
        other => other.to_string(),
    }
}

fn error(message: impl Into<String>) -> TemplateError {
    TemplateError::Exec(message.into())
}

fn arguments<'a, const N: usize>(name: &str, args: &'a [Value]) -> gotmpl::Result<&'a [Value; N]> {
    args.try_into().map_err(|_| TemplateError::ArgCount { name: name.to_owned(), expected: N, got: args.len() })
}

fn text<'a>(name: &str, value: &'a Value) -> gotmpl::Result<&'a str> {
    value.as_str().ok_or_else(|| error(format!("{name} wants a string, not {}", value.type_name())))
}

fn default(args: &[Value]) -> Outcome {
    // One argument: `default X` with nothing given, as in a pipeline whose value is missing.
    Ok(match args {
        [fallback] => fallback.clone(),
        [fallback, given] => (if given.is_truthy() { given } else { fallback }).clone(),
        _ => return Err(TemplateError::ArgCount { name: "default".to_owned(), expected: 2, got: args.len() }),
    })
}

fn dict(args: &[Value]) -> Outcome {
    let entries = args.chunks(2).map(|pair| {
        let key = text("dict", &pair[0])?;
        Ok((Arc::from(key), pair.get(1).cloned().unwrap_or_else(|| Value::String("".into()))))
    });
    Ok(Value::Map(Arc::new(entries.collect::<gotmpl::Result<_>>()?)))
}

fn fail(args: &[Value]) -> Outcome {
    let [message] = arguments("fail", args)?;
    Err(error(text("fail", message)?))
}

fn has_key(args: &[Value]) -> Outcome {
    let [map, key] = arguments("hasKey", args)?;
    let Value::Map(map) = map else { return Err(error(format!("hasKey wants a map, not {}", map.type_name()))) };
    Ok(Value::Bool(map.contains_key(text("hasKey", key)?)))
}

fn int(args: &[Value]) -> Outcome {
    let [value] = arguments("int", args)?;
    Ok(Value::Int(match value {
        Value::Int(n) => *n,
        Value::Uint(n) => i64::try_from(*n).unwrap_or(i64::MAX),
        Value::Float(f) => *f as i64,
        Value::String(s) => s.parse().unwrap_or(0),
        Value::Bool(b) => i64::from(*b),
        _ => 0,
    }))
}

fn nindent(args: &[Value]) -> Outcome {
    let [width, value] = arguments("nindent", args)?;
    let width = width.as_int().and_then(|n| usize::try_from(n).ok()).ok_or_else(|| error("nindent wants a width"))?;
    let pad = " ".repeat(width);
    Ok(Value::String(format!("\n{pad}{}", text("nindent", value)?.replace('\n', &format!("\n{pad}"))).into()))
}

fn omit(args: &[Value]) -> Outcome {
    let Some((Value::Map(map), keys)) = args.split_first() else { return Err(error("omit wants a map")) };
    let mut map = map.as_ref().clone();
    for key in keys {
        map.remove(text("omit", key)?);
    }
    Ok(Value::Map(Arc::new(map)))
}

fn quote(args: &[Value]) -> Outcome {
    // Go's %q; JSON's string escapes are a subset of it for everything that YAML reads alike.
    let quoted =
        args.iter().filter(|value| !matches!(value, Value::Nil)).map(|value| json!(value.to_string()).to_string());
    Ok(Value::String(quoted.collect::<Vec<_>>().join(" ").into()))
}

fn required(args: &[Value]) -> Outcome {
    let [message, value] = arguments("required", args)?;
    match value {
        Value::Nil => Err(error(text("required", message)?)),
        Value::String(s) if s.is_empty() => Err(error(text("required", message)?)),
        value => Ok(value.clone()),
    }
}

fn to_yaml(args: &[Value]) -> Outcome {
    let [value] = arguments("toYaml", args)?;
    let yaml = serde_saphyr::to_string(&to_json(value)).map_err(|e| error(format!("toYaml: {e}")))?;
    Ok(Value::String(yaml.trim_end_matches('\n').into()))
}

fn to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Nil | Value::Function(_) => serde_json::Value::Null,
        Value::Bool(b) => json!(b),
        Value::Int(n) => json!(n),
        Value::Uint(n) => json!(n),
        Value::Float(f) => Number::from_f64(*f).map_or(serde_json::Value::Null, serde_json::Value::Number),
        Value::String(s) => json!(s.as_ref()),
        Value::List(items) => items.iter().map(to_json).collect(),
        Value::Map(map) => map.iter().map(|(key, value)| (key.to_string(), to_json(value))).collect(),
    }
}

#[cfg(test)]
mod tests {
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
}
