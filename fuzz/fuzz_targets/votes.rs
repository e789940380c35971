//! See `certssb_fuzz::votes`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| certssb_fuzz::votes(data));
