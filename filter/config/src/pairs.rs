//! Names and values in the order in which they were written. In and out: a JSON object, as serde's maps are. In memory a
//! list, since nobody looks anything up: a map would be more code than all that uses it.

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;

use crate::json::Json;
use crate::read::{Read, Refusal};

/// Names and values, each name once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pairs<T>(pub Vec<(String, T)>);

// === impl Pairs ===

impl<T> Pairs<T> {
    fn add(&mut self, name: String, value: T) -> bool {
        let is_new = self.0.iter().all(|(known, _)| *known != name);
        if is_new {
            self.0.push((name, value));
        }
        is_new
    }
}

impl<T: Read> Read for Pairs<T> {
    fn read(json: Json<'_>) -> Result<Self, Refusal> {
        let Json::Object(pairs) = json else { return Err(Refusal::of("expected an object")) };
        let mut all = Self(Vec::new());
        for (name, value) in pairs {
            let value = T::read(value).map_err(|refusal| refusal.under(&name))?;
            if !all.add(name, value) {
                return Err(Refusal::of("a name stands there twice"));
            }
        }
        Ok(all)
    }
}

impl<T: Serialize> Serialize for Pairs<T> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Pairs<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Pick<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Pick<T> {
            type Value = Pairs<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<T>, A::Error> {
                let mut all = Pairs(Vec::new());
                while let Some((name, value)) = map.next_entry()? {
                    if !all.add(name, value) {
                        return Err(serde::de::Error::custom("a name stands there twice"));
                    }
                }
                Ok(all)
            }
        }
        d.deserialize_map(Pick(PhantomData))
    }
}

#[cfg(feature = "schema")]
impl<T: schemars::JsonSchema> schemars::JsonSchema for Pairs<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Pairs".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        <std::collections::BTreeMap<String, T>>::json_schema(generator)
    }
}
