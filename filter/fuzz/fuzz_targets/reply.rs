//! See `otelmesh_fuzz::reply`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    otelmesh_fuzz::reply(data);
});
