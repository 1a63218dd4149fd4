//! Decimal numbers. In: text. Out: a double: the nearest one for up to 15 digits, as people write them, and within two
//! units in the last place beyond that. Refuses what is no number of JSON's form. The standard library's parser, exact
//! to the last bit, takes 18 KiB.

/// Powers of ten that a double holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];
/// Beyond this exponent, either way, all is zero or infinite anyway.
const MAX_EXPONENT: i32 = 400;

/// Whether the text is a number by JSON's grammar.
pub(crate) fn is_json(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_padded = digits.starts_with('0') && digits.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
    !is_padded && parse(text).is_some()
}

/// The number that the text means; leading zeros are no harm here.
pub fn parse(text: &str) -> Option<f64> {
    let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (number, exponent) = match rest.find(['e', 'E']) {
        Some(at) => (rest.get(..at)?, power(rest.get(at.checked_add(1)?..)?)?),
        None => (rest, 0),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let are_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !are_digits(whole) || !are_digits(fraction) {
        return None;
    }
    let (mut mantissa, mut shift) = (0u64, exponent);
    for (digits, of_whole) in [(whole, true), (fraction, false)] {
        for digit in digits.bytes().map(|b| u64::from(b.wrapping_sub(b'0'))) {
            match mantissa.checked_mul(10).and_then(|m| m.checked_add(digit)) {
                Some(next) => {
                    mantissa = next;
                    shift = if of_whole { shift } else { shift.saturating_sub(1) };
                }
                // Nineteen digits are more than a double tells apart.
                None => shift = if of_whole { shift.saturating_add(1) } else { shift },
            }
        }
    }
    let value = scale(mantissa as f64, shift.clamp(-MAX_EXPONENT, MAX_EXPONENT));
    Some(if negative { -value } else { value })
}

fn power(text: &str) -> Option<i32> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let power = digits.parse::<i32>().unwrap_or(i32::MAX).min(2 * MAX_EXPONENT);
    Some(if negative { power.saturating_neg() } else { power })
}

/// `mantissa * 10^shift`, in as few steps as it takes: one for numbers of the usual size, which is then exact.
fn scale(mut mantissa: f64, shift: i32) -> f64 {
    let mut left = shift.unsigned_abs() as usize;
    while left > 0 && mantissa != 0.0 && mantissa.is_finite() {
        let step = left.min(22);
        let factor = POWERS.get(step).copied().unwrap_or(1.0);
        mantissa = if shift > 0 { mantissa * factor } else { mantissa / factor };
        left = left.saturating_sub(step);
    }
    mantissa
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn usual_numbers_are_exact_and_long_ones_close() {
        let exact =
            ["0", "1", "-1", "0.1", "0.005", "0.30", "1e3", "2.5E-3", "123456789012345", "1e22", "0.0001", "007"];
        for text in exact {
            assert_eq!(parse(text), text.parse().ok(), "{text}");
        }
        for text in ["0.30000000000000004", "1.7976931348623157e308", "123456789012345678901234567890", "3.3e-200"] {
            let (got, want) = (parse(text).unwrap(), text.parse::<f64>().unwrap());
            assert!((got / want - 1.0).abs() < 1e-15, "{text}: {got} for {want}");
        }
        assert_eq!(parse("1e999"), Some(f64::INFINITY));
        assert_eq!(parse("1e-999"), Some(0.0));
        assert_eq!(parse("1e99999999999"), Some(f64::INFINITY));
        for text in ["", "-", ".", "1.", ".5", "e1", "1e", "1e+", "+1", "NaN", "inf", "1_0", "0x1", " 1", "\u{661}"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert!(is_json("0.5") && is_json("-0") && !is_json("007") && !is_json("-01"));
    }
}
