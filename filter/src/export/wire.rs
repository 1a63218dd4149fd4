//! Protobuf as far as replies need it. In: a message from a receiver. Out: its fields, one after the other. Refuses a
//! message that is cut short or malformed, however far it was read by then.

/// The value of one field.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Field<'a> {
    /// A varint.
    Number(u64),
    /// Text, bytes or a message.
    Bytes(&'a [u8]),
    /// Of a type that no field of ours has.
    Other,
}

/// Hands each field to `each`; `None` where the message is malformed.
pub(super) fn read<'a>(mut bytes: &'a [u8], each: &mut dyn FnMut(u64, Field<'a>)) -> Option<()> {
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let len = match key & 7 {
            0 => {
                each(key >> 3, Field::Number(varint(&mut bytes)?));
                continue;
            }
            1 => 8,
            2 => usize::try_from(varint(&mut bytes)?).ok()?,
            5 => 4,
            _ => return None,
        };
        let (value, rest) = bytes.split_at_checked(len)?;
        bytes = rest;
        each(key >> 3, if key & 7 == 2 { Field::Bytes(value) } else { Field::Other });
    }
    Some(())
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    // Ten bytes hold 64 bits; what the last one holds beyond them is lost, as in every other decoder.
    for shift in (0..70).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn fields_come_in_order_and_a_malformed_message_is_refused() {
        let whole = [0x08, 0x96, 0x01, 0x12, 2, b'h', b'i', 0x1d, 1, 2, 3, 4, 0x21, 1, 2, 3, 4, 5, 6, 7, 8];
        let mut seen = Vec::new();
        assert_eq!(read(&whole, &mut |number, field| seen.push((number, field))), Some(()));
        let want = [(1, Field::Number(150)), (2, Field::Bytes(b"hi")), (3, Field::Other), (4, Field::Other)];
        assert_eq!(seen, want);
        for len in [1, 2, 4, 5, 6, 8, 11, 13, 20] {
            assert_eq!(read(&whole[..len], &mut |_, _| {}), None, "cut at {len}");
        }
        for bad in [&b"<html>"[..], &[0xff; 16], &[0x12, 0xff, 0xff, 0xff, 0xff, 0x0f]] {
            assert_eq!(read(bad, &mut |_, _| {}), None, "{bad:?}");
        }
    }
}
