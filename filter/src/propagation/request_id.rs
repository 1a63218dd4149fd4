//! A trace id for a request that brought none. In: its `x-request-id`, where that is a UUID as Envoy makes them. Out: the
//! same 128 bits as a trace id, so that whoever knows the one finds the other. Refuses anything that is no UUID.

use super::TraceId;

/// Reads a UUID; tells, too, whether its bits are random: in version 4 they are, also where Envoy has put a trace's
/// reason into the place of the version.
pub fn parse(value: &[u8]) -> Option<(TraceId, bool)> {
    let mut digits = [0; 32];
    let mut places = digits.iter_mut();
    if value.len() != 36 {
        return None;
    }
    for (at, byte) in value.iter().enumerate() {
        match (at, byte) {
            (8 | 13 | 18 | 23, b'-') => {}
            (8 | 13 | 18 | 23, _) => return None,
            _ => *places.next()? = byte.to_ascii_lowercase(),
        }
    }
    let is_random = matches!(digits.get(12), Some(b'4' | b'9' | b'a' | b'b'));
    Some((TraceId::from_hex(&digits)?, is_random))
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn vectors() {
        let id = |text: &str| TraceId::from_hex(text.as_bytes()).unwrap();
        let want = id("0af7651916cd43dd8448eb211c80319c");
        let rows = [
            ("0af76519-16cd-43dd-8448-eb211c80319c", Some((want, true)), "version 4"),
            ("0AF76519-16CD-43DD-8448-EB211C80319C", Some((want, true)), "in upper case"),
            ("0af76519-16cd-93dd-8448-eb211c80319c", Some((id("0af7651916cd93dd8448eb211c80319c"), true)), "traced"),
            ("0af76519-16cd-13dd-8448-eb211c80319c", Some((id("0af7651916cd13dd8448eb211c80319c"), false)), "a time"),
            ("00000000-0000-0000-0000-000000000000", None, "all zero"),
            ("0af7651916cd43dd8448eb211c80319c", None, "no dashes"),
            ("0af76519-16cd-43dd-8448-eb211c80319", None, "too short"),
            ("0af76519-16cd-43dd-8448-eb211c80319g", None, "no digit"),
            ("0af76519a16cd-43dd-8448-eb211c80319c", None, "a digit in a dash's place"),
            ("req-1", None, "a word"),
            ("", None, "nothing"),
        ];
        for (text, want, reason) in rows {
            assert_eq!(parse(text.as_bytes()), want, "{reason}");
        }
    }
}
