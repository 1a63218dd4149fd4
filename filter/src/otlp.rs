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
const fn tag(field: u32, wire_type: u32) -> u64 {
    ((field << 3) | wire_type) as u64
}

/// How long a varint is.
const fn number_len(value: u64) -> usize {
    // One byte for each seven bits, and one for zero.
    ((value | 1).ilog2() / 7).saturating_add(1) as usize
}

/// Where messages are encoded: room that is there already, and how much of it is written. Who keeps one from record to
/// record allocates nothing, and what is written costs a comparison and the copy.
#[derive(Debug, Default)]
pub struct Buffer {
    room: Vec<u8>,
    len: usize,
}

// === impl Buffer ===

impl Buffer {
    /// All that is written.
    pub fn as_slice(&self) -> &[u8] {
        self.room.get(..self.len).unwrap_or_default()
    }

    /// All that is written, to keep.
    pub fn into_vec(mut self) -> Vec<u8> {
        self.room.truncate(self.len);
        self.room
    }

    /// Bytes that are written.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is written.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes back what was written behind the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Writes bytes as they are.
    pub fn put(&mut self, bytes: &[u8]) {
        let end = self.len.saturating_add(bytes.len());
        if end > self.room.len() {
            self.grow(end);
        }
        if let Some(place) = self.room.get_mut(self.len..end) {
            place.copy_from_slice(bytes);
        }
        self.len = end;
    }

    /// Writes so few bytes that they need no loop.
    #[inline(always)]
    fn put_few<const N: usize>(&mut self, bytes: [u8; N]) {
        let end = self.len.saturating_add(N);
        if end > self.room.len() {
            self.grow(end);
        }
        if let Some(place) = self.room.get_mut(self.len..end) {
            place.copy_from_slice(&bytes);
        }
        self.len = end;
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self, wanted: usize) {
        self.room.resize(wanted.max(self.room.len().saturating_mul(2)).max(512), 0);
    }

    /// A varint without a tag, as packed fields have them.
    pub fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.put_few([value as u8 | 0x80]);
            value >>= 7;
        }
        self.put_few([value as u8]);
    }

    /// The tag of a field, which is one byte where its number is below 16.
    #[inline(always)]
    fn tag(&mut self, field: u32, wire_type: u32) {
        let tag = tag(field, wire_type);
        if tag < 0x80 { self.put_few([tag as u8]) } else { self.number(tag) }
    }

    /// A varint field: enums, integers and booleans.
    pub fn varint(&mut self, field: u32, value: u64) {
        if field < 16 && value < 0x80 {
            return self.put_few([tag(field, VARINT) as u8, value as u8]);
        }
        self.tag(field, VARINT);
        self.number(value);
    }

    /// A fixed64 field, as timestamps are.
    pub fn fixed64(&mut self, field: u32, value: u64) {
        self.tag(field, SIXTY_FOUR_BIT);
        self.put_few(value.to_le_bytes());
    }

    /// A fixed32 field, as flags are.
    pub fn fixed32(&mut self, field: u32, value: u32) {
        self.tag(field, THIRTY_TWO_BIT);
        self.put_few(value.to_le_bytes());
    }

    /// A double field.
    pub fn double(&mut self, field: u32, value: f64) {
        self.fixed64(field, value.to_bits());
    }

    /// A bytes field.
    pub fn bytes(&mut self, field: u32, value: &[u8]) {
        self.open(field, value.len());
        self.put(value);
    }

    /// Begins a field of so many bytes.
    pub fn open(&mut self, field: u32, len: usize) {
        if field < 16 && len < 0x80 {
            return self.put_few([tag(field, LENGTH_DELIMITED) as u8, len as u8]);
        }
        self.tag(field, LENGTH_DELIMITED);
        self.number(len as u64);
    }

    /// A message field whose content `fill` writes.
    pub fn message(&mut self, field: u32, fill: impl FnOnce(&mut Self)) {
        let start = self.len;
        fill(self);
        let end = self.len;
        let len = end.saturating_sub(start);
        // The length is known only now, so the content makes room for it.
        let head = number_len(tag(field, LENGTH_DELIMITED)).saturating_add(number_len(len as u64));
        let moved_end = end.saturating_add(head);
        if moved_end > self.room.len() {
            self.grow(moved_end);
        }
        self.room.copy_within(start..end, start.saturating_add(head));
        self.len = start;
        self.open(field, len);
        self.len = moved_end;
    }

    /// A `KeyValue` field.
    pub fn attribute(&mut self, field: u32, key: Key<'_>, value: Value<'_>) {
        let value_len = value.encoded_len();
        self.open(field, key.0.len().saturating_add(number_len(value_len as u64)).saturating_add(value_len));
        self.put(key.0);
        self.number(value_len as u64);
        value.write(self);
    }

    /// A text attribute; none where the text is empty. Most of what is encoded are these.
    pub fn text(&mut self, field: u32, key: Key<'_>, text: &str) {
        let len = text.len();
        if len == 0 {
            return;
        }
        let all = key.0.len().saturating_add(len).saturating_add(3);
        if all >= 0x80 {
            return self.attribute(field, key, Value::Text(text));
        }
        // Each length is one byte.
        self.open(field, all);
        self.put(key.0);
        self.put_few([len.saturating_add(2) as u8, tag(1, LENGTH_DELIMITED) as u8, len as u8]);
        self.put(text.as_bytes());
    }

    /// An integer attribute; none where there is no number.
    pub fn int(&mut self, field: u32, key: Key<'_>, number: Option<i64>) {
        if let Some(number) = number {
            self.attribute(field, key, Value::Int(number));
        }
    }

    /// An `AnyValue` field.
    pub fn value(&mut self, field: u32, value: Value<'_>) {
        self.open(field, value.encoded_len());
        value.write(self);
    }

    /// Makes fields of field `field` of all that is written, which are length-delimited fields one behind the other. Takes
    /// field numbers below 16, whose tags are one byte.
    pub fn renumber(&mut self, field: u32) {
        let mut at = 0usize;
        let Some(fields) = self.room.get_mut(..self.len) else { return };
        while let Some([first, rest @ ..]) = fields.get_mut(at..) {
            *first = tag(field, LENGTH_DELIMITED) as u8;
            let (mut len, mut shift, mut head) = (0usize, 0u32, 1usize);
            for byte in rest {
                len |= ((*byte & 0x7f) as usize).checked_shl(shift).unwrap_or(0);
                shift = shift.saturating_add(7);
                head = head.saturating_add(1);
                if *byte & 0x80 == 0 {
                    break;
                }
            }
            at = at.saturating_add(head).saturating_add(len);
        }
    }
}

