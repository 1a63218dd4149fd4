//! Replies over gRPC. In: headers, body and trailers of an HTTP/2 response. Out: a [`Verdict`], by the status codes that
//! OTLP calls retryable, and RetryInfo in `grpc-status-details-bin`. A response without a gRPC status is judged by its
//! HTTP status (grpc/grpc doc/http-grpc-status-mapping.md).

use super::{Reply, Verdict, taken, text, words};
use crate::config::MAX_RETRY_AFTER;
use crate::export::request::unframed;
use crate::export::wire::{self, Field};
use crate::host::Headers;

const OK: u32 = 0;
const CANCELLED: u32 = 1;
const UNKNOWN: u32 = 2;
const DEADLINE_EXCEEDED: u32 = 4;
const RESOURCE_EXHAUSTED: u32 = 8;
const ABORTED: u32 = 10;
const OUT_OF_RANGE: u32 = 11;
const UNAVAILABLE: u32 = 14;
const DATA_LOSS: u32 = 15;

const RETRY_INFO: &[u8] = b"type.googleapis.com/google.rpc.RetryInfo";
/// A status with details is small; a larger one is not read.
const DETAILS_LIMIT: usize = 16 * 1024;

pub(super) fn verdict(reply: &Reply, http_status: u16, headers: &Headers) -> Verdict {
    // A response without a body may hold everything in its headers.
    let find = |name: &[u8]| reply.trailers.get(name).or_else(|| headers.get(name));
    let given = text(&reply.trailers, b"grpc-status").or_else(|| text(headers, b"grpc-status"));
    let Some(given) = given else {
        return match http_status {
            429 | 502 | 503 | 504 => Verdict::Retry { cause: format!("the receiver answered {http_status}"), wait: 0 },
            _ => Verdict::Refused(format!(
                "the receiver answered {http_status} without a gRPC status; the records were dropped. Is this an \
                 OTLP/gRPC receiver?"
            )),
        };
    };
    let code = given.parse().unwrap_or(UNKNOWN);
    if code == OK {
        return taken(unframed(&reply.body).unwrap_or_default());
    }
    let said = find(b"grpc-message").map(words).unwrap_or_default();
    let wait = find(b"grpc-status-details-bin").and_then(retry_delay);
    match (code, wait) {
        (CANCELLED | DEADLINE_EXCEEDED | ABORTED | OUT_OF_RANGE | UNAVAILABLE | DATA_LOSS, _)
        | (RESOURCE_EXHAUSTED, Some(_)) => Verdict::Retry {
            cause: format!("the receiver answered gRPC status {code} {said}"),
            wait: wait.unwrap_or(0),
        },
        _ => Verdict::Refused(format!("the receiver answered gRPC status {code} {said}; the records were dropped")),
    }
}

/// The delay of a `RetryInfo` among the details of a `google.rpc.Status`, in nanoseconds.
fn retry_delay(details: &[u8]) -> Option<u64> {
    let status = unbase64(details.get(..DETAILS_LIMIT).unwrap_or(details))?;
    let mut delay = None;
    wire::read(&status, &mut |number, field| {
        if let (3, Field::Bytes(any)) = (number, field) {
            delay = delay.or_else(|| delay_of(any));
        }
    })?;
    delay
}

/// The delay in one detail, a `google.protobuf.Any`, if it is a `RetryInfo`; one without a delay asks for none.
fn delay_of(any: &[u8]) -> Option<u64> {
    let (mut is_retry_info, mut info) = (false, &[][..]);
    wire::read(any, &mut |number, field| match (number, field) {
        (1, Field::Bytes(url)) => is_retry_info = url == RETRY_INFO,
        (2, Field::Bytes(value)) => info = value,
        _ => {}
    })?;
    if !is_retry_info {
        return None;
    }
    let mut duration = &[][..];
    wire::read(info, &mut |number, field| {
        if let (1, Field::Bytes(value)) = (number, field) {
            duration = value;
        }
    })?;
    let (mut seconds, mut nanos) = (0, 0);
    wire::read(duration, &mut |number, field| match (number, field) {
        (1, Field::Number(value)) => seconds = value,
        (2, Field::Number(value)) => nanos = value,
        _ => {}
    })?;
    // Negative numbers are two's complements; a negative delay is none.
    let part = |value: u64| u64::try_from(value as i64).unwrap_or(0);
    let delay = part(seconds).saturating_mul(1_000_000_000).saturating_add(part(nanos).min(999_999_999));
    Some(delay.min(MAX_RETRY_AFTER.as_nanos()))
}

