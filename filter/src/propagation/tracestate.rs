//! `tracestate` of W3C Trace Context level 2. In: the values of all tracestate headers, in order. Out: one normalised
//! list: lines joined, optional white space and empty members gone. Refuses, as a whole, a list with a member that the
//! grammar does not know or with more than 32 members; the traceparent stays good either way.

/// Most members of a list (level 2, "tracestate Header Field Values").
const MAX_MEMBERS: usize = 32;
/// Longest key and longest value in characters (level 2, "key", "value").
const MAX_CHARS: usize = 256;
/// A longer value than 32 members of two times 256 characters can hold need not be read.
const MAX_LINES: usize = 64;

/// The tracestate headers of a request.
#[derive(Debug, Default)]
pub struct Lines<'a> {
    lines: Vec<&'a [u8]>,
    too_many: bool,
}

impl<'a> Lines<'a> {
    /// Adds the next header's value.
    pub fn push(&mut self, line: &'a [u8]) {
        if self.lines.len() < MAX_LINES {
            self.lines.push(line);
        } else {
            self.too_many = true;
        }
    }

    /// The joined list, empty where there is none; `None` where it is malformed.
    pub fn normalise(&self) -> Option<String> {
        if self.too_many {
            return None;
        }
        let mut list = String::new();
        let members = self.lines.iter().flat_map(|line| line.split(|b| *b == b',')).map(trim);
        for (n, member) in members.filter(|m| !m.is_empty()).enumerate() {
            if n >= MAX_MEMBERS || !is_member(member) {
                return None;
            }
            if n > 0 {
                list.push(',');
            }
            list.push_str(std::str::from_utf8(member).ok()?);
        }
        Some(list)
    }
}

/// The value of a member of a normalised list.
pub fn member<'a>(list: &'a str, key: &str) -> Option<&'a str> {
    list.split(',').find_map(|member| member.strip_prefix(key)?.strip_prefix('='))
}

/// The list with a member set, or without it where `value` is empty. A member that changes goes to the front, and the
/// last one has to go where there are too many (level 2, "Mutating the tracestate Field").
pub fn with_member(list: &str, key: &str, value: &str) -> String {
    let mut out = String::with_capacity(list.len().saturating_add(32));
    if !value.is_empty() {
        out.push_str(key);
        out.push('=');
        out.push_str(value);
    }
    let is_other = |member: &&str| !member.is_empty() && !member.strip_prefix(key).is_some_and(|m| m.starts_with('='));
    let room = if value.is_empty() { MAX_MEMBERS } else { MAX_MEMBERS.saturating_sub(1) };
    for other in list.split(',').filter(is_other).take(room) {
        if !out.is_empty() {
            out.push(',');
        }
        out.push_str(other);
    }
    out
}

/// Takes away OWS: spaces and tabs, nothing else.
pub(super) fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

fn is_member(member: &[u8]) -> bool {
    let mut parts = member.splitn(2, |b| *b == b'=');
    let (Some(key), Some(value)) = (parts.next(), parts.next()) else { return false };
    is_key(key) && is_value(value)
}

fn is_key(key: &[u8]) -> bool {
    let [first, rest @ ..] = key else { return false };
    key.len() <= MAX_CHARS
        && matches!(first, b'a'..=b'z' | b'0'..=b'9')
        && rest.iter().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@'))
}

