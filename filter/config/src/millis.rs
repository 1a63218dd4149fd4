//! Lengths of time. In: `250ms`, `10s` or `1m`. Out: milliseconds. Refuses a number without a unit, other units, and what
//! does not fit.

use std::fmt;

use crate::json::Json;
use crate::read::{Read, Refusal};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A length of time in milliseconds, written `250ms`, `10s` or `1m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(pub u32);

// === impl Millis ===

impl Millis {
    /// The same time in nanoseconds, the unit of Envoy's clock.
    pub fn as_nanos(self) -> u64 {
        u64::from(self.0).saturating_mul(1_000_000)
    }

    fn parse(text: &str) -> Option<Self> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at_checked(digits)?;
        let factor = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            _ => return None,
        };
        number.parse::<u32>().ok()?.checked_mul(factor).map(Self)
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ms if ms % 1_000 == 0 => write!(f, "{}s", ms / 1_000),
            ms => write!(f, "{ms}ms"),
        }
    }
}

impl Read for Millis {
    fn read(json: Json<'_>) -> Result<Self, Refusal> {
        let millis = if let Json::Text(text) = &json { Self::parse(text) } else { None };
        millis.ok_or_else(|| Refusal::of("expected a duration such as \"250ms\", \"10s\" or \"1m\""))
    }
}

impl Serialize for Millis {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Millis;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"250ms\", \"10s\" or \"1m\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Millis, E> {
                Millis::parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        d.deserialize_str(Visitor)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Millis {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Millis".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": "^[0-9]+(ms|s|m)$"})
    }
}
