//! Answers of a broker: whatever the bytes, an error at worst.
//!
//! The first two bytes choose the message and its version.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| spoolway::kafka::fuzz::answer(input));
