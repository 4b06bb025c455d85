//! The small records of the spool: high-water mark, generation, resolutions, dead letters.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| spoolway::spool::fuzz::records(input));
