//! What a receiver answered. In: the headers, the body and the trailers of a reply, or the lack of one. Out: a
//! [`Verdict`], by the rules of the OTLP specification ("OTLP/HTTP Response", "OTLP/gRPC Response"): only what it names is
//! tried again, no sooner than the receiver asks for, and a partial success never is. A success whose body cannot be
//! decoded is a success.

mod grpc;

use super::date;
use super::wire::{self, Field};
use crate::config::{MAX_RETRY_AFTER, Protocol};
use crate::host::Headers;

/// A reply to one export.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// `None` where there was none: a timeout, a reset, no connection.
    pub headers: Option<Headers>,
    /// Trailers, as gRPC has them.
    pub trailers: Headers,
    /// At most [`Reply::BODY_LIMIT`] bytes of the body.
    pub body: Vec<u8>,
    /// How long the whole body is.
    pub body_len: usize,
}

/// What it means for the records.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The receiver has them, but for those it rejected.
    Taken {
        /// How many it rejected.
        rejected: u32,
        /// Why.
        message: String,
    },
    /// It may take them later.
    Retry {
        /// Why not now.
        cause: String,
        /// Nanoseconds for which it wants to be left alone.
        wait: u64,
    },
    /// It will never take them.
    Refused(String),
}

// === impl Reply ===

impl Reply {
    /// A response that says which records were rejected is small; the rest of a larger one is not read.
    pub const BODY_LIMIT: usize = 64 * 1024;
    /// A larger response is a failure that is not tried again (OTLP specification, "Response Size Limit").
    const RESPONSE_LIMIT: usize = 4 * 1024 * 1024;

    pub(super) fn verdict(&self, protocol: Protocol, now: u64) -> Verdict {
        let Some(headers) = &self.headers else {
            let cause = "no reply; the collector is down, unreachable or too slow".to_owned();
            return Verdict::Retry { cause, wait: 0 };
        };
        if self.body_len > Self::RESPONSE_LIMIT {
            return Verdict::Refused("the response is larger than 4 MiB; the records were dropped".to_owned());
        }
        let status = text(headers, b":status").and_then(|status| status.parse().ok()).unwrap_or(0);
        match protocol {
            Protocol::HttpProtobuf => self.http(status, headers, now),
            Protocol::Grpc => grpc::verdict(self, status, headers),
        }
    }

    fn http(&self, status: u16, headers: &Headers, now: u64) -> Verdict {
        match status {
            // A login or error page of something in between: whatever it took, it was not records.
            200..=299 if headers.get(b"content-type").is_some_and(|kind| kind.starts_with(b"text/html")) => {
                Verdict::Refused(
                    "a web page was answered; the records were dropped. Is this an OTLP/HTTP receiver?".to_owned(),
                )
            }
            200..=299 => taken(&self.body),
            429 | 502 | 503 | 504 => {
                let wait = text(headers, b"retry-after").map_or(0, |text| retry_after(text, now));
                Verdict::Retry { cause: format!("the receiver answered {status}"), wait }
            }
            _ => Verdict::Refused(format!(
                "the receiver answered {status}; the records were dropped. Is this an OTLP/HTTP receiver?"
            )),
        }
    }
}

fn text<'a>(headers: &'a Headers, name: &[u8]) -> Option<&'a str> {
    headers.get(name).and_then(|value| std::str::from_utf8(value).ok())
}

/// A receiver's own words, fit for the log.
fn words(bytes: &[u8]) -> String {
    const LIMIT: usize = 256;
    String::from_utf8_lossy(bytes).chars().filter(|c| !c.is_control()).take(LIMIT).collect()
}

/// `Retry-After` in nanoseconds from now: a number of seconds, or a date (RFC 9110, 10.2.3); 0 where it is neither.
fn retry_after(text: &str, now: u64) -> u64 {
    const SECOND: u64 = 1_000_000_000;
    let text = text.trim_ascii();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => seconds.saturating_mul(SECOND),
        Err(_) => date::parse(text).map_or(0, |date| date.saturating_mul(SECOND).saturating_sub(now)),
    };
    wait.min(MAX_RETRY_AFTER.as_nanos())
}

