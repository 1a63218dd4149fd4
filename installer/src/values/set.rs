//! The grammar of `--set`, which is Helm's.
//!
//! In: `a.b=1,c[0].d=x,e={f,g}`, with `\` before a character that is meant as it is. Out: assignments in their order.
//! Refuses a key without a value, an index that is no number and a list that is not closed.

use serde_json::{Map, Value};

/// Longest list that an index can make (Helm's own bound).
const MAX_INDEX: usize = 65_536;

/// One `key=value`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Assignment {
    /// Where to.
    pub path: Vec<Step>,
    /// What, as it was written.
    pub value: Raw,
}

/// One step into a value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// A key of a map.
    Key(String),
    /// An index of a list.
    Index(usize),
}

/// A value as it was written.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Raw {
    /// One scalar.
    Scalar(String),
    /// `{a,b}`.
    List(Vec<String>),
}

/// Reads one option's text.
pub(super) fn parse(text: &str) -> Result<Vec<Assignment>, String> {
    let mut rest = text.chars().peekable();
    let mut assignments = Vec::new();
    while rest.peek().is_some() {
        let path = path(&mut rest)?;
        let value =
            if rest.next_if_eq(&'{').is_some() { list(&mut rest)? } else { Raw::Scalar(until(&mut rest, ",").0) };
        assignments.push(Assignment { path, value });
    }
    Ok(assignments)
}

