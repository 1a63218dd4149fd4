//! What a receiver answered. In: the status and body of a reply, or the lack of one. Out: a [`Verdict`], by the rules of
//! the OTLP specification ("OTLP/HTTP Response"): only 429, 502, 503, 504 and a lost connection are tried again, and a
//! partial success never is. A success whose body cannot be decoded is a success.

use prost::Message;

/// A reply to one export.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// `None` where there was none: a timeout, a reset, no connection.
    pub status: Option<u16>,
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
    Retry(String),
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

    pub(super) fn verdict(&self) -> Verdict {
        match self.status {
            None => Verdict::Retry("no reply; the collector is down, unreachable or too slow".to_owned()),
            Some(200..=299) => self.taken(),
            Some(status @ (429 | 502 | 503 | 504)) => Verdict::Retry(format!("the receiver answered {status}")),
            Some(status) => Verdict::Refused(format!(
                "the receiver answered {status}; the records were dropped. Is this an OTLP/HTTP receiver?"
            )),
        }
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
        Reply { status: Some(status), body: body.to_vec() }
    }

    #[test]
    fn only_what_otlp_names_is_tried_again() {
        for status in 100..600 {
            let verdict = reply(status, b"").verdict();
            match status {
                200..=299 => assert!(matches!(verdict, Verdict::Taken { rejected: 0, .. }), "{status}"),
                429 | 502 | 503 | 504 => assert!(matches!(verdict, Verdict::Retry(_)), "{status}"),
                _ => assert!(matches!(verdict, Verdict::Refused(_)), "{status}"),
            }
        }
        assert!(matches!(Reply::default().verdict(), Verdict::Retry(_)), "no reply");
    }

    #[test]
    fn a_partial_success_tells_how_many_were_rejected() {
        let body = |rejected_spans, error_message: &str| {
            let partial = ExportTracePartialSuccess { rejected_spans, error_message: error_message.into() };
            ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec()
        };
        let taken = |rejected, message: &str| Verdict::Taken { rejected, message: message.into() };
        assert_eq!(reply(200, &body(3, "too old\n")).verdict(), taken(3, "too old"));
        assert_eq!(reply(200, &body(0, "a warning")).verdict(), taken(0, "a warning"));
        assert_eq!(reply(200, &body(-1, "")).verdict(), taken(0, ""));
        assert_eq!(reply(200, &body(i64::MAX, "")).verdict(), taken(u32::MAX, ""));
        assert_eq!(reply(200, b"<html>").verdict(), taken(0, ""), "a body that nobody can read");
        let Verdict::Taken { message, .. } = reply(200, &body(1, &"x".repeat(9999))).verdict() else { panic!() };
        assert_eq!(message.len(), 256);
    }
}
