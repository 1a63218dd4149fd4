//! OTLP's protobuf wire form (opentelemetry-proto 1.x), written straight into a buffer. In: numbers, text and bytes from
//! anywhere. Out: messages that every receiver decodes; text is made valid UTF-8 and cut to its limit, since one bad
//! string would cost the whole export. A test decodes all of it with the `opentelemetry-proto` crate.

use std::borrow::Cow;

use crate::config::MAX_VALUE_BYTES;

/// Field number of the records in `ScopeSpans`, `ScopeLogs` and `ScopeMetrics` alike.
const RECORDS: u32 = 2;
/// The conventions that attribute names follow.
const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.37.0";
const SCOPE_NAME: &str = "otelmesh";

/// Protobuf's wire types.
const VARINT: u32 = 0;
const SIXTY_FOUR_BIT: u32 = 1;
const LENGTH_DELIMITED: u32 = 2;
const THIRTY_TWO_BIT: u32 = 5;

/// Field numbers are below 2^29, so a shift loses nothing.
const fn key(field: u32, wire_type: u32) -> u64 {
    ((field << 3) | wire_type) as u64
}

/// A varint without a key, as packed fields have them.
pub fn number(buf: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        buf.push(value as u8 | 0x80);
        value >>= 7;
    }
    buf.push(value as u8);
}

/// How long a varint is.
const fn number_len(value: u64) -> usize {
    // One byte for each seven bits, and one for zero.
    ((value | 1).ilog2() / 7).saturating_add(1) as usize
}

/// A varint field: enums, integers and booleans.
pub fn varint(buf: &mut Vec<u8>, field: u32, value: u64) {
    number(buf, key(field, VARINT));
    number(buf, value);
}

/// A fixed64 field, as timestamps are.
pub fn fixed64(buf: &mut Vec<u8>, field: u32, value: u64) {
    number(buf, key(field, SIXTY_FOUR_BIT));
    buf.extend_from_slice(&value.to_le_bytes());
}

/// A fixed32 field, as flags are.
pub fn fixed32(buf: &mut Vec<u8>, field: u32, value: u32) {
    number(buf, key(field, THIRTY_TWO_BIT));
    buf.extend_from_slice(&value.to_le_bytes());
}

/// A double field.
pub fn double(buf: &mut Vec<u8>, field: u32, value: f64) {
    fixed64(buf, field, value.to_bits());
}

/// A bytes field.
pub fn bytes(buf: &mut Vec<u8>, field: u32, value: &[u8]) {
    open(buf, field, value.len());
    buf.extend_from_slice(value);
}

/// Begins a field of so many bytes.
fn open(buf: &mut Vec<u8>, field: u32, len: usize) {
    number(buf, key(field, LENGTH_DELIMITED));
    number(buf, len as u64);
}

/// A message field whose content `fill` writes.
pub fn message(buf: &mut Vec<u8>, field: u32, fill: impl FnOnce(&mut Vec<u8>)) {
    /// The length of most messages takes so many bytes.
    const USUAL: usize = 2;
    number(buf, key(field, LENGTH_DELIMITED));
    let start = buf.len();
    buf.extend_from_slice(&[0; USUAL]);
    let content = buf.len();
    fill(buf);
    let end = buf.len();
    let len = end.saturating_sub(content);
    // The length is known only now; where it takes another number of bytes, the content has to move.
    let wanted = start.saturating_add(number_len(len as u64));
    if wanted != content {
        buf.resize(end.max(wanted.saturating_add(len)), 0);
        buf.copy_within(content..end, wanted);
        buf.truncate(wanted.saturating_add(len));
    }
    let mut rest = len;
    if let Some(length) = buf.get_mut(start..wanted) {
        let last = length.len().saturating_sub(1);
        for (n, byte) in length.iter_mut().enumerate() {
            *byte = rest as u8 & 0x7f | if n < last { 0x80 } else { 0 };
            rest >>= 7;
        }
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

/// [`text`] of bytes that nobody else needs: no copy where all is well.
pub fn owned_text(bytes: Vec<u8>) -> String {
    if bytes.len() > MAX_VALUE_BYTES {
        return text(&bytes).into_owned();
    }
    String::from_utf8(bytes).unwrap_or_else(|error| text(error.as_bytes()).into_owned())
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

/// A `KeyValue` field. Most of what is encoded are these, so their lengths are worked out before.
pub fn attribute(buf: &mut Vec<u8>, field: u32, name: &str, value: Value<'_>) {
    let value_len = value.encoded_len();
    let len = [name.len(), number_len(name.len() as u64), value_len, number_len(value_len as u64), 2];
    let len = len.iter().fold(0usize, |sum, part| sum.saturating_add(*part));
    if len < 0x80 && field < 16 {
        // Each key and each length is one byte, as in nearly all of them.
        buf.extend_from_slice(&[key(field, LENGTH_DELIMITED) as u8, len as u8, 0x0a, name.len() as u8]);
        buf.extend_from_slice(name.as_bytes());
        buf.extend_from_slice(&[0x12, value_len as u8]);
    } else {
        open(buf, field, len);
        bytes(buf, 1, name.as_bytes());
        open(buf, 2, value_len);
    }
    value.write(buf);
}

/// An `AnyValue` field.
pub fn value(buf: &mut Vec<u8>, field: u32, value: Value<'_>) {
    open(buf, field, value.encoded_len());
    value.write(buf);
}

impl Value<'_> {
    /// Bytes of an `AnyValue`'s content.
    fn encoded_len(&self) -> usize {
        match self {
            Self::Text(text) => text.len().saturating_add(number_len(text.len() as u64)).saturating_add(1),
            Self::Bool(_) => 2,
            Self::Int(number) => number_len(*number as u64).saturating_add(1),
            Self::Double(_) => 9,
        }
    }

    /// Writes an `AnyValue`'s content.
    fn write(&self, buf: &mut Vec<u8>) {
        match *self {
            Self::Text(text) => bytes(buf, 1, text.as_bytes()),
            Self::Bool(flag) => varint(buf, 2, u64::from(flag)),
            // A negative number is its two's complement, ten bytes long.
            Self::Int(number) => varint(buf, 3, number as u64),
            Self::Double(number) => double(buf, 4, number),
        }
    }
}

/// Fields that are encoded one behind the other, each shorter than 2 MiB, as field `field` instead. Takes field numbers
/// below 16, of one byte.
pub fn renumbered(buf: &mut Vec<u8>, field: u32, encoded: &[u8]) {
    let mut at = buf.len();
    buf.extend_from_slice(encoded);
    while let Some(tag) = buf.get_mut(at) {
        *tag = key(field, LENGTH_DELIMITED) as u8;
        let (mut len, mut shift) = (0usize, 0u32);
        loop {
            at = at.saturating_add(1);
            let Some(byte) = buf.get(at) else { return };
            len |= ((byte & 0x7f) as usize).checked_shl(shift).unwrap_or(0);
            shift = shift.saturating_add(7);
            if byte & 0x80 == 0 {
                break;
            }
        }
        at = at.saturating_add(len).saturating_add(1);
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
    let parts = [head.len(), 1, number_len(scope_len as u64), scope_len, schema.len()];
    let inner_len = parts.iter().fold(0usize, |sum, part| sum.saturating_add(*part));
    let mut out = Vec::with_capacity(inner_len.saturating_add(16));
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
