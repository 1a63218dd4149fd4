//! Attributes that an operator adds. In: their configuration, and a request and response. Out: typed attributes, on the
//! span and on the log. Leaves out what is not there and what is not of the type. Headers that carry credentials are
//! refused by the configuration already.

use std::rc::Rc;

use crate::config::{self, Source, ValueType, decimal};
use crate::host::{Headers, Host};
use crate::otlp::{self, Buffer, Key, Value};

/// An attribute, ready for use.
#[derive(Debug, Clone)]
pub struct Custom {
    /// Its name as an encoded [`Key`].
    key: Rc<[u8]>,
    kind: ValueType,
    source: Source,
    /// A literal, or an environment variable's value, which never changes.
    fixed: Option<String>,
    /// Where Envoy has it, with a NUL between the parts.
    path: Option<String>,
}

/// An attribute with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Filled {
    key: Rc<[u8]>,
    value: Typed,
}

#[derive(Debug, Clone, PartialEq)]
enum Typed {
    Text(String),
    Int(i64),
    Double(f64),
    Bool(bool),
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
        let path = match &source {
            Source::Property(path) => Some(path.join("\0")),
            _ => None,
        };
        Some(Self { key: Key::encode(&attribute.name).into(), kind: attribute.value_type, source, fixed, path })
    }

    /// Whether Envoy is asked for it.
    pub fn is_of_envoy(&self) -> bool {
        matches!(self.source, Source::Property(_))
    }

    /// Whether it is taken from the response's headers.
    pub fn is_of_response(&self) -> bool {
        matches!(self.source, Source::ResponseHeader(_))
    }

    /// Its value, if it is an Envoy attribute; they are asked for when an exchange has ended.
    pub fn ask(&self, host: &impl Host) -> Option<Filled> {
        let bytes = host.property(self.path.as_deref()?)?;
        // Envoy writes numbers in eight bytes and truth in one.
        let value = match (self.kind, bytes.as_slice()) {
            (ValueType::Int, number) => Typed::Int(i64::from_le_bytes(number.try_into().ok()?)),
            (ValueType::Double, number) => Typed::double(f64::from_le_bytes(number.try_into().ok()?))?,
            (ValueType::Bool, [flag]) => Typed::Bool(*flag != 0),
            (ValueType::Bool, _) | (ValueType::String, []) => return None,
            (ValueType::String, text) => Typed::Text(otlp::text(text).into_owned()),
        };
        Some(Filled { key: Rc::clone(&self.key), value })
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
            Source::Property(_) => return None,
        };
        Some(Filled { key: Rc::clone(&self.key), value: Typed::parse(self.kind, text)? })
    }
}

/// The value of a baggage member, percent-decoded (W3C Baggage, "value").
fn member(baggage: &[u8], key: &str) -> Option<String> {
    let list = std::str::from_utf8(baggage).ok()?;
    list.split(',').find_map(|member| {
        let pair = member.split(';').next()?;
        let (name, value) = pair.split_once('=')?;
        (name.trim_ascii() == key).then(|| crate::resource::unescape(value.trim_ascii())).flatten()
    })
}

// === impl Filled ===

impl Filled {
    /// Writes it as a `KeyValue` field.
    pub fn write(&self, buf: &mut Buffer, field: u32) {
        let value = match &self.value {
            Typed::Text(text) => Value::Text(text),
            Typed::Int(number) => Value::Int(*number),
            Typed::Double(number) => Value::Double(*number),
            Typed::Bool(flag) => Value::Bool(*flag),
        };
        buf.attribute(field, Key::of(&self.key), value);
    }
}

// === impl Typed ===

impl Typed {
    /// Text as a value of a type; `None` where it is not of it.
    fn parse(kind: ValueType, text: String) -> Option<Self> {
        match kind {
            ValueType::String => Some(Self::Text(text)),
            ValueType::Int => text.parse().ok().map(Self::Int),
            ValueType::Double => decimal::parse(&text).and_then(Self::double),
            ValueType::Bool => text.parse().ok().map(Self::Bool),
        }
    }

    fn double(number: f64) -> Option<Self> {
        number.is_finite().then_some(Self::Double(number))
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
        let filled = custom.fill(&headers, custom.is_of_response())?;
        let Typed::Text(text) = filled.value else { panic!("{filled:?}") };
        Some(text)
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
        let is_one = |kind, text: &str| Typed::parse(kind, text.to_owned()).is_some();
        assert!(is_one(ValueType::Int, "-7") && !is_one(ValueType::Int, "7.5"));
        assert!(is_one(ValueType::Double, "7.5") && !is_one(ValueType::Double, "NaN"));
        assert!(is_one(ValueType::Bool, "true") && !is_one(ValueType::Bool, "yes"));
        assert!(is_one(ValueType::String, "anything"));
    }

    #[test]
    fn an_attribute_of_envoy_has_envoys_own_form() {
        use crate::host::fake::{Fake, Phase};
        let mut host = Fake::default();
        host.phase = Phase::Log;
        host.set_property(&["xds", "cluster_name"], b"cart");
        host.set_property(&["upstream", "port"], &8080u64.to_le_bytes());
        host.set_property(&["request", "ratio"], &0.5f64.to_le_bytes());
        host.set_property(&["connection", "mtls"], &[1]);
        host.set_property(&["xds", "com.example"], b"list");
        let ask = |path: &str, kind: &str| {
            let path = if path.starts_with('[') { path.to_owned() } else { format!("\"{path}\"") };
            let json = format!(r#"{{"name":"n","property":{path},"type":"{kind}"}}"#);
            Custom::new(&serde_json::from_str(&json).unwrap(), |_| None).unwrap().ask(&host).map(|filled| filled.value)
        };
        assert_eq!(ask("xds.cluster_name", "string"), Some(Typed::Text("cart".into())));
        assert_eq!(ask("upstream.port", "int"), Some(Typed::Int(8080)));
        assert_eq!(ask("request.ratio", "double"), Some(Typed::Double(0.5)));
        assert_eq!(ask("connection.mtls", "bool"), Some(Typed::Bool(true)));
        assert_eq!(ask(r#"["xds","com.example"]"#, "string"), Some(Typed::Text("list".into())));
        assert_eq!(ask("xds.cluster_name", "int"), None, "not of the type");
        assert_eq!(ask("upstream.absent", "string"), None, "not there");
    }
}
