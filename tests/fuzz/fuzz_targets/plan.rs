//! A saved plan.
#![no_main]

#[path = "../any_bytes.rs"]
mod any_bytes;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| any_bytes::read("plan", bytes));
