//! Hands the fuzzer's bytes to `supervisor`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| threadvisor_fuzz::supervisor(data));
