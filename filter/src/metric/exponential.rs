//! The buckets of a base-2 exponential histogram (OpenTelemetry data model, "ExponentialHistogram"). In: values from zero
//! on. Out: counts, in as few and as fine buckets as hold them: the scale begins at its finest and halves the resolution
//! whenever the values need more buckets than there may be.

use crate::otlp::Buffer;

/// The finest scale that SDKs begin with.
const MAX_SCALE: i32 = 20;
const FRACTION_BITS: u32 = 52;

/// Counts of values above zero in buckets from `offset` on, and of zeros. A bucket holds what is above its lower bound,
/// up to its upper bound: bucket `i` ends with `2^((i + 1) / 2^scale)`.
#[derive(Debug)]
pub(super) struct Exponential {
    scale: i32,
    zeros: u64,
    offset: i32,
    counts: Vec<u64>,
}

// === impl Exponential ===

impl Exponential {
    pub(super) fn new() -> Self {
        Self { scale: MAX_SCALE, zeros: 0, offset: 0, counts: Vec::new() }
    }

    /// Counts a value; answers its bucket.
    pub(super) fn count(&mut self, value: f64, max_buckets: usize) -> i32 {
        // No duration or size is so small and yet not zero.
        if value < f64::MIN_POSITIVE {
            self.zeros = self.zeros.saturating_add(1);
            return i32::MIN;
        }
        let mut index = index(value, self.scale);
        if self.counts.is_empty() {
            self.offset = index;
        }
        let last = self.offset.saturating_add(i32::try_from(self.counts.len()).unwrap_or(i32::MAX)).saturating_sub(1);
        let (mut low, mut high) = (self.offset.min(index), last.max(index));
        let mut steps = 0u32;
        while high.abs_diff(low) as usize >= max_buckets {
            (low, high) = (low >> 1, high >> 1);
            steps = steps.saturating_add(1);
        }
        if steps > 0 {
            self.coarsen(steps);
            index = index.checked_shr(steps).unwrap_or(0);
        }
        if low < self.offset {
            let missing = self.offset.abs_diff(low) as usize;
            self.counts.splice(..0, std::iter::repeat_n(0, missing));
            self.offset = low;
        }
        let at = index.abs_diff(self.offset) as usize;
        if at >= self.counts.len() {
            self.counts.resize(at.saturating_add(1), 0);
        }
        if let Some(count) = self.counts.get_mut(at) {
            *count = count.saturating_add(1);
        }
        index
    }

    /// Halves the resolution so many times: buckets fall together.
    fn coarsen(&mut self, steps: u32) {
        let offset = self.offset.checked_shr(steps).unwrap_or(0);
        let mut counts: Vec<u64> = Vec::new();
        for (n, count) in self.counts.iter().enumerate() {
            let index =
                self.offset.saturating_add(i32::try_from(n).unwrap_or(i32::MAX)).checked_shr(steps).unwrap_or(0);
            let at = index.abs_diff(offset) as usize;
            if at >= counts.len() {
                counts.resize(at.saturating_add(1), 0);
            }
            if let Some(sum) = counts.get_mut(at) {
                *sum = sum.saturating_add(*count);
            }
        }
        self.scale = self.scale.saturating_sub(i32::try_from(steps).unwrap_or(0));
        self.offset = offset;
        self.counts = counts;
    }

    /// Writes `scale`, `zero_count` and `positive` of an `ExponentialHistogramDataPoint`.
    pub(super) fn write(&self, buf: &mut Buffer) {
        buf.varint(6, zigzag(self.scale));
        buf.fixed64(7, self.zeros);
        if !self.counts.is_empty() {
            buf.message(8, |buf| {
                buf.varint(1, zigzag(self.offset));
                buf.message(2, |buf| self.counts.iter().for_each(|count| buf.number(*count)));
            });
        }
    }
}

/// The bucket of a normal number above zero.
fn index(value: f64, scale: i32) -> i32 {
    let bits = value.to_bits();
    let exponent = i32::try_from((bits >> FRACTION_BITS) & 0x7ff).unwrap_or(0).saturating_sub(1023);
    // A power of two is the upper bound of its bucket, and belongs to it.
    let is_power = bits & ((1 << FRACTION_BITS) - 1) == 0;
    let Ok(steps @ 1..) = u32::try_from(scale) else {
        return exponent.saturating_sub(i32::from(is_power)).checked_shr(scale.unsigned_abs()).unwrap_or(0);
    };
    if is_power {
        return exponent.checked_shl(steps).unwrap_or(i32::MAX).saturating_sub(1);
    }
    // Binary digits of the mantissa's logarithm: squaring moves it up by one digit. What is rounded off on the way is a
    // ten-thousandth of a bucket of the finest scale at most.
    let mut mantissa = f64::from_bits((bits & ((1 << FRACTION_BITS) - 1)) | (1023 << FRACTION_BITS));
    let mut index = exponent;
    for _ in 0..steps {
        mantissa *= mantissa;
        index <<= 1;
        if mantissa >= 2.0 {
            mantissa /= 2.0;
            index |= 1;
        }
    }
    index
}

/// protobuf's `sint32`.
fn zigzag(number: i32) -> u64 {
    u64::from(((number << 1) ^ (number >> 31)) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn indices_are_those_of_the_specification() {
        // Value, scale, bucket.
        let rows = [
            (1.0, 0, -1),
            (1.5, 0, 0),
            (2.0, 0, 0),
            (2.000001, 0, 1),
            (4.0, 0, 1),
            (0.5, 0, -2),
            (0.75, 0, -1),
            (1.0, 3, -1),
            (2.0, 3, 7),
            (1.05, 3, 0),
            (1.0905, 3, 0),
            (1.0906, 3, 1),
            (4.0, -1, 0),
            (4.1, -1, 1),
            (1.0, -1, -1),
            (1024.0, -10, 0),
            (0.001, -10, -1),
        ];
        for (value, scale, want) in rows {
            assert_eq!(index(value, scale), want, "{value} at scale {scale}");
        }
    }

    #[test]
    fn a_value_lies_within_its_bucket_at_every_scale() {
        for n in 1..2_000u32 {
            let value = f64::from(n) * 0.000_137 * 1.7f64.powi((n % 40) as i32 - 20);
            for scale in -10..=MAX_SCALE {
                let bound = |index: i32| (f64::from(index) * f64::from(-scale).exp2()).exp2();
                let index = index(value, scale);
                let slack = 1.0 + 1e-9;
                assert!(bound(index) < value * slack && value <= bound(index + 1) * slack, "{value} at scale {scale}");
            }
        }
    }

    #[test]
    fn the_scale_follows_the_values_and_no_count_is_lost() {
        let mut buckets = Exponential::new();
        buckets.count(1.5, 4);
        assert_eq!((buckets.scale, buckets.counts.len()), (MAX_SCALE, 1));
        for value in [0.001, 1000.0, 0.0, 1e-300, 1e300, f64::MAX, f64::MIN_POSITIVE] {
            buckets.count(value, 4);
            assert!(buckets.counts.len() <= 4);
        }
        assert_eq!((buckets.zeros, buckets.counts.iter().sum::<u64>()), (1, 7));
        let mut two = Exponential::new();
        for value in [f64::MIN_POSITIVE, f64::MAX] {
            two.count(value, 2);
        }
        assert_eq!((two.scale, two.counts.as_slice()), (-10, &[1, 1][..]));
    }
}
