//! The body of an access log. In: text with names of fields in braces, `{method} {path} {status}`. Out: its pieces.
//! Refuses a field that there is not, and braces that hold none.

/// A template, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body(pub Vec<Piece>);

/// A piece of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Text that stays as it is.
    Literal(String),
    /// Something of the exchange.
    Field(Field),
}

/// What can be said of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The request's method.
    Method,
    /// Its path without the query.
    Path,
    /// Its host.
    Host,
    /// `http.route`.
    Route,
    /// The user agent.
    UserAgent,
    /// The status code.
    Status,
    /// The protocol, `HTTP/1.1`.
    Protocol,
    /// Envoy's response flags.
    Flags,
    /// Milliseconds that it took.
    Duration,
    /// Bytes of the request's body.
    RequestSize,
    /// Bytes of the response's body.
    ResponseSize,
    /// The trace's id.
    TraceId,
    /// The span's id.
    SpanId,
}

/// Every field by its name.
const FIELDS: [(&str, Field); 13] = [
    ("method", Field::Method),
    ("path", Field::Path),
    ("host", Field::Host),
    ("route", Field::Route),
    ("userAgent", Field::UserAgent),
    ("status", Field::Status),
    ("protocol", Field::Protocol),
    ("flags", Field::Flags),
    ("duration", Field::Duration),
    ("requestSize", Field::RequestSize),
    ("responseSize", Field::ResponseSize),
    ("traceId", Field::TraceId),
    ("spanId", Field::SpanId),
];

// === impl Body ===

impl Body {
    /// Takes a template apart.
    pub fn parse(mut text: &str) -> Option<Self> {
        let mut pieces = Vec::new();
        while let Some((literal, rest)) = text.split_once('{') {
            let (name, rest) = rest.split_once('}')?;
            let (_, field) = FIELDS.iter().find(|(known, _)| *known == name)?;
            pieces.extend([Piece::Literal(literal.to_owned()), Piece::Field(*field)]);
            text = rest;
        }
        pieces.push(Piece::Literal(text.to_owned()));
        let is_open = |piece: &Piece| matches!(piece, Piece::Literal(text) if text.contains('}'));
        (!pieces.iter().any(is_open)).then_some(Self(pieces))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_template_is_text_and_known_fields() {
        let literal = |text: &str| Piece::Literal(text.to_owned());
        let want =
            vec![literal("a "), Piece::Field(Field::Path), literal("b"), Piece::Field(Field::Status), literal("")];
        assert_eq!(Body::parse("a {path}b{status}"), Some(Body(want)));
        assert_eq!(Body::parse(""), Some(Body(vec![literal("")])));
        for bad in ["{", "}", "{}", "{Path}", "{path", "path}", "{{path}}", "{path}}", "{query}"] {
            assert_eq!(Body::parse(bad), None, "{bad}");
        }
    }
}
