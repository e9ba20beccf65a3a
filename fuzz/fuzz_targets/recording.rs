//! A recording that may say anything, replayed and drawn.

#![no_main]
#![allow(dead_code)]

mod common;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    common::fuzz::recording(data);
});
