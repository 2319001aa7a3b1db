#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| quaestor_fuzz::xds(data));
