//! gzip from zlib: the encoding that every OTLP receiver knows, made of the one that Envoy offers. In: what was
//! compressed, before and after. Out: the same as gzip (RFC 1952). Refuses what is not zlib (RFC 1950).

/// No name, no time, no further fields; the operating system is unknown.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// Puts the deflated data of `zlib` into another envelope.
pub(super) fn from_zlib(plain: &[u8], zlib: &[u8]) -> Option<Vec<u8>> {
    let (head, rest) = zlib.split_at_checked(2)?;
    let (deflated, _adler) = rest.split_at_checked(rest.len().checked_sub(4)?)?;
    // The method is deflate, and no dictionary is asked for.
    if !matches!(head, [method, flags] if method & 0x0f == 8 && flags & 0x20 == 0) {
        return None;
    }
    let mut out = Vec::with_capacity(deflated.len().saturating_add(18));
    out.extend_from_slice(&HEADER);
    out.extend_from_slice(deflated);
    out.extend_from_slice(&crc32(plain).to_le_bytes());
    out.extend_from_slice(&(plain.len() as u32).to_le_bytes());
    Some(out)
}

fn crc32(bytes: &[u8]) -> u32 {
    // Four bits at a time: the table fits into the code that would make it.
    const TABLE: [u32; 16] = [
        0x0000_0000,
        0x1db7_1064,
        0x3b6e_20c8,
        0x26d9_30ac,
        0x76dc_4190,
        0x6b6b_51f4,
        0x4db2_6158,
        0x5005_713c,
        0xedb8_8320,
        0xf00f_9344,
        0xd6d6_a3e8,
        0xcb61_b38c,
        0x9b64_c2b0,
        0x86d3_d2d4,
        0xa00a_e278,
        0xbdbd_f21c,
    ];
    let step = |crc: u32, nibble: u32| {
        let at = (crc ^ nibble) & 15;
        (crc >> 4) ^ TABLE.get(at as usize).copied().unwrap_or_default()
    };
    !bytes.iter().fold(!0, |crc, byte| step(step(crc, u32::from(*byte)), u32::from(*byte >> 4)))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use flate2::Compression;
    use flate2::read::GzDecoder;
    use flate2::write::ZlibEncoder;

    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_gzip_reader_gets_back_what_zlib_compressed() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926, "the check value of CRC-32");
        for plain in [Vec::new(), b"x".to_vec(), vec![7; 100_000], (0..=255).cycle().take(70_000).collect()] {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(&plain).unwrap();
            let gzip = from_zlib(&plain, &encoder.finish().unwrap()).unwrap();
            let mut back = Vec::new();
            GzDecoder::new(&gzip[..]).read_to_end(&mut back).unwrap();
            assert!(back == plain, "{} bytes", plain.len());
        }
    }

    #[test]
    fn what_is_not_zlib_is_refused() {
        for bad in [&b""[..], b"x", b"x\x9c", b"x\x9c123", b"\x00\x00123456", b"x\xbb123456"] {
            assert_eq!(from_zlib(b"", bad), None, "{bad:?}");
        }
    }
}
