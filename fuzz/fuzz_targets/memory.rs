//! Saved memory, damaged before and between looks.

#![no_main]
#![allow(dead_code)]

mod common;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/memory");
    common::fuzz::memory(folder.as_ref(), data);
});
