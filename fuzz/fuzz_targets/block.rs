//! Blocks of the spool as a damaged disk may give them.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| spoolway::spool::fuzz::block(input));
