//! See `certssb_fuzz::checkpoint`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| certssb_fuzz::checkpoint(data));
