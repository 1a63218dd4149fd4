//! Attributes that an operator adds. In: their configuration, and a request and response. Out: typed attributes, on the
//! span and on the log. Leaves out what is not there and what is not of the type. Headers that carry credentials are
//! refused by the configuration already.

use crate::config::{self, Source, ValueType, decimal};
use crate::host::Headers;
use crate::otlp::{self, Value};

/// An attribute, ready for use.
#[derive(Debug, Clone)]
pub struct Custom {
    name: String,
    kind: ValueType,
    source: Source,
    /// A literal, or an environment variable's value, which never changes.
    fixed: Option<String>,
}

/// An attribute with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Filled {
    name: String,
    kind: ValueType,
    text: String,
}

// === impl Custom ===

impl Custom {
    /// Reads a configured attribute; `env` looks up a variable.
    pub fn new(attribute: &config::Attribute, env: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let source = attribute.source()?;
        let fixed = match &source {
            Source::Literal(text) => Some(text.clone()),
            Source::Env(name) => env(name),
            _ => None,
        };
        Some(Self { name: attribute.name.clone(), kind: attribute.value_type, source, fixed })
    }

    /// Whether it is taken from the response's headers.
    pub fn is_of_response(&self) -> bool {
        matches!(self.source, Source::ResponseHeader(_))
    }

    /// Its value in a header map; `None` where it is not there, or belongs to the other map.
    pub fn fill(&self, headers: &Headers, of_response: bool) -> Option<Filled> {
        if of_response != self.is_of_response() {
            return None;
        }
        let text = match &self.source {
            Source::Literal(_) | Source::Env(_) => self.fixed.clone()?,
            Source::RequestHeader(name) | Source::ResponseHeader(name) => {
                otlp::text(headers.get(name.as_bytes())?).into_owned()
            }
            Source::Baggage(key) => member(headers.get(b"baggage")?, key)?,
        };
        Some(Filled { name: self.name.clone(), kind: self.kind, text })
    }
}

/// The value of a baggage member, percent-decoded (W3C Baggage, "value").
fn member(baggage: &[u8], key: &str) -> Option<String> {
    let list = std::str::from_utf8(baggage).ok()?;
    list.split(',').find_map(|member| {
        let pair = member.split(';').next()?;
        let (name, value) = pair.split_once('=')?;
        (name.trim() == key).then(|| crate::resource::unescape(value.trim())).flatten()
    })
}

// === impl Filled ===

impl Filled {
    /// Writes it as a `KeyValue` field.
    pub fn write(&self, buf: &mut Vec<u8>, field: u32) {
        let value = match self.kind {
            ValueType::String => Some(Value::Text(&self.text)),
            ValueType::Int => self.text.parse().ok().map(Value::Int),
            ValueType::Double => decimal::parse(&self.text).filter(|d| d.is_finite()).map(Value::Double),
            ValueType::Bool => self.text.parse().ok().map(Value::Bool),
        };
        if let Some(value) = value {
            otlp::attribute(buf, field, &self.name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn fill(json: &str, pairs: &[(&str, &str)]) -> Option<String> {
        let headers = Headers::from_wire(Headers::to_wire(pairs));
        let env = |name: &str| (name == "TEAM").then(|| "blue".to_owned());
        let custom = Custom::new(&serde_json::from_str(json).unwrap(), env).unwrap();
        custom.fill(&headers, custom.is_of_response()).map(|filled| filled.text)
    }

    #[test]
    fn every_source_gives_its_value_or_nothing() {
        let headers = [("x-tenant", "a"), ("baggage", "k=1;p=2, tier = gold%20plus ,k=3")];
        let rows = [
            (r#"{"name":"n","literal":"x"}"#, Some("x"), "a literal"),
            (r#"{"name":"n","env":"TEAM"}"#, Some("blue"), "a variable"),
            (r#"{"name":"n","env":"OTHER"}"#, None, "a variable that is not set"),
            (r#"{"name":"n","requestHeader":"X-Tenant"}"#, Some("a"), "a header, in any case"),
            (r#"{"name":"n","responseHeader":"x-tenant"}"#, Some("a"), "a header of the response"),
            (r#"{"name":"n","requestHeader":"x-other"}"#, None, "a header that is not there"),
            (r#"{"name":"n","baggage":"tier"}"#, Some("gold plus"), "a baggage member, decoded"),
            (r#"{"name":"n","baggage":"k"}"#, Some("1"), "the first of two, without its properties"),
            (r#"{"name":"n","baggage":"none"}"#, None, "a member that is not there"),
        ];
        for (json, want, reason) in rows {
            assert_eq!(fill(json, &headers).as_deref(), want, "{reason}");
        }
    }

    #[test]
    fn a_value_that_is_not_of_its_type_is_left_out() {
        let written = |kind, text: &str| {
            let mut buf = Vec::new();
            Filled { name: "n".into(), kind, text: text.into() }.write(&mut buf, 9);
            !buf.is_empty()
        };
        assert!(written(ValueType::Int, "-7") && !written(ValueType::Int, "7.5"));
        assert!(written(ValueType::Double, "7.5") && !written(ValueType::Double, "NaN"));
        assert!(written(ValueType::Bool, "true") && !written(ValueType::Bool, "yes"));
        assert!(written(ValueType::String, "anything"));
    }
}