/// Reads `KEY=` and gives what follows it.
pub(super) fn split_key(text: &str) -> Result<(Vec<Step>, String), String> {
    let mut rest = text.chars().peekable();
    let path = path(&mut rest)?;
    Ok((path, rest.collect()))
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// Reads `a.b[0].c=`, with the equals sign.
fn path(rest: &mut Chars<'_>) -> Result<Vec<Step>, String> {
    let mut path = Vec::new();
    loop {
        let (key, mut end) = until(rest, ".[=,");
        if key.is_empty() {
            return Err("has an empty key".to_owned());
        }
        path.push(Step::Key(key));
        while end == Some('[') {
            let (digits, close) = until(rest, "]");
            let index = digits.parse().ok().filter(|i| *i < MAX_INDEX && close.is_some());
            path.push(Step::Index(index.ok_or_else(|| format!("has {digits:?} for an index"))?));
            end = rest.next();
        }
        match end {
            Some('=') => return Ok(path),
            Some('.') => {}
            _ => return Err("has a key without a value; write KEY=VALUE".to_owned()),
        }
    }
}

/// Reads `a,b}` and the comma after it. Helm makes one empty string of `{}`; here it is the empty list it looks like.
fn list(rest: &mut Chars<'_>) -> Result<Raw, String> {
    let mut items = Vec::new();
    loop {
        let (item, end) = until(rest, ",}");
        match end {
            Some(',') => items.push(item),
            Some(_) => {
                if !(items.is_empty() && item.is_empty()) {
                    items.push(item);
                }
                return match rest.next() {
                    None | Some(',') => Ok(Raw::List(items)),
                    Some(_) => Err("has text after a list".to_owned()),
                };
            }
            None => return Err("has a list that } does not close".to_owned()),
        }
    }
}

/// Reads up to one of some characters, which it takes too, and gives both; a backslash makes any character common.
fn until(rest: &mut Chars<'_>, ends: &str) -> (String, Option<char>) {
    let mut text = String::new();
    while let Some(c) = rest.next() {
        match c {
            '\\' => text.extend(rest.next()),
            c if ends.contains(c) => return (text, Some(c)),
            c => text.push(c),
        }
    }
    (text, None)
}

// === impl Raw ===

impl Raw {
    /// The value that is meant: of the kind of the chart's default where there is one, else as Helm guesses.
    pub(super) fn value(self, default: Option<&Value>) -> Value {
        match self {
            Self::Scalar(text) => scalar(text, default),
            Self::List(items) => items.into_iter().map(|item| scalar(item, None)).collect(),
        }
    }

    /// The value as text, as `--set-string` wants it.
    pub(super) fn string(self) -> Value {
        match self {
            Self::Scalar(text) => Value::String(text),
            Self::List(items) => items.into_iter().map(Value::String).collect(),
        }
    }
}

fn scalar(text: String, default: Option<&Value>) -> Value {
    if text.eq_ignore_ascii_case("null") {
        return Value::Null;
    }
    match default {
        // Helm guesses from the text alone: a ratio of 0.5 is a string to it, and a tag of 2 a number.
        Some(Value::String(_)) => return Value::String(text),
        Some(Value::Number(_)) => {
            if let Ok(number @ Value::Number(_)) = serde_json::from_str(&text) {
                return number;
            }
        }
        _ => {}
    }
    match text.to_ascii_lowercase().as_str() {
        "true" => true.into(),
        "false" => false.into(),
        "0" => 0.into(),
        number if !number.starts_with('0') => number.parse::<i64>().map_or(Value::String(text), Value::from),
        _ => Value::String(text),
    }
}

/// Puts a value where a path leads, and makes the maps and lists on the way.
pub(super) fn assign(root: &mut Value, path: &[Step], value: Value) {
    let mut place = root;
    for step in path {
        place = match step {
            Step::Key(key) => {
                if !place.is_object() {
                    *place = Value::Object(Map::new());
                }
                &mut place[key.as_str()]
            }
            Step::Index(index) => {
                if !place.is_array() {
                    *place = Value::Array(Vec::new());
                }
                if let Value::Array(items) = place
                    && items.len() <= *index
                {
                    items.resize(index + 1, Value::Null);
                }
                &mut place[*index]
            }
        };
    }
    *place = value;
}

/// What stands where a path leads.
pub(super) fn look<'a>(root: &'a Value, path: &[Step]) -> Option<&'a Value> {
    path.iter().try_fold(root, |place, step| match step {
        Step::Key(key) => place.get(key),
        Step::Index(index) => place.get(index),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(text: &str) -> Result<Value, String> {
        let defaults = json!({"ratio": 0.1, "tag": "", "on": true});
        let mut root = json!({});
        for Assignment { path, value } in parse(text)? {
            let value = value.value(look(&defaults, &path));
            assign(&mut root, &path, value);
        }
        Ok(root)
    }

    #[test]
    fn values_are_what_helm_makes_of_them() {
        // The right column is what `helm template --set` 4.3.1 made of the left.
        let vectors = [
            ("a=b", json!({"a": "b"})),
            ("a=", json!({"a": ""})),
            ("a={x,1,true}", json!({"a": ["x", 1, true]})),
            ("a={x},b=2", json!({"a": ["x"], "b": 2})),
            ("a[0]=1,a[1]=2", json!({"a": [1, 2]})),
            ("a[0].b=1", json!({"a": [{"b": 1}]})),
            ("a[1]=1", json!({"a": [null, 1]})),
            ("a[0][1]=3", json!({"a": [[null, 3]]})),
            ("a.b[0]=1,a.b[0]=2", json!({"a": {"b": [2]}})),
            ("a\\.b=c", json!({"a.b": "c"})),
            ("a=b\\,c", json!({"a": "b,c"})),
            ("a=1.5", json!({"a": "1.5"})),
            ("a=007", json!({"a": "007"})),
            ("a=0", json!({"a": 0})),
            ("a=-5", json!({"a": -5})),
            ("a=+5", json!({"a": 5})),
            ("a=NULL", json!({"a": null})),
            ("a=b,", json!({"a": "b"})),
            ("a=b=c", json!({"a": "b=c"})),
            ("a= x ", json!({"a": " x "})),
        ];
        for (text, expected) in vectors {
            assert_eq!(set(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_value_is_of_the_kind_of_the_charts_default_where_helm_would_guess_wrong() {
        assert_eq!(set("ratio=0.5,ratio2=0.5"), Ok(json!({"ratio": 0.5, "ratio2": "0.5"})));
        assert_eq!(set("tag=2"), Ok(json!({"tag": "2"})));
        assert_eq!(set("tag=null"), Ok(json!({"tag": null})));
        assert_eq!(set("ratio=half"), Ok(json!({"ratio": "half"})));
        assert_eq!(set("on=false"), Ok(json!({"on": false})));
        assert_eq!(set("a={}"), Ok(json!({"a": []})));
    }

    #[test]
    fn what_helm_refuses_is_refused_and_so_is_what_it_drops_silently() {
        for text in ["a", "a.", "=x", ",a=b", "a=b,,c=d", "a={x", "a={x}y", "a[x]=1", "a[65536]=1", "a[0=1", "a[0]b=1"]
        {
            assert!(set(text).is_err(), "{text} gave {:?}", set(text));
        }
    }
}
