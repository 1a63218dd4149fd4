//! OTLP's protobuf wire form (opentelemetry-proto 1.x), written straight into a buffer. In: numbers, text and bytes from
//! anywhere. Out: messages that every receiver decodes; text is made valid UTF-8 and cut to its limit, since one bad
//! string would cost the whole export. A test decodes all of it with the `opentelemetry-proto` crate.

use std::borrow::Cow;

use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

use crate::config::MAX_VALUE_BYTES;

/// Field number of the records in `ScopeSpans`, `ScopeLogs` and `ScopeMetrics` alike.
const RECORDS: u32 = 2;
/// The conventions that attribute names follow.
const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.37.0";
const SCOPE_NAME: &str = "otelmesh";

/// A varint field: enums, integers and booleans.
pub fn varint(buf: &mut Vec<u8>, field: u32, value: u64) {
    encode_key(field, WireType::Varint, buf);
    encode_varint(value, buf);
}

/// A fixed64 field, as timestamps are.
pub fn fixed64(buf: &mut Vec<u8>, field: u32, value: u64) {
    encode_key(field, WireType::SixtyFourBit, buf);
    buf.extend_from_slice(&value.to_le_bytes());
}

/// A fixed32 field, as flags are.
pub fn fixed32(buf: &mut Vec<u8>, field: u32, value: u32) {
    encode_key(field, WireType::ThirtyTwoBit, buf);
    buf.extend_from_slice(&value.to_le_bytes());
}

/// A double field.
pub fn double(buf: &mut Vec<u8>, field: u32, value: f64) {
    fixed64(buf, field, value.to_bits());
}

/// A varint without a key, as packed fields have them.
pub fn number(buf: &mut Vec<u8>, value: u64) {
    encode_varint(value, buf);
}

/// A bytes field.
pub fn bytes(buf: &mut Vec<u8>, field: u32, value: &[u8]) {
    encode_key(field, WireType::LengthDelimited, buf);
    encode_varint(value.len() as u64, buf);
    buf.extend_from_slice(value);
}

/// A message field whose content `fill` writes.
pub fn message(buf: &mut Vec<u8>, field: u32, fill: impl FnOnce(&mut Vec<u8>)) {
    encode_key(field, WireType::LengthDelimited, buf);
    let start = buf.len();
    fill(buf);
    let len = buf.len().saturating_sub(start);
    // The length is known only now: write it behind the content, then turn the two around.
    encode_varint(len as u64, buf);
    if let Some(tail) = buf.get_mut(start..) {
        tail.rotate_left(len);
    }
}

/// Text that fits an attribute: valid UTF-8, of at most [`MAX_VALUE_BYTES`] of what came.
pub fn text(bytes: &[u8]) -> Cow<'_, str> {
    let is_inside_character = |at: usize| bytes.get(at).is_some_and(|b| b & 0xc0 == 0x80);
    let longest = MAX_VALUE_BYTES.min(bytes.len());
    // A character has four bytes at most, so one of these is a boundary unless the bytes are no UTF-8 anyway.
    let end = (0..4).map(|back| longest.saturating_sub(back)).find(|at| !is_inside_character(*at)).unwrap_or(longest);
    String::from_utf8_lossy(bytes.get(..end).unwrap_or(bytes))
}

/// A typed attribute value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// `string_value`
    Text(&'a str),
    /// `int_value`
    Int(i64),
    /// `double_value`
    Double(f64),
    /// `bool_value`
    Bool(bool),
}

/// A `KeyValue` field.
pub fn attribute(buf: &mut Vec<u8>, field: u32, key: &str, value: Value<'_>) {
    message(buf, field, |buf| {
        bytes(buf, 1, key.as_bytes());
        message(buf, 2, |buf| any_value(buf, value));
    });
}

/// The content of an `AnyValue`.
pub fn any_value(buf: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::Text(text) => bytes(buf, 1, text.as_bytes()),
        Value::Bool(flag) => varint(buf, 2, u64::from(flag)),
        // A negative number is its two's complement, ten bytes long.
        Value::Int(number) => varint(buf, 3, number as u64),
        Value::Double(number) => double(buf, 4, number),
    }
}

/// Begins a record in a batch; all kinds of record have the same field number.
pub fn record(buf: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    message(buf, RECORDS, fill);
}

/// An `ExportTraceServiceRequest`, or its kin for logs and metrics, around records that are encoded already; all have
/// the same shape. `resource` is the content of a `Resource`.
pub fn export_request(resource: &[u8], records: &[u8]) -> Vec<u8> {
    let mut scope = Vec::with_capacity(64);
    message(&mut scope, 1, |buf| {
        bytes(buf, 1, SCOPE_NAME.as_bytes());
        bytes(buf, 2, env!("CARGO_PKG_VERSION").as_bytes());
    });
    let mut schema = Vec::with_capacity(64);
    bytes(&mut schema, 3, SCHEMA_URL.as_bytes());
    let mut head = Vec::with_capacity(resource.len().saturating_add(8));
    bytes(&mut head, 1, resource);

    let scope_len = scope.len().saturating_add(records.len()).saturating_add(schema.len());
    let inner_len = head
        .len()
        .saturating_add(1)
        .saturating_add(encoded_len_varint(scope_len as u64))
        .saturating_add(scope_len)
        .saturating_add(schema.len());
    let mut out = Vec::with_capacity(inner_len.saturating_add(16));
    let open = |out: &mut Vec<u8>, field, len: usize| {
        encode_key(field, WireType::LengthDelimited, out);
        encode_varint(len as u64, out);
    };
    open(&mut out, 1, inner_len);
    out.extend_from_slice(&head);
    open(&mut out, 2, scope_len);
    out.extend_from_slice(&scope);
    out.extend_from_slice(records);
    out.extend_from_slice(&schema);
    out.extend_from_slice(&schema);
    out
}

#[cfg(test)]
mod tests;
