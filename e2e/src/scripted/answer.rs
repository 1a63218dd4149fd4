//! An answer to an export, good or bad. In: a status of HTTP or gRPC, and what else is wanted. Out: what a receiver sends,
//! and whether it takes the records.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use prost::Message;

/// What to do with a request.
#[derive(Debug, Clone)]
pub struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Vec<(&'static str, String)>,
    pub(super) how: How,
    /// Seconds from then on that `Retry-After` names as a date.
    pub(super) retry_date: Option<u64>,
    /// Records taken and records rejected of those, `None` where the answer means that none was taken.
    pub(super) takes: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Whole,
    /// Nothing at all.
    Hang,
    /// The stream, or its connection, is broken off without an answer.
    Reset,
    /// The same in the middle of the body.
    ResetInBody,
    /// The body never ends.
    SlowBody,
}

#[derive(Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected: i64,
    #[prost(string, tag = "2")]
    message: String,
}

#[derive(Message)]
struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    delay: Option<RetryDelay>,
}

#[derive(Message)]
struct RetryDelay {
    #[prost(int64, tag = "1")]
    seconds: i64,
}

#[derive(Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

// === impl Answer ===

impl Answer {
    /// An HTTP status with an empty body; 200 takes the records.
    pub fn http(status: u16) -> Self {
        let takes = (200..300).contains(&status).then_some(0);
        let headers = vec![("content-type", "application/x-protobuf".to_owned())];
        Self { status, headers, body: Vec::new(), trailers: Vec::new(), how: How::Whole, retry_date: None, takes }
    }

    /// A gRPC status; 0 takes the records.
    pub fn grpc(code: u32) -> Self {
        Self {
            status: 200,
            headers: vec![("content-type", "application/grpc".to_owned())],
            body: if code == 0 { frame(&[]) } else { Vec::new() },
            trailers: vec![("grpc-status", code.to_string()), ("grpc-message", "scripted".to_owned())],
            how: How::Whole,
            retry_date: None,
            takes: (code == 0).then_some(0),
        }
    }

    /// With a RetryInfo.
    pub fn retry_info(mut self, seconds: i64) -> Self {
        let info = RetryInfo { delay: Some(RetryDelay { seconds }) };
        let type_url = "type.googleapis.com/google.rpc.RetryInfo".to_owned();
        let details = vec![Any { type_url, value: info.encode_to_vec() }];
        let status = RpcStatus { code: 0, message: "busy".to_owned(), details };
        self.trailers.push(("grpc-status-details-bin", STANDARD_NO_PAD.encode(status.encode_to_vec())));
        self
    }

    /// A success that rejects so many records.
    pub fn partial(mut self, rejected: usize) -> Self {
        let partial = PartialSuccess { rejected: rejected as i64, message: "too old".to_owned() };
        let message = ExportResponse { partial_success: Some(partial) }.encode_to_vec();
        self.body = if self.trailers.is_empty() { message } else { frame(&message) };
        self.takes = Some(rejected);
        self
    }

    /// With a header in place of the one of this name.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.retain(|(n, _)| *n != name);
        self.headers.push((name, value.into()));
        self
    }

    /// With a `Retry-After` that is a date, so many seconds after the answer.
    pub fn retry_date(mut self, seconds: u64) -> Self {
        self.retry_date = Some(seconds);
        self
    }

    /// With this body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Without trailers, and no success whatever the status says.
    pub fn refusing(mut self) -> Self {
        self.trailers.clear();
        self.takes = None;
        self
    }

    fn with(mut self, how: How) -> Self {
        self.how = how;
        self.takes = None;
        self
    }

    /// No answer at all.
    pub fn hang(self) -> Self {
        self.with(How::Hang)
    }

    /// A reset in place of an answer.
    pub fn reset(self) -> Self {
        self.with(How::Reset)
    }

    /// A reset in the middle of the answer's body.
    pub fn reset_in_body(self) -> Self {
        self.with(How::ResetInBody)
    }

    /// A body that does not come to its end.
    pub fn slow_body(self) -> Self {
        self.with(How::SlowBody)
    }
}

fn frame(message: &[u8]) -> Vec<u8> {
    [&[0][..], &(message.len() as u32).to_be_bytes(), message].concat()
}
