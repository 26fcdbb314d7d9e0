#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wayleave_fuzz::client_assertion(data));
