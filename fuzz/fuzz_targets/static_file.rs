#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ruwsgi::fuzz::static_file(data));
