//! Functions on maps, and those that read and write them as text.
//!
//! In: template values. Out: maps, YAML, JSON and digests as Helm makes them. Refuses what is no map, and text that is no
//! YAML map.

use std::sync::Arc;

use gotmpl::Value;
use serde_json::{Number, json as literal};
use sha2::{Digest, Sha256};

use super::{Outcome, arguments, error, text};

pub(super) fn dict(args: &[Value]) -> Outcome {
    let entries = args.chunks(2).map(|pair| {
        let key = text("dict", &pair[0])?;
        Ok((Arc::from(key), pair.get(1).cloned().unwrap_or_else(|| Value::String("".into()))))
    });
    Ok(Value::Map(Arc::new(entries.collect::<gotmpl::Result<_>>()?)))
}

pub(super) fn has_key(args: &[Value]) -> Outcome {
    let [map, key] = arguments("hasKey", args)?;
    let Value::Map(map) = map else { return Err(error(format!("hasKey wants a map, not {}", map.type_name()))) };
    Ok(Value::Bool(map.contains_key(text("hasKey", key)?)))
}

pub(super) fn omit(args: &[Value]) -> Outcome {
    let Some((Value::Map(map), keys)) = args.split_first() else { return Err(error("omit wants a map")) };
    let mut map = map.as_ref().clone();
    for key in keys {
        map.remove(text("omit", key)?);
    }
    Ok(Value::Map(Arc::new(map)))
}

pub(super) fn from_yaml(args: &[Value]) -> Outcome {
    let [value] = arguments("fromYaml", args)?;
    let source = text("fromYaml", value)?;
    // Helm hides the error in a key of the map, where nobody looks.
    let map: serde_json::Value =
        serde_saphyr::from_str(source).map_err(|e| error(format!("fromYaml: {e}\n{source}")))?;
    match map {
        serde_json::Value::Null => Ok(Value::Map(Arc::default())),
        map @ serde_json::Value::Object(_) => gotmpl::to_value(&map),
        _ => Err(error(format!("fromYaml wants a map:\n{source}"))),
    }
}

pub(super) fn sha256sum(args: &[Value]) -> Outcome {
    let [value] = arguments("sha256sum", args)?;
    let digest = Sha256::digest(text("sha256sum", value)?.as_bytes());
    Ok(Value::String(digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()))
}

pub(super) fn to_json(args: &[Value]) -> Outcome {
    let [value] = arguments("toJson", args)?;
    // Go escapes what could end a script in a page of HTML.
    let mut text = json(value).to_string();
    for (plain, escaped) in [('<', "\\u003c"), ('>', "\\u003e"), ('&', "\\u0026")] {
        text = text.replace(plain, escaped);
    }
    Ok(Value::String(text.into()))
}

pub(super) fn to_yaml(args: &[Value]) -> Outcome {
    let [value] = arguments("toYaml", args)?;
    let yaml = serde_saphyr::to_string(&json(value)).map_err(|e| error(format!("toYaml: {e}")))?;
    Ok(Value::String(yaml.trim_end_matches('\n').into()))
}

/// A value as JSON; whole numbers without a fraction, as Go writes them.
fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Nil | Value::Function(_) => serde_json::Value::Null,
        Value::Bool(b) => literal!(b),
        Value::Int(n) => literal!(n),
        Value::Uint(n) => literal!(n),
        Value::Float(f) if f.fract() == 0.0 && f.abs() < 1e15 => literal!(*f as i64),
        Value::Float(f) => Number::from_f64(*f).map_or(serde_json::Value::Null, serde_json::Value::Number),
        Value::String(s) => literal!(s.as_ref()),
        Value::List(items) => items.iter().map(json).collect(),
        Value::Map(map) => map.iter().map(|(key, value)| (key.to_string(), json(value))).collect(),
    }
}
