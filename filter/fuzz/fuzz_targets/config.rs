//! See `otelmesh_fuzz::config`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    otelmesh_fuzz::config(data);
});