/// Text that fits an attribute: valid UTF-8, of at most [`MAX_VALUE_BYTES`] of what came.
pub fn text(bytes: &[u8]) -> Cow<'_, str> {
    let is_inside_character = |at: usize| bytes.get(at).is_some_and(|b| b & 0xc0 == 0x80);
    let longest = MAX_VALUE_BYTES.min(bytes.len());
    // A character has four bytes at most, so one of these is a boundary unless the bytes are no UTF-8 anyway.
    let end = (0..4).map(|back| longest.saturating_sub(back)).find(|at| !is_inside_character(*at)).unwrap_or(longest);
    let cut = bytes.get(..end).unwrap_or(bytes);
    // Nearly all of it is, and this is the faster way to see that.
    std::str::from_utf8(cut).map_or_else(|_| String::from_utf8_lossy(cut), Cow::Borrowed)
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

/// A `KeyValue`'s key, encoded as far as the value's tag: what it is called costs one copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key<'a>(&'a [u8]);

/// The [`Key`] of a name of less than 128 bytes that is known already.
macro_rules! key {
    ($name:literal) => {{
        const ENCODED: [u8; $name.len() + 3] = $crate::otlp::Key::encode_const($name);
        $crate::otlp::Key::of(&ENCODED)
    }};
}
pub(crate) use key;

// === impl Key ===

impl<'a> Key<'a> {
    /// What [`Self::encode`] encoded.
    pub const fn of(encoded: &'a [u8]) -> Self {
        Self(encoded)
    }

    /// Encodes a name that comes from a configuration.
    pub fn encode(name: &str) -> Vec<u8> {
        let mut buf = Buffer::default();
        buf.bytes(1, name.as_bytes());
        buf.number(tag(2, LENGTH_DELIMITED));
        buf.into_vec()
    }

    /// The same for names in this code; `N` is three more than the name has. See `key!`.
    #[expect(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "evaluated by the compiler")]
    pub const fn encode_const<const N: usize>(name: &str) -> [u8; N] {
        assert!(name.len() + 3 == N && name.len() < 0x80);
        let mut out = [0; N];
        out[0] = tag(1, LENGTH_DELIMITED) as u8;
        out[1] = name.len() as u8;
        let mut at = 0;
        while at < name.len() {
            out[at + 2] = name.as_bytes()[at];
            at += 1;
        }
        out[N - 1] = tag(2, LENGTH_DELIMITED) as u8;
        out
    }
}

// === impl Value ===

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
    fn write(&self, buf: &mut Buffer) {
        match *self {
            Self::Text(text) => buf.bytes(1, text.as_bytes()),
            Self::Bool(flag) => buf.varint(2, u64::from(flag)),
            // A negative number is its two's complement, ten bytes long.
            Self::Int(number) => buf.varint(3, number as u64),
            Self::Double(number) => buf.double(4, number),
        }
    }
}

/// How many bytes a record of `len` takes in a batch.
pub const fn record_len(len: usize) -> usize {
    len.saturating_add(number_len(len as u64)).saturating_add(1)
}

/// Adds a record to a batch; all kinds of record have the same field number.
pub fn append_record(batch: &mut Vec<u8>, record: &[u8]) {
    batch.reserve(record_len(record.len()));
    batch.push(tag(RECORDS, LENGTH_DELIMITED) as u8);
    let mut rest = record.len();
    while rest >= 0x80 {
        batch.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    batch.push(rest as u8);
    batch.extend_from_slice(record);
}

/// An `ExportTraceServiceRequest`, or its kin for logs and metrics, around records that are encoded already; all have
/// the same shape. `resource` is the content of a `Resource`.
pub fn export_request(resource: &[u8], records: &[u8]) -> Vec<u8> {
    let (mut head, mut scope, mut schema) = (Buffer::default(), Buffer::default(), Buffer::default());
    scope.message(1, |buf| {
        buf.bytes(1, SCOPE_NAME.as_bytes());
        buf.bytes(2, env!("CARGO_PKG_VERSION").as_bytes());
    });
    schema.bytes(3, SCHEMA_URL.as_bytes());
    head.bytes(1, resource);
    let scope_len = scope.len().saturating_add(records.len()).saturating_add(schema.len());
    head.open(2, scope_len);
    let inner_len = head.len().saturating_add(scope_len).saturating_add(schema.len());
    let mut start = Buffer::default();
    start.open(1, inner_len);
    let mut out = Vec::with_capacity(start.len().saturating_add(inner_len));
    for part in [start.as_slice(), head.as_slice(), scope.as_slice(), records, schema.as_slice(), schema.as_slice()] {
        out.extend_from_slice(part);
    }
    out
}

#[cfg(test)]
mod tests;
