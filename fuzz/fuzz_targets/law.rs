//! See `certssb_fuzz::law`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| certssb_fuzz::law(data));
