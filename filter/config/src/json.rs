//! JSON text (RFC 8259). In: the bytes of a pluginConfig. Out: one [`Json`] value, or the line and column where the text
//! is broken. Refuses what is no UTF-8, nests deeper than any configuration does, or goes on behind the value.
//!
//! Own code rather than serde's, which was a quarter of the module that every proxy compiles.

use crate::decimal;
use crate::read::Refusal;

/// Deepest nesting; a pluginConfig has a third of it.
const MAX_DEPTH: u32 = 16;

/// A value. Numbers stay text until someone knows what they are to be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json<'a> {
    Null,
    Bool(bool),
    Number(&'a str),
    Text(String),
    List(Vec<Json<'a>>),
    /// In the order of the text, a repeated key twice.
    Object(Vec<(String, Json<'a>)>),
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

// === impl Json ===

impl<'a> Json<'a> {
    /// Reads one value and nothing behind it.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Refusal> {
        let text = std::str::from_utf8(bytes).map_err(|_| Refusal::of("the text is not UTF-8"))?;
        let mut parser = Parser { text, at: 0 };
        let value = parser.value(MAX_DEPTH)?;
        parser.space();
        if parser.at < text.len() { Err(parser.refusal("trailing characters")) } else { Ok(value) }
    }
}

// === impl Parser ===

impl<'a> Parser<'a> {
    fn refusal(&self, what: &str) -> Refusal {
        let before = self.text.as_bytes().get(..self.at).unwrap_or_default();
        let line = before.iter().filter(|b| **b == b'\n').count().saturating_add(1);
        let column = before.iter().rev().take_while(|b| **b != b'\n').count().saturating_add(1);
        Refusal::of(format_args!("{what} at line {line} column {column}"))
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn step(&mut self) {
        self.at = self.at.saturating_add(1);
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.step();
        }
    }

    /// Takes `byte`, if it comes next, behind any space.
    fn takes(&mut self, byte: u8) -> bool {
        self.space();
        let is_next = self.peek() == Some(byte);
        if is_next {
            self.step();
        }
        is_next
    }

    fn value(&mut self, depth: u32) -> Result<Json<'a>, Refusal> {
        self.space();
        let Some(depth) = depth.checked_sub(1) else { return Err(self.refusal("nested too deeply")) };
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.list(depth),
            Some(b'"') => self.string().map(Json::Text),
            _ => self.word(),
        }
    }

    fn object(&mut self, depth: u32) -> Result<Json<'a>, Refusal> {
        let mut pairs = Vec::new();
        self.step();
        if self.takes(b'}') {
            return Ok(Json::Object(pairs));
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err(self.refusal("expected a key in quotes"));
            }
            let key = self.string()?;
            if !self.takes(b':') {
                return Err(self.refusal("expected `:`"));
            }
            pairs.push((key, self.value(depth)?));
            if self.takes(b'}') {
                return Ok(Json::Object(pairs));
            }
            if !self.takes(b',') {
                return Err(self.refusal("expected `,` or `}`"));
            }
        }
    }

    fn list(&mut self, depth: u32) -> Result<Json<'a>, Refusal> {
        let mut items = Vec::new();
        self.step();
        if self.takes(b']') {
            return Ok(Json::List(items));
        }
        loop {
            items.push(self.value(depth)?);
            if self.takes(b']') {
                return Ok(Json::List(items));
            }
            if !self.takes(b',') {
                return Err(self.refusal("expected `,` or `]`"));
            }
        }
    }

    fn word(&mut self) -> Result<Json<'a>, Refusal> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let is_word = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+' | b'.');
        let (word, _) = rest.split_at_checked(rest.bytes().take_while(is_word).count()).unwrap_or_default();
        let value = match word {
            "null" => Json::Null,
            "true" => Json::Bool(true),
            "false" => Json::Bool(false),
            _ if decimal::is_json(word) => Json::Number(word),
            _ => return Err(self.refusal("expected a value")),
        };
        self.at = self.at.saturating_add(word.len());
        Ok(value)
    }

    fn string(&mut self) -> Result<String, Refusal> {
        let mut out = String::new();
        self.step();
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let plain = rest.bytes().take_while(|b| !matches!(b, b'"' | b'\\' | 0..0x20)).count();
            out.push_str(rest.get(..plain).unwrap_or_default());
            self.at = self.at.saturating_add(plain);
            match self.peek() {
                Some(b'"') => {
                    self.step();
                    return Ok(out);
                }
                Some(b'\\') => {
                    self.step();
                    match self.escape() {
                        Some(c) => out.push(c),
                        None => return Err(self.refusal("invalid escape")),
                    }
                }
                Some(_) => return Err(self.refusal("control character in a string")),
                None => return Err(self.refusal("the text ends within a string")),
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        let kind = self.peek()?;
        self.step();
        Some(match kind {
            b'"' | b'\\' | b'/' => char::from(kind),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.hex()?;
                let unit = if (0xd800..0xdc00).contains(&first) {
                    // The other half of the pair has to follow.
                    self.at = self.at.checked_add(2).filter(|to| self.text.get(self.at..*to) == Some("\\u"))?;
                    let low = self.hex()?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
                    let high = (first & 0x3ff).checked_shl(10)?;
                    (high | low).checked_add(0x1_0000)?
                } else {
                    first
                };
                char::from_u32(unit)?
            }
            _ => return None,
        })
    }

    fn hex(&mut self) -> Option<u32> {
        let end = self.at.checked_add(4)?;
        let digits = self.text.get(self.at..end)?;
        self.at = end;
        digits.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// What serde makes of it, for comparison.
    fn serde(json: &Json<'_>) -> serde_json::Value {
        use serde_json::Value;
        match json {
            Json::Null => Value::Null,
            Json::Bool(b) => Value::Bool(*b),
            Json::Number(n) => serde_json::from_str(n).unwrap(),
            Json::Text(t) => Value::String(t.clone()),
            Json::List(items) => items.iter().map(serde).collect(),
            Json::Object(pairs) => pairs.iter().map(|(key, value)| (key.clone(), serde(value))).collect(),
        }
    }

    #[test]
    fn text_is_read_as_serde_reads_it() {
        let good = [
            "null",
            " [ ] ",
            "{}",
            "[1,-2.5e-3,0,0.10,1E+2]",
            r#"{"a":{"b":[true,false,null]},"c":"d"}"#,
            r#""\"\\\/\b\f\n\r\t""#,
            r#""\u00e9\u20AC\ud83d\ude00\uDBFF\uDFFF\ud800\udc00""#,
            "\"\u{e9}\u{1F600}\"",
        ];
        for text in good {
            let want: serde_json::Value = serde_json::from_str(text).unwrap();
            assert_eq!(serde(&Json::parse(text.as_bytes()).unwrap()), want, "{text}");
        }
        let bad = [
            "",
            "{",
            "}",
            "[1,]",
            "[1 2]",
            "{\"a\"}",
            "{\"a\":}",
            "{a:1}",
            "{\"a\":1,}",
            "01",
            "1.",
            ".5",
            "+1",
            "-",
            "1e",
            "nul",
            "True",
            "\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\ud800\"",
            "\"\\ud800\\u0041\"",
            "\"\\udc00\"",
            "\"\\u+123\"",
            "\"\u{1}\"",
            "1 1",
            "[[]",
            "NaN",
            "1-2",
        ];
        for text in bad {
            assert!(serde_json::from_str::<serde_json::Value>(text).is_err(), "{text} is what serde refuses");
            assert!(Json::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Json::parse(b"\"\xff\"").is_err(), "no UTF-8");
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(Json::parse(nested(16).as_bytes()).is_ok());
        assert!(Json::parse(nested(17).as_bytes()).is_err());
        assert!(Json::parse("[".repeat(1_000_000).as_bytes()).is_err());
    }

    #[test]
    fn a_break_is_named_by_line_and_column() {
        let error = Json::parse(b"{\n  \"a\": 1,\n  \"b\" 2\n}").unwrap_err().to_string();
        assert_eq!(error, "expected `:` at line 3 column 7");
    }
}
