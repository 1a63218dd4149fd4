//! JSON → the configuration's types. In: a [`Json`] value. Out: a value of a type, or a [`Refusal`] that names the key
//! and what could stand there. Refuses an unknown key, one that is there twice, and any other kind of value; what is left
//! out keeps its default. serde reads the same types in the command, where a parser knows lines; a test holds the two
//! together.

use std::fmt;

use crate::decimal;
use crate::json::Json;

/// Why something cannot be read, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    path: String,
    what: String,
}

/// What can be read from JSON.
pub(crate) trait Read: Sized {
    fn read(json: Json<'_>) -> Result<Self, Refusal>;
}

/// A place for what is read, of whatever type.
pub(crate) trait Slot {
    fn set(&mut self, json: Json<'_>) -> Result<(), Refusal>;
}

/// Reads a struct with defaults, field by field. A field that is missing here does not compile.
macro_rules! object {
    ($type:ident { $($field:ident = $key:literal),* $(,)? }) => {
        impl crate::read::Read for $type {
            fn read(json: crate::json::Json<'_>) -> Result<Self, crate::read::Refusal> {
                let mut new = Self::default();
                let Self { $($field),* } = &mut new;
                crate::read::fill(json, &mut [$(($key, $field as &mut dyn crate::read::Slot)),*])?;
                Ok(new)
            }
        }
    };
}

/// Reads an enum by the names of its variants.
macro_rules! words {
    ($type:ident { $($variant:ident = $word:literal),* $(,)? }) => {
        impl crate::read::Read for $type {
            fn read(json: crate::json::Json<'_>) -> Result<Self, crate::read::Refusal> {
                const WORDS: &[&str] = &[$($word),*];
                let at = crate::read::choose(&json, WORDS)?;
                [$(Self::$variant),*].get(at).copied().ok_or_else(|| crate::read::Refusal::of("no such word"))
            }
        }
    };
}

pub(crate) use {object, words};

/// Fills the slots from an object.
pub(crate) fn fill(json: Json<'_>, slots: &mut [(&'static str, &mut dyn Slot)]) -> Result<(), Refusal> {
    let Json::Object(pairs) = json else { return Err(Refusal::of("expected an object")) };
    let mut seen: Vec<&str> = Vec::new();
    for (key, value) in pairs {
        let Some((name, slot)) = slots.iter_mut().find(|(name, _)| *name == key) else {
            let known: Vec<&str> = slots.iter().map(|(name, _)| *name).collect();
            return Err(Refusal::unknown("field", &key, &known));
        };
        if seen.contains(name) {
            return Err(Refusal::of("stands there twice").under(&key));
        }
        seen.push(*name);
        slot.set(value).map_err(|refusal| refusal.under(&key))?;
    }
    Ok(())
}

/// Which of the words a text is.
pub(crate) fn choose(json: &Json<'_>, words: &[&str]) -> Result<usize, Refusal> {
    let Json::Text(text) = json else { return Err(Refusal::of("expected a word in quotes")) };
    words.iter().position(|word| word == text).ok_or_else(|| Refusal::unknown("variant", text, words))
}

// === impl Refusal ===

impl Refusal {
    pub(crate) fn of(what: impl fmt::Display) -> Self {
        Self { path: String::new(), what: what.to_string() }
    }

    fn unknown(what: &str, word: &str, known: &[&str]) -> Self {
        Self::of(format_args!("unknown {what} `{word}`, expected one of `{}`", known.join("`, `")))
    }

    pub(crate) fn under(mut self, key: &str) -> Self {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = [key, dot, &self.path].concat();
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let colon = if self.path.is_empty() { "" } else { ": " };
        write!(f, "{}{colon}{}", self.path, self.what)
    }
}

// === impl Slot ===

impl<T: Read> Slot for T {
    fn set(&mut self, json: Json<'_>) -> Result<(), Refusal> {
        *self = T::read(json)?;
        Ok(())
    }
}

// === impl Read ===

impl Read for bool {
    fn read(json: Json<'_>) -> Result<Self, Refusal> {
        if let Json::Bool(flag) = json { Ok(flag) } else { Err(Refusal::of("expected true or false")) }
    }
}

impl Read for String {
    fn read(json: Json<'_>) -> Result<Self, Refusal> {
        if let Json::Text(text) = json { Ok(text) } else { Err(Refusal::of("expected text in quotes")) }
    }
}

impl Read for f64 {
    fn read(json: Json<'_>) -> Result<Self, Refusal> {
        let number = if let Json::Number(text) = json { decimal::parse(text) } else { None };
        number.ok_or_else(|| Refusal::of("expected a number"))
    }
}

impl Read for u32 {
    fn read(json: Json<'_>) -> Result<Self, Refusal> {
        let number = if let Json::Number(text) = json { text.parse().ok() } else { None };
        number.ok_or_else(|| Refusal::of("invalid value, expected a whole number from 0 to 4294967295"))
    }
}

impl Read for u16 {
    fn read(json: Json<'_>) -> Result<Self, Refusal> {
        let number = u32::read(json).ok().and_then(|number| u16::try_from(number).ok());
        number.ok_or_else(|| Refusal::of("invalid value, expected a whole number from 0 to 65535"))
    }
}

impl<T: Read> Read for Option<T> {
    fn read(json: Json<'_>) -> Result<Self, Refusal> {
        if json == Json::Null { Ok(None) } else { T::read(json).map(Some) }
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(json: Json<'_>) -> Result<Self, Refusal> {
        let Json::List(items) = json else { return Err(Refusal::of("expected a list")) };
        let mut list = Self::with_capacity(items.len());
        for (n, item) in items.into_iter().enumerate() {
            list.push(T::read(item).map_err(|refusal| refusal.under(&format!("[{n}]")))?);
        }
        Ok(list)
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;
