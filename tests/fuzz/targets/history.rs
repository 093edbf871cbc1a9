//! Hands the fuzzer's bytes to `history`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| threadvisor_fuzz::history(data));
