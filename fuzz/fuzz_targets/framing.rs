//! Framing of a socket's bytes: the same lines whatever the pieces in which they arrive.
//!
//! The first byte is the size of the pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spoolway::input::framing::{Decoder, Framed, LineMemory};

/// Longest event; small, so that refusals happen.
const LONGEST: u32 = 64;

fuzz_target!(|input: &[u8]| {
    let Some((&piece, bytes)) = input.split_first() else {
        return;
    };
    let framed = |piece: usize| {
        let mut decoder = Decoder::new(LONGEST, LineMemory::new(1 << 20));
        let mut out = Framed::default();
        for part in bytes.chunks(piece) {
            decoder.feed(part, &mut out);
        }
        decoder.finish(true, &mut out);
        out
    };
    let whole = framed(bytes.len().max(1));
    assert_eq!(whole, framed(usize::from(piece).max(1)));
    let lines = bytes.split(|byte| *byte == b'\n');
    let longest = lines.map(<[u8]>::len).max().unwrap_or_default();
    assert_eq!(whole.refused.is_empty(), longest <= LONGEST as usize);
});
