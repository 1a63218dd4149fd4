//! What a receiver answered. In: the status, headers and body of a reply, or the lack of one. Out: a [`Verdict`], by the
//! rules of the OTLP specification ("OTLP/HTTP Response"): only 429, 502, 503, 504 and a lost connection are tried again,
//! no sooner than `Retry-After` says, and a partial success never is. A success whose body cannot be decoded is a success.

use prost::Message;

use super::date;
use crate::config::MAX_RETRY_AFTER;
use crate::host::Headers;

/// A reply to one export.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// `None` where there was none: a timeout, a reset, no connection.
    pub status: Option<u16>,
    /// `Retry-After`, as it came.
    pub retry_after: Option<String>,
    /// At most [`Reply::BODY_LIMIT`] bytes of the body.
    pub body: Vec<u8>,
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

/// `ExportTraceServiceResponse` and its kin, which have the same shape.
#[derive(Clone, PartialEq, Message)]
struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected: i64,
    #[prost(string, tag = "2")]
    message: String,
}

// === impl Reply ===

impl Reply {
    /// A response that says which records were rejected is small; the rest of a larger one is not read.
    pub const BODY_LIMIT: usize = 64 * 1024;
    /// A receiver's own words go to the log up to this length in characters.
    const MESSAGE_LIMIT: usize = 256;

    /// Takes status and `Retry-After` from a reply's headers.
    pub fn of(headers: &Headers) -> Self {
        let text = |name: &[u8]| headers.get(name).and_then(|value| std::str::from_utf8(value).ok());
        Self {
            status: text(b":status").and_then(|status| status.parse().ok()),
            retry_after: text(b"retry-after").map(str::to_owned),
            body: Vec::new(),
        }
    }

    pub(super) fn verdict(&self, now: u64) -> Verdict {
        match self.status {
            None => {
                let cause = "no reply; the collector is down, unreachable or too slow".to_owned();
                Verdict::Retry { cause, wait: 0 }
            }
            Some(200..=299) => self.taken(),
            Some(status @ (429 | 502 | 503 | 504)) => {
                Verdict::Retry { cause: format!("the receiver answered {status}"), wait: self.wait(now) }
            }
            Some(status) => Verdict::Refused(format!(
                "the receiver answered {status}; the records were dropped. Is this an OTLP/HTTP receiver?"
            )),
        }
    }

    /// `Retry-After` in nanoseconds from now: a number of seconds, or a date (RFC 9110, 10.2.3); 0 where it is neither.
    fn wait(&self, now: u64) -> u64 {
        const SECOND: u64 = 1_000_000_000;
        let Some(text) = self.retry_after.as_deref().map(str::trim) else { return 0 };
        let wait = match text.parse::<u64>() {
            Ok(seconds) => seconds.saturating_mul(SECOND),
            Err(_) => date::parse(text).map_or(0, |date| date.saturating_mul(SECOND).saturating_sub(now)),
        };
        wait.min(MAX_RETRY_AFTER.as_nanos())
    }

    fn taken(&self) -> Verdict {
        let response = ExportResponse::decode(self.body.as_slice()).unwrap_or_default();
        let partial = response.partial_success.unwrap_or_default();
        let rejected = u32::try_from(partial.rejected.max(0)).unwrap_or(u32::MAX);
        let message = partial.message.chars().filter(|c| !c.is_control()).take(Self::MESSAGE_LIMIT).collect();
        Verdict::Taken { rejected, message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn reply(status: u16, body: &[u8]) -> Reply {
        Reply { status: Some(status), retry_after: None, body: body.to_vec() }
    }

    #[test]
    fn only_what_otlp_names_is_tried_again() {
        for status in 100..600 {
            let verdict = reply(status, b"").verdict(0);
            match status {
                200..=299 => assert!(matches!(verdict, Verdict::Taken { rejected: 0, .. }), "{status}"),
                429 | 502 | 503 | 504 => assert!(matches!(verdict, Verdict::Retry { wait: 0, .. }), "{status}"),
                _ => assert!(matches!(verdict, Verdict::Refused(_)), "{status}"),
            }
        }
        assert!(matches!(Reply::default().verdict(0), Verdict::Retry { wait: 0, .. }), "no reply");
    }

    #[test]
    fn a_receiver_is_left_alone_for_as_long_as_it_asks() {
        const SECOND: u64 = 1_000_000_000;
        // 1994-11-06 08:49:37 in Unix seconds.
        const DATE: u64 = 784_111_777;
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
            let reply = Reply { status: Some(503), retry_after: Some(text.to_owned()), body: Vec::new() };
            let Verdict::Retry { wait, .. } = reply.verdict(DATE * SECOND) else { panic!("{reason}") };
            assert_eq!(wait, seconds * SECOND, "{reason}");
        }
        let refused = Reply { status: Some(400), retry_after: Some("7".to_owned()), body: Vec::new() };
        assert!(matches!(refused.verdict(0), Verdict::Refused(_)), "it does not make a refusal a retry");
    }

    #[test]
    fn a_partial_success_tells_how_many_were_rejected() {
        let body = |rejected_spans, error_message: &str| {
            let partial = ExportTracePartialSuccess { rejected_spans, error_message: error_message.into() };
            ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec()
        };
        let taken = |rejected, message: &str| Verdict::Taken { rejected, message: message.into() };
        assert_eq!(reply(200, &body(3, "too old\n")).verdict(0), taken(3, "too old"));
        assert_eq!(reply(200, &body(0, "a warning")).verdict(0), taken(0, "a warning"));
        assert_eq!(reply(200, &body(-1, "")).verdict(0), taken(0, ""));
        assert_eq!(reply(200, &body(i64::MAX, "")).verdict(0), taken(u32::MAX, ""));
        assert_eq!(reply(200, b"<html>").verdict(0), taken(0, ""), "a body that nobody can read");
        let Verdict::Taken { message, .. } = reply(200, &body(1, &"x".repeat(9999))).verdict(0) else { panic!() };
        assert_eq!(message.len(), 256);
    }
}
