//! The functions of Helm and sprig that the chart's templates use, and no more.
//!
//! In: template values. Out: what Helm's function of that name gives, which a test with the real Helm holds them to.
//! Refuses wrong arguments as an execution error. A template that calls a function that is not here does not render.

use std::sync::Arc;

use gotmpl::{FuncMap, TemplateError, Value, ValueFunc};
use serde_json::json;

mod data;
mod version;

type Outcome = gotmpl::Result<Value>;
type Function = fn(&[Value]) -> Outcome;

/// All functions but `include`, which needs the templates.
pub(super) fn functions() -> FuncMap {
    const FUNCTIONS: &[(&str, Function)] = &[
        ("contains", contains),
        ("default", default),
        ("dict", data::dict),
        ("div", div),
        ("fail", fail),
        ("float64", float64),
        ("fromYaml", data::from_yaml),
        ("has", has),
        ("hasKey", data::has_key),
        ("hasPrefix", has_prefix),
        ("int", int),
        ("kindIs", kind_is),
        ("list", list),
        ("mul", mul),
        ("nindent", nindent),
        ("omit", data::omit),
        ("quote", quote),
        ("replace", replace),
        ("required", required),
        ("semverCompare", version::semver_compare),
        ("sha256sum", data::sha256sum),
        ("ternary", ternary),
        ("toJson", data::to_json),
        ("toString", to_string),
        ("toYaml", data::to_yaml),
        ("trimPrefix", trim_prefix),
        ("trimSuffix", trim_suffix),
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

fn contains(args: &[Value]) -> Outcome {
    let [part, whole] = arguments("contains", args)?;
    Ok(Value::Bool(text("contains", whole)?.contains(text("contains", part)?)))
}

fn div(args: &[Value]) -> Outcome {
    let [a, b] = arguments("div", args)?;
    whole(a).checked_div(whole(b)).map(Value::Int).ok_or_else(|| error("div by zero"))
}

fn mul(args: &[Value]) -> Outcome {
    let product = args.iter().map(whole).try_fold(1_i64, i64::checked_mul);
    product.map(Value::Int).ok_or_else(|| error("mul gives too large a number"))
}

fn float64(args: &[Value]) -> Outcome {
    let [value] = arguments("float64", args)?;
    Ok(Value::Float(match value {
        Value::Float(f) => *f,
        Value::String(s) => s.parse().unwrap_or(0.0),
        value => whole(value) as f64,
    }))
}

fn has(args: &[Value]) -> Outcome {
    let [needle, haystack] = arguments("has", args)?;
    Ok(Value::Bool(match haystack {
        Value::List(items) => items.contains(needle),
        Value::Nil => false,
        other => return Err(error(format!("has wants a list, not {}", other.type_name()))),
    }))
}

fn has_prefix(args: &[Value]) -> Outcome {
    let [prefix, whole] = arguments("hasPrefix", args)?;
    Ok(Value::Bool(text("hasPrefix", whole)?.starts_with(text("hasPrefix", prefix)?)))
}

fn int(args: &[Value]) -> Outcome {
    let [value] = arguments("int", args)?;
    Ok(Value::Int(whole(value)))
}

/// A number as Go's integer.
fn whole(value: &Value) -> i64 {
    match value {
        Value::Int(n) => *n,
        Value::Uint(n) => i64::try_from(*n).unwrap_or(i64::MAX),
        Value::Float(f) => *f as i64,
        Value::String(s) => s.parse().unwrap_or(0),
        Value::Bool(b) => i64::from(*b),
        _ => 0,
    }
}

fn kind_is(args: &[Value]) -> Outcome {
    let [kind, value] = arguments("kindIs", args)?;
    let is = match value {
        Value::Nil => "invalid",
        Value::List(_) => "slice",
        value => value.type_name(),
    };
    Ok(Value::Bool(text("kindIs", kind)? == is))
}

fn list(args: &[Value]) -> Outcome {
    Ok(Value::List(args.into()))
}

fn replace(args: &[Value]) -> Outcome {
    let [old, new, whole] = arguments("replace", args)?;
    Ok(Value::String(text("replace", whole)?.replace(text("replace", old)?, text("replace", new)?).into()))
}

fn ternary(args: &[Value]) -> Outcome {
    let [yes, no, condition] = arguments("ternary", args)?;
    match condition {
        Value::Bool(condition) => Ok(if *condition { yes } else { no }.clone()),
        other => Err(error(format!("ternary wants a condition, not {}", other.type_name()))),
    }
}

fn to_string(args: &[Value]) -> Outcome {
    let [value] = arguments("toString", args)?;
    Ok(Value::String(value.to_string().into()))
}

fn trim_prefix(args: &[Value]) -> Outcome {
    let [prefix, whole] = arguments("trimPrefix", args)?;
    let whole = text("trimPrefix", whole)?;
    Ok(Value::String(whole.strip_prefix(text("trimPrefix", prefix)?).unwrap_or(whole).into()))
}

fn trim_suffix(args: &[Value]) -> Outcome {
    let [suffix, whole] = arguments("trimSuffix", args)?;
    let whole = text("trimSuffix", whole)?;
    Ok(Value::String(whole.strip_suffix(text("trimSuffix", suffix)?).unwrap_or(whole).into()))
}

fn fail(args: &[Value]) -> Outcome {
    let [message] = arguments("fail", args)?;
    Err(error(text("fail", message)?))
}

fn nindent(args: &[Value]) -> Outcome {
    let [width, value] = arguments("nindent", args)?;
    let width = width.as_int().and_then(|n| usize::try_from(n).ok()).ok_or_else(|| error("nindent wants a width"))?;
    let pad = " ".repeat(width);
    Ok(Value::String(format!("\n{pad}{}", text("nindent", value)?.replace('\n', &format!("\n{pad}"))).into()))
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

#[cfg(test)]
mod tests;
