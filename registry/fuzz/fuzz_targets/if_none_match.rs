#![no_main]

#[path = "../checks/if_none_match.rs"]
mod if_none_match;

libfuzzer_sys::fuzz_target!(|data: &[u8]| if_none_match::check(data));
