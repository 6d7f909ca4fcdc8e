#![no_main]

#[path = "../checks/accept.rs"]
mod accept;

libfuzzer_sys::fuzz_target!(|data: &[u8]| accept::check(data));
