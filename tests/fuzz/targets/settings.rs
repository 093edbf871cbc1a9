//! Hands the fuzzer's bytes to `settings`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| threadvisor_fuzz::settings(data));