fn is_value(value: &[u8]) -> bool {
    (1..=MAX_CHARS).contains(&value.len())
        && value.last() != Some(&b' ')
        && value.iter().all(|b| matches!(b, b' '..=b'~') && !matches!(b, b',' | b'='))
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn normalise(lines: &[&str]) -> Option<String> {
        let mut all = Lines::default();
        lines.iter().for_each(|line| all.push(line.as_bytes()));
        all.normalise()
    }

    #[test]
    fn vectors() {
        let members = |n: usize| (0..n).map(|i| format!("k{i}=v")).collect::<Vec<_>>().join(",");
        let long = |n: usize| "a".repeat(n);
        let same = |list: &str| Some(list.to_owned());
        let rows: Vec<(Vec<String>, Option<String>, &str)> = vec![
            (vec!["foo=1".into()], same("foo=1"), "one member"),
            (vec!["foo=1,bar=2".into()], same("foo=1,bar=2"), "two members keep their order"),
            (vec!["foo=1".into(), "bar=2,baz=3".into()], same("foo=1,bar=2,baz=3"), "headers join in order"),
            (vec!["foo=1 \t , \t bar=2".into()], same("foo=1,bar=2"), "OWS around members goes"),
            (vec!["foo=1\u{b}".into()], None, "a vertical tab is no OWS"),
            (vec!["foo=1\n".into()], None, "a newline is no OWS"),
            (vec![" ".into(), ",,".into(), "\t".into()], same(""), "empty members are allowed and dropped"),
            (vec!["".into()], same(""), "an empty header is allowed"),
            (vec!["foo=1,".into(), ",bar=2".into()], same("foo=1,bar=2"), "empty members at the ends"),
            (vec!["foo=1,foo=2".into()], same("foo=1,foo=2"), "a repeated key may be kept as it is"),
            (vec!["foo= 1".into()], same("foo= 1"), "a value may begin with a space"),
            (vec!["foo=bar=baz".into()], None, "no = in a value"),
            (vec!["foo".into()], None, "a member has a value"),
            (vec!["foo=".into()], None, "a value has at least one character"),
            (vec!["=1".into()], None, "a key has at least one character"),
            (vec!["foo =1".into()], None, "no space in a key"),
            (vec!["FOO=1".into()], None, "no upper case in a key"),
            (vec!["foo.bar=1".into()], None, "no dot in a key"),
            (vec!["_foo=1".into()], None, "a key begins with a letter or digit"),
            (vec!["foo@=1".into()], same("foo@=1"), "level 2 allows @ anywhere but first"),
            (vec!["@foo=1".into()], None, "@ cannot be first"),
            (vec!["fw529a3039@dt=FfD".into()], same("fw529a3039@dt=FfD"), "a multi-tenant key"),
            (vec!["1a-b_c*d/e@f=x".into()], same("1a-b_c*d/e@f=x"), "every character of a key"),
            (vec![format!("{}=1", long(256))], same(&format!("{}=1", long(256))), "a key of 256 characters"),
            (vec![format!("{}=1", long(257))], None, "a key of 257 characters"),
            (vec![format!("t@{}=1", long(254))], same(&format!("t@{}=1", long(254))), "a multi-tenant key of 256"),
            (vec![format!("a={}", long(256))], same(&format!("a={}", long(256))), "a value of 256 characters"),
            (vec![format!("a={}", long(257))], None, "a value of 257 characters"),
            (vec!["a=\u{e9}".into()], None, "a value is printable ASCII"),
            (
                vec!["a=~!\"#$%&'()*+-./:;<>?@[\\]^_`{|}".into()],
                same("a=~!\"#$%&'()*+-./:;<>?@[\\]^_`{|}"),
                "all of it",
            ),
            (vec![members(32)], same(&members(32)), "32 members"),
            (vec![members(33)], None, "33 members"),
            (vec![members(32), ", ,".into()], same(&members(32)), "empty members do not count"),
            (vec!["a=1".to_owned(); 33], None, "33 members on as many lines"),
        ];
        for (lines, want, reason) in rows {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            assert_eq!(normalise(&lines), want, "{reason}: {lines:?}");
        }
    }

    #[test]
    fn members_are_found_set_and_removed() {
        assert_eq!(member("a=1,ot=th:8,o=2", "ot"), Some("th:8"));
        assert_eq!(member("aot=1", "ot"), None);
        assert_eq!(with_member("", "ot", "th:8"), "ot=th:8");
        assert_eq!(with_member("a=1,ot=x,b=2", "ot", "th:8"), "ot=th:8,a=1,b=2");
        assert_eq!(with_member("a=1,ot=x,b=2", "ot", ""), "a=1,b=2");
        assert_eq!(with_member("ot=x", "ot", ""), "");
        let full = (0..32).map(|i| format!("k{i}=v")).collect::<Vec<_>>().join(",");
        let set = with_member(&full, "ot", "th:8");
        assert_eq!(set.split(',').count(), 32);
        assert!(set.starts_with("ot=th:8,k0=v") && !set.contains("k31"));
        assert_eq!(with_member(&full, "k0", "w").split(',').count(), 32);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_malformed() {
        let mut lines = Lines::default();
        lines.push(b"foo=\xff");
        assert_eq!(lines.normalise(), None);
    }
}
