//! Framing of log files: any windows give the same events at the same places, and a path
//! pattern takes any text and any path.
//!
//! The first byte is the size of the windows.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use spoolway::config::{FileConfig, FilePatterns};
use spoolway::input::file::framing::{Framed, Framing, Progress, RunLimits, Tail};

/// Longest line kept; small, so that lines are cut.
const LONGEST: u32 = 16;

fuzz_target!(|input: &[u8]| {
    let Some((&step, bytes)) = input.split_first() else {
        return;
    };
    let mut config = FileConfig::new(FilePatterns::default());
    config.max_line = LONGEST;
    let limits = RunLimits {
        bytes: 1 << 20,
        events: 1 << 20,
    };
    let framing = Framing::new(&config, limits);
    let whole = events(&framing, bytes, bytes.len().max(1));
    let pieces = events(&framing, bytes, usize::from(step) + framing.window_max());
    assert_eq!(whole, pieces);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let (pattern, path) = text.split_once('\n').unwrap_or((text, "/var/log/a.log"));
        let mut patterns = FilePatterns::default();
        if let Err(error) = patterns.include(pattern) {
            drop(error.to_string());
        }
        let _ = patterns.exclude(pattern);
        let _ = patterns.captures(Path::new(path));
        let _ = patterns.may_hold(Path::new(path));
    }
});

/// Events and their offsets, read by windows of `window` bytes.
fn events(framing: &Framing, bytes: &[u8], window: usize) -> Vec<(u64, Vec<u8>, bool)> {
    let mut progress = Progress::new(0, false);
    let mut found = Vec::new();
    loop {
        let before = progress;
        let from = progress.consumed() as usize;
        let to = bytes.len().min(from + window);
        let tail = if to == bytes.len() {
            Tail::Ended
        } else {
            Tail::MayGrow
        };
        framing.frame(&mut progress, &bytes[from..to], tail, &mut |framed: Framed| {
            let mut offset = framed.offset;
            for event in framed.events.iter() {
                found.push((offset, event.to_vec(), framed.is_cut));
                offset += event.len() as u64 + u64::from(framed.gap);
            }
        });
        if tail == Tail::Ended || progress == before {
            return found;
        }
    }
}
