//! See `otelmesh_fuzz::exchange`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    otelmesh_fuzz::exchange(data);
});