/// Base64 with or without its padding, as gRPC carries binary headers.
fn unbase64(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.trim_ascii_end();
    let text = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    let mut out = Vec::with_capacity(text.len());
    for quad in text.chunks(4) {
        let mut bits = 0u32;
        for at in 0..4 {
            let sextet = match quad.get(at).copied() {
                Some(c @ b'A'..=b'Z') => c.wrapping_sub(b'A'),
                Some(c @ b'a'..=b'z') => c.wrapping_sub(b'a').wrapping_add(26),
                Some(c @ b'0'..=b'9') => c.wrapping_sub(b'0').wrapping_add(52),
                Some(b'+') => 62,
                Some(b'/') => 63,
                Some(_) => return None,
                None => 0,
            };
            bits = bits << 6 | u32::from(sextet);
        }
        let whole = quad.len().checked_sub(1)?;
        out.extend_from_slice(bits.to_be_bytes().get(1..)?.get(..whole)?);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse};
    use prost::Message;

    use super::*;
    use crate::config::Protocol;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const SECOND: u64 = 1_000_000_000;
    /// `google.rpc.Status` with a RetryInfo of 7 seconds, made with the Python package `googleapis-common-protos`.
    const SEVEN_SECONDS: &str = "CAgSBGJ1c3kaMAoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIECgIIBw==";

    fn headers(pairs: &[(&str, &str)]) -> Headers {
        Headers::from_wire(Headers::to_wire(pairs))
    }

    fn verdict(head: &[(&str, &str)], body: &[u8], trailers: &[(&str, &str)]) -> Verdict {
        let (head, trailers) = (Some(headers(head)), headers(trailers));
        let reply = Reply { headers: head, trailers, body: body.to_vec(), body_len: body.len() };
        reply.verdict(Protocol::Grpc, 0)
    }

    #[test]
    fn only_what_otlp_names_is_tried_again() {
        for code in 0..20 {
            let number = code.to_string();
            for (head, trailers) in [
                (vec![(":status", "200")], vec![("grpc-status", number.as_str())]),
                (vec![(":status", "200"), ("grpc-status", number.as_str())], vec![]),
            ] {
                let verdict = verdict(&head, b"", &trailers);
                match code {
                    0 => assert!(matches!(verdict, Verdict::Taken { rejected: 0, .. }), "{code}"),
                    1 | 4 | 10 | 11 | 14 | 15 => assert!(matches!(verdict, Verdict::Retry { wait: 0, .. }), "{code}"),
                    _ => assert!(matches!(verdict, Verdict::Refused(_)), "{code}"),
                }
            }
        }
        let rubbish = verdict(&[(":status", "200"), ("grpc-status", "-0x")], b"", &[]);
        assert!(matches!(rubbish, Verdict::Refused(_)), "a status that is none");
        assert!(matches!(Reply::default().verdict(Protocol::Grpc, 0), Verdict::Retry { wait: 0, .. }), "no reply");
    }

    #[test]
    fn without_a_grpc_status_the_http_status_counts() {
        for status in [200, 204, 400, 404, 415, 429, 500, 502, 503, 504] {
            let verdict = verdict(&[(":status", &status.to_string())], b"", &[]);
            let is_retry = matches!(verdict, Verdict::Retry { .. });
            assert_eq!(is_retry, [429, 502, 503, 504].contains(&status), "{status}");
            assert!(!matches!(verdict, Verdict::Taken { .. }), "{status}");
        }
    }

    #[test]
    fn a_receiver_is_left_alone_for_as_long_as_its_retry_info_asks() {
        let answer = |code: &str, details: &str| {
            verdict(&[(":status", "200")], b"", &[("grpc-status", code), ("grpc-status-details-bin", details)])
        };
        for details in [SEVEN_SECONDS, SEVEN_SECONDS.trim_end_matches('=')] {
            for code in ["8", "14"] {
                let Verdict::Retry { wait, .. } = answer(code, details) else { panic!("{code}") };
                assert_eq!(wait, 7 * SECOND, "{code}");
            }
            assert!(matches!(answer("3", details), Verdict::Refused(_)), "it does not make a refusal a retry");
        }
        for details in ["", "!", "AAAA", &SEVEN_SECONDS[..40], "CA4SBGJ1c3k="] {
            assert!(matches!(answer("8", details), Verdict::Refused(_)), "no RetryInfo in {details:?}");
            assert!(matches!(answer("14", details), Verdict::Retry { wait: 0, .. }), "{details:?}");
        }
    }

    #[test]
    fn delays_are_bounded() {
        // The fields of a Duration, its nanoseconds.
        let rows = [
            (&[][..], 0, "none"),
            (&[0x08, 7], 7 * SECOND, "seconds"),
            (&[0x10, 5], 5, "nanoseconds"),
            (&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], 0, "a negative one"),
            (&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], 300 * SECOND, "the largest"),
        ];
        for (duration, nanos, reason) in rows {
            let mut any = vec![0x0a, RETRY_INFO.len() as u8];
            any.extend(RETRY_INFO);
            any.extend([0x12, duration.len() as u8 + 2, 0x0a, duration.len() as u8]);
            any.extend(duration);
            assert_eq!(delay_of(&any), Some(nanos), "{reason}");
        }
    }

    #[test]
    fn a_partial_success_is_read_from_its_frame() {
        let partial = ExportLogsPartialSuccess { rejected_log_records: 3, error_message: "too old".into() };
        let message = ExportLogsServiceResponse { partial_success: Some(partial) }.encode_to_vec();
        let frame = |flag: u8, len: u32| [&[flag][..], &len.to_be_bytes(), &message].concat();
        let len = message.len() as u32;
        let taken = |body: &[u8]| match verdict(&[(":status", "200")], body, &[("grpc-status", "0")]) {
            Verdict::Taken { rejected, .. } => rejected,
            other => panic!("{other:?}"),
        };
        assert_eq!(taken(&frame(0, len)), 3);
        assert_eq!(taken(&frame(1, len)), 0, "compressed, which was not asked for");
        assert_eq!(taken(&frame(0, len + 1)), 0, "cut short");
        assert_eq!(taken(b"\0\0"), 0);
        assert_eq!(taken(b"<html>"), 0);
    }

    #[test]
    fn base64_is_read_with_and_without_padding() {
        let rows =
            [("", ""), ("Zg==", "f"), ("Zg", "f"), ("Zm8=", "fo"), ("Zm8", "fo"), ("Zm9v", "foo"), ("Zm9vYg", "foob")];
        for (text, plain) in rows {
            assert_eq!(unbase64(text.as_bytes()).as_deref(), Some(plain.as_bytes()), "{text}");
        }
        assert_eq!(unbase64(b"/+8="), Some(vec![0xff, 0xef]));
        assert_eq!(unbase64(b"Zm9v\n*"), None);
    }
}
