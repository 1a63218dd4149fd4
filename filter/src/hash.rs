//! A hash of bytes. In: a seed and bytes of which strangers choose little. Out: 32 bits, well spread, for tables and for
//! telling one configuration from the next. A fifth of the instructions of the standard library's, which strangers could
//! not fool.

/// FNV-1a, four bytes at a time.
pub fn of(seed: u32, bytes: &[u8]) -> u32 {
    const PRIME: u32 = 0x0100_0193;
    let mix = |hash: u32, word: u32| (hash ^ word).wrapping_mul(PRIME);
    let words = bytes.chunks_exact(4);
    let rest = words.remainder().iter().fold(0u32, |rest, byte| (rest << 8) | u32::from(*byte));
    let word = |word: &[u8]| word.try_into().map_or(0, u32::from_le_bytes);
    let hash = words.fold(mix(0x811c_9dc5, seed), |hash, four| mix(hash, word(four)));
    let hash = mix(mix(hash, rest), bytes.len() as u32);
    // A product's low bits know nothing of its factors' high ones.
    hash ^ (hash >> 15)
}

/// Whether two are the same, eight bytes at a time: the C library, which `==` asks, goes byte by byte.
pub fn is_same(a: &[u8], b: &[u8]) -> bool {
    let word = |word: &[u8]| word.try_into().map_or(0, u64::from_le_bytes);
    let (words, others) = (a.chunks_exact(8), b.chunks_exact(8));
    a.len() == b.len()
        && words.remainder().iter().eq(others.remainder())
        && words.zip(others).all(|(one, other)| word(one) == word(other))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn like_texts_are_told_apart_and_spread_over_a_table() {
        let texts: Vec<String> = (0..4096).map(|n| format!("GET /orders/{n} HTTP/1.1")).collect();
        let hashes: BTreeSet<u32> = texts.iter().map(|text| of(0, text.as_bytes())).collect();
        assert!(hashes.len() > 4090, "{} of 4096", hashes.len());
        let slots: BTreeSet<u32> = hashes.iter().map(|hash| hash % 4096).collect();
        // Of random ones it would be 63 %.
        assert!(slots.len() > 2300, "{} of 4096", slots.len());
        assert_ne!(of(0, b"a"), of(1, b"a"));
        assert_ne!(of(0, b""), of(0, b"\0"));
        assert_ne!(of(0, b"\0\0\0\0"), of(0, b"\0\0\0"));
    }

    #[test]
    fn bytes_are_the_same_only_where_all_of_them_are() {
        let bytes: Vec<u8> = (0..40).collect();
        for len in 0..=bytes.len() {
            let one = &bytes[..len];
            let copy = one.to_vec();
            assert!(is_same(one, &copy));
            for at in 0..len {
                let mut other = one.to_vec();
                other[at] ^= 0x80;
                assert!(!is_same(one, &other), "{len} bytes that differ at {at}");
                assert!(!is_same(one, &one[..at]));
            }
        }
    }
}
