//! See `certssb_fuzz::ledger`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| certssb_fuzz::ledger(data));
