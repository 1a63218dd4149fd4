//! Patterns that operators write. In: a path template or a host pattern from the configuration, and a path or host from a
//! request. Out: whether they match, in time linear in the request's text. Refuses patterns that are ambiguous or could
//! never match.

/// A path such as `/orders/{id}`: a segment in braces or `*` stands for any one segment, `**` at the end for any rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathTemplate {
    text: String,
    segments: Vec<Segment>,
    /// Whether it has no parameters.
    is_literal: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(String),
    One,
    Rest,
}

/// A host: `shop.example`, or `*.example` for all names below it, or `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    /// Any host.
    Any,
    /// This one.
    Exact(String),
    /// Any that ends so; the text begins with a dot.
    Below(String),
}

// === impl PathTemplate ===

impl PathTemplate {
    /// Takes a template apart; `None` where it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix('/')?;
        let mut segments = Vec::new();
        let mut parts = rest.split('/').peekable();
        while let Some(part) = parts.next() {
            let in_braces = part.strip_prefix('{').and_then(|p| p.strip_suffix('}'));
            segments.push(match part {
                "**" if parts.peek().is_none() => Segment::Rest,
                "*" => Segment::One,
                _ if in_braces.is_some_and(|name| !name.is_empty() && !name.contains(['{', '}'])) => Segment::One,
                _ if part.contains(['*', '{', '}', '?', '#']) => return None,
                _ => Segment::Literal(part.to_owned()),
            });
        }
        let is_literal = segments.iter().all(|segment| matches!(segment, Segment::Literal(_)));
        Some(Self { text: text.to_owned(), segments, is_literal })
    }

    /// The template as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// A path of this form with `mask` in place of its parameters, and of all that `**` stands for.
    pub fn mask(&self, path: &str, mask: &str) -> String {
        let mut out = String::new();
        for (segment, part) in self.segments.iter().zip(path.strip_prefix('/').unwrap_or(path).split('/')) {
            out.push('/');
            out.push_str(if let Segment::Literal(_) = segment { part } else { mask });
        }
        out
    }

    /// Whether a path, without its query, is of this form.
    pub fn matches(&self, path: &[u8]) -> bool {
        if self.is_literal {
            return self.text.as_bytes() == path;
        }
        let Some(rest) = path.strip_prefix(b"/") else { return false };
        let mut parts = rest.split(|b| *b == b'/');
        for segment in &self.segments {
            let part = match (segment, parts.next()) {
                (Segment::Rest, _) => return true,
                (_, Some(part)) => part,
                (_, None) => return false,
            };
            let is_same = match segment {
                Segment::Literal(literal) => literal.as_bytes() == part,
                Segment::One | Segment::Rest => !part.is_empty(),
            };
            if !is_same {
                return false;
            }
        }
        parts.next().is_none()
    }
}

// === impl HostPattern ===

impl HostPattern {
    /// Reads a pattern; `None` where it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let lower = text.to_ascii_lowercase();
        match lower.strip_prefix('*') {
            Some("") => Some(Self::Any),
            Some(rest) => {
                (rest.starts_with('.') && rest.len() > 1 && !rest.contains('*')).then(|| Self::Below(rest.to_owned()))
            }
            None if lower.is_empty() || lower.contains(['*', '/', ':']) => None,
            None => Some(Self::Exact(lower)),
        }
    }

    /// Whether a host, without its port, is one of these.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => exact.eq_ignore_ascii_case(host),
            Self::Below(end) => {
                let tail = host.len().checked_sub(end.len()).and_then(|at| host.get(at..));
                host.len() > end.len() && tail.is_some_and(|tail| tail.eq_ignore_ascii_case(end))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn path_vectors() {
        // Template, path, whether it matches, reason.
        let rows = [
            ("/", "/", true, "the root"),
            ("/", "/a", false, "and nothing else"),
            ("/orders/{id}", "/orders/7", true, "a parameter"),
            ("/orders/{id}", "/orders/", false, "which is not empty"),
            ("/orders/{id}", "/orders", false, "and not missing"),
            ("/orders/{id}", "/orders/7/lines", false, "one segment only"),
            ("/orders/*/lines", "/orders/7/lines", true, "a star is a parameter without a name"),
            ("/api/**", "/api/a/b/c", true, "any rest"),
            ("/api/**", "/api/", true, "even an empty one"),
            ("/api/**", "/api", true, "or none"),
            ("/api/**", "/apis", false, "whole segments"),
            ("/a", "/A", false, "paths are case-sensitive"),
            ("/a", "a", false, "a path begins with a slash"),
            ("/a", "", false, "nothing"),
        ];
        for (template, path, want, reason) in rows {
            assert_eq!(
                PathTemplate::parse(template).unwrap().matches(path.as_bytes()),
                want,
                "{reason}: {template} {path}"
            );
        }
        for bad in ["", "a", "/a*", "/{a", "/a}", "/{}", "/{a}b", "/**/a", "/a?b", "/{{a}}"] {
            assert_eq!(PathTemplate::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn host_vectors() {
        let rows = [
            ("*", "anything", true, "any host"),
            ("shop.example", "shop.example", true, "one host"),
            ("shop.example", "SHOP.example", true, "hosts are not case-sensitive"),
            ("shop.example", "a.shop.example", false, "no other"),
            ("*.example", "shop.example", true, "below"),
            ("*.example", "a.b.example", true, "at any depth"),
            ("*.example", "example", false, "but not the name itself"),
            ("*.example", "badexample", false, "whole labels"),
            ("*.example", "\u{e9}.example", true, "any text below"),
        ];
        for (pattern, host, want, reason) in rows {
            assert_eq!(HostPattern::parse(pattern).unwrap().matches(host), want, "{reason}: {pattern} {host}");
        }
        for bad in ["", "*example", "a.*", "*.", "*.*.b", "a:80", "a/b"] {
            assert_eq!(HostPattern::parse(bad), None, "{bad}");
        }
    }
}