/// A success, perhaps in part: `ExportTraceServiceResponse` and its kin have the same shape.
fn taken(response: &[u8]) -> Verdict {
    let (mut rejected, mut message) = (0, &[][..]);
    let mut partial = None;
    let whole = wire::read(response, &mut |number, field| {
        if let (1, Field::Bytes(bytes)) = (number, field) {
            partial = Some(bytes);
        }
    });
    let whole = whole.and_then(|()| {
        wire::read(partial?, &mut |number, field| match (number, field) {
            (1, Field::Number(count)) => rejected = count,
            (2, Field::Bytes(bytes)) => message = bytes,
            _ => {}
        })
    });
    if whole.is_none() {
        return Verdict::Taken { rejected: 0, message: String::new() };
    }
    // A negative number is none.
    let rejected = u32::try_from((rejected as i64).max(0)).unwrap_or(u32::MAX);
    Verdict::Taken { rejected, message: words(message) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;

    use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn reply(status: u16, body: &[u8]) -> Reply {
        let headers = Headers::from_wire(Headers::to_wire(&[(":status", &status.to_string())]));
        Reply { headers: Some(headers), body: body.to_vec(), body_len: body.len(), ..Reply::default() }
    }

    fn verdict(status: u16, body: &[u8]) -> Verdict {
        reply(status, body).verdict(Protocol::HttpProtobuf, 0)
    }

    #[test]
    fn only_what_otlp_names_is_tried_again() {
        for status in 100..600 {
            let verdict = verdict(status, b"");
            match status {
                200..=299 => assert!(matches!(verdict, Verdict::Taken { rejected: 0, .. }), "{status}"),
                429 | 502 | 503 | 504 => assert!(matches!(verdict, Verdict::Retry { wait: 0, .. }), "{status}"),
                _ => assert!(matches!(verdict, Verdict::Refused(_)), "{status}"),
            }
        }
        assert!(
            matches!(Reply::default().verdict(Protocol::HttpProtobuf, 0), Verdict::Retry { wait: 0, .. }),
            "no reply"
        );
    }

    #[test]
    fn a_receiver_is_left_alone_for_as_long_as_it_asks() {
        const SECOND: u64 = 1_000_000_000;
        // 1994-11-06 08:49:37 in Unix seconds.
        const DATE: u64 = 784_111_777;
        let busy = |status: &str, text: &str| {
            let headers = Headers::from_wire(Headers::to_wire(&[(":status", status), ("retry-after", text)]));
            Reply { headers: Some(headers), ..Reply::default() }
        };
        let rows = [
            ("7", 7, "seconds"),
            (" 7 ", 7, "with white space"),
            ("0", 0, "none"),
            ("86400", 300, "no longer than our own bound"),
            ("99999999999999999999", 0, "a number that is none"),
            ("-1", 0, "a negative one"),
            ("Sun, 06 Nov 1994 08:49:47 GMT", 10, "a date"),
            ("Sunday, 06-Nov-94 08:49:47 GMT", 10, "an old date"),
            ("Sun, 06 Nov 1994 08:49:27 GMT", 0, "a date that is past"),
            ("Sat, 06 Nov 2094 08:49:27 GMT", 300, "a date far away"),
            ("soon", 0, "a word"),
            ("", 0, "nothing"),
        ];
        for (text, seconds, reason) in rows {
            let verdict = busy("503", text).verdict(Protocol::HttpProtobuf, DATE * SECOND);
            let Verdict::Retry { wait, .. } = verdict else { panic!("{reason}") };
            assert_eq!(wait, seconds * SECOND, "{reason}");
        }
        let refused = busy("400", "7").verdict(Protocol::HttpProtobuf, 0);
        assert!(matches!(refused, Verdict::Refused(_)), "it does not make a refusal a retry");
    }

    #[test]
    fn a_web_page_is_no_success() {
        for (kind, is_page) in
            [("text/html; charset=utf-8", true), ("application/x-protobuf", false), ("text/plain", false)]
        {
            let headers = Headers::from_wire(Headers::to_wire(&[(":status", "200"), ("content-type", kind)]));
            let verdict = Reply { headers: Some(headers), ..Reply::default() }.verdict(Protocol::HttpProtobuf, 0);
            assert_eq!(matches!(verdict, Verdict::Refused(_)), is_page, "{kind}");
        }
    }

    #[test]
    fn a_response_beyond_the_limit_is_a_failure() {
        let huge = Reply { body_len: Reply::RESPONSE_LIMIT + 1, ..reply(200, b"") };
        assert!(matches!(huge.verdict(Protocol::HttpProtobuf, 0), Verdict::Refused(_)));
        let large = Reply { body_len: Reply::RESPONSE_LIMIT, ..reply(200, b"") };
        assert!(matches!(large.verdict(Protocol::HttpProtobuf, 0), Verdict::Taken { .. }));
    }

    #[test]
    fn a_partial_success_tells_how_many_were_rejected() {
        let body = |rejected_spans, error_message: &str| {
            let partial = ExportTracePartialSuccess { rejected_spans, error_message: error_message.into() };
            ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec()
        };
        let taken = |rejected, message: &str| Verdict::Taken { rejected, message: message.into() };
        assert_eq!(verdict(200, &body(3, "too old\n")), taken(3, "too old"));
        assert_eq!(verdict(200, &body(0, "a warning")), taken(0, "a warning"));
        assert_eq!(verdict(200, &body(-1, "")), taken(0, ""));
        assert_eq!(verdict(200, &body(i64::MAX, "")), taken(u32::MAX, ""));
        assert_eq!(verdict(200, b"<html>"), taken(0, ""), "a body that nobody can read");
        let Verdict::Taken { message, .. } = verdict(200, &body(1, &"x".repeat(9999))) else { panic!() };
        assert_eq!(message.len(), 256);
    }
}
