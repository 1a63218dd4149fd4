//! Trace ids, span ids and trace flags. In: their lower-case hex, or random numbers. Out: values that are valid by
//! construction. Refuses upper case, wrong lengths and all-zero ids.

use std::fmt;

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

/// A trace id, never all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceId([u8; 16]);

/// A span id, never all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanId([u8; 8]);

/// Trace flags of W3C Trace Context level 2; unknown bits do not get in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(u8);

const SAMPLED: u8 = 0b01;
const RANDOM: u8 = 0b10;

// === impl TraceId ===

impl TraceId {
    /// `None` for the all-zero id, which every format calls invalid.
    pub fn new(bytes: [u8; 16]) -> Option<Self> {
        (bytes != [0; 16]).then_some(Self(bytes))
    }

    /// Exactly 32 lower-case hex digits.
    pub fn from_hex(hex: &[u8]) -> Option<Self> {
        Self::new(decode(hex)?)
    }

    /// Exactly 16 lower-case hex digits, the short ids of B3; padded with zeros on the left.
    pub fn from_short_hex(hex: &[u8]) -> Option<Self> {
        let low: [u8; 8] = decode(hex)?;
        Self::new((u128::from(u64::from_be_bytes(low))).to_be_bytes())
    }

    /// The id in lower-case hex.
    pub fn hex(&self) -> [u8; 32] {
        hex(&self.0)
    }

    /// Appends the id in lower-case hex.
    pub fn push_hex(&self, text: &mut String) {
        push(text, &self.hex());
    }

    /// The id as it goes on the wire.
    pub fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The rightmost 56 bits, where level 2 and OpenTelemetry look for randomness.
    pub fn randomness(self) -> u64 {
        (u128::from_be_bytes(self.0) as u64) & 0x00ff_ffff_ffff_ffff
    }

    /// The rightmost 64 bits, if there is nothing to their left.
    pub fn short(self) -> Option<u64> {
        u64::try_from(u128::from_be_bytes(self.0)).ok()
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.hex()).unwrap_or_default())
    }
}

// === impl SpanId ===

impl SpanId {
    /// `None` for the all-zero id.
    pub fn new(bytes: [u8; 8]) -> Option<Self> {
        (bytes != [0; 8]).then_some(Self(bytes))
    }

    /// Exactly 16 lower-case hex digits.
    pub fn from_hex(hex: &[u8]) -> Option<Self> {
        Self::new(decode(hex)?)
    }

    /// The id in lower-case hex.
    pub fn hex(&self) -> [u8; 16] {
        hex(&self.0)
    }

    /// Appends the id in lower-case hex.
    pub fn push_hex(&self, text: &mut String) {
        push(text, &self.hex());
    }

    /// The id as it goes on the wire.
    pub fn bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.hex()).unwrap_or_default())
    }
}

// === impl Flags ===

impl Flags {
    /// The two flags that level 2 knows.
    pub fn new(sampled: bool, random: bool) -> Self {
        Self(if sampled { SAMPLED } else { 0 } | if random { RANDOM } else { 0 })
    }

    /// Two lower-case hex digits; bits without a meaning are dropped.
    pub fn from_hex(hex: &[u8]) -> Option<Self> {
        let [bits] = decode::<1>(hex)?;
        Some(Self(bits & (SAMPLED | RANDOM)))
    }

    /// The caller, or we, record.
    pub fn sampled(self) -> bool {
        self.0 & SAMPLED != 0
    }

    /// The rightmost 56 bits of the trace id are random.
    pub fn random(self) -> bool {
        self.0 & RANDOM != 0
    }

    /// Appends the flags as two lower-case hex digits.
    pub fn push_hex(self, text: &mut String) {
        let [.., high, low] = four_in_hex(&[0, 0, 0, self.0]);
        push(text, &[high, low]);
    }

    /// The flags as a byte.
    pub fn bits(self) -> u8 {
        self.0
    }
}

/// Bytes in lower-case hex: a multiple of four of them, and `DIGITS` twice as many.
fn hex<const DIGITS: usize>(bytes: &[u8]) -> [u8; DIGITS] {
    let mut out = [0; DIGITS];
    for (place, part) in out.chunks_exact_mut(8).zip(bytes.chunks_exact(4)) {
        place.copy_from_slice(&four_in_hex(part));
    }
    out
}

/// Four bytes in lower-case hex, all digits at once. Formatters would do it too, at forty times the instructions.
fn four_in_hex(bytes: &[u8]) -> [u8; 8] {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let mut nibbles = u64::from(u32::from_be_bytes(bytes.try_into().unwrap_or_default()));
    // Halves move apart until each nibble has a byte.
    nibbles = (nibbles << 16 | nibbles) & 0x0000_ffff_0000_ffff;
    nibbles = (nibbles << 8 | nibbles) & 0x00ff_00ff_00ff_00ff;
    nibbles = (nibbles << 4 | nibbles) & 0x0f0f_0f0f_0f0f_0f0f;
    let letters = (nibbles.wrapping_add(6 * EACH) >> 4) & EACH;
    let to_letter = letters.wrapping_mul(u64::from(b'a' - b'0' - 10));
    nibbles.wrapping_add(EACH.wrapping_mul(b'0'.into())).wrapping_add(to_letter).to_be_bytes()
}

/// Appends digits, which are ASCII.
fn push(text: &mut String, digits: &[u8]) {
    text.push_str(std::str::from_utf8(digits).unwrap_or_default());
}

/// Exactly `2 * N` lower-case hex digits.
fn decode<const N: usize>(hex: &[u8]) -> Option<[u8; N]> {
    if hex.len() != N.checked_mul(2)? {
        return None;
    }
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(hex.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = (digit(*high)? << 4) | digit(*low)?;
    }
    Some(out)
}

fn digit(hex: u8) -> Option<u8> {
    match hex {
        b'0'..=b'9' => hex.checked_sub(b'0'),
        b'a'..=b'f' => hex.checked_sub(b'a')?.checked_add(10),
        _ => None,
    }
}

/// A source of new ids, good for years of a busy proxy but not for secrets.
#[derive(Debug)]
pub struct Generator(Xoshiro256PlusPlus);

// === impl Generator ===

impl Generator {
    /// 256 bits of state, so that the sequences of a fleet of workers do not meet.
    pub fn seeded(seed: [u8; 32]) -> Self {
        Self(Xoshiro256PlusPlus::from_seed(seed))
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A new trace's id; all of its bits are random.
    pub fn trace_id(&mut self) -> TraceId {
        let random = (u128::from(self.number()) << 64) | u128::from(self.number());
        TraceId::new(random.to_be_bytes()).unwrap_or(TraceId([1; 16]))
    }

    /// A new span's id.
    pub fn span_id(&mut self) -> SpanId {
        SpanId::new(self.number().to_be_bytes()).unwrap_or(SpanId([1; 8]))
    }
}
