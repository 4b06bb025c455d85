//! Framing by example: what becomes an event, where it is, and how far a checkpoint goes.

use super::*;
use crate::config::{Encoding, FilePatterns, LinePattern, MultilineConfig};

pub(super) const LIMITS: RunLimits = RunLimits {
    bytes: 64,
    events: 5,
};

pub(super) fn config() -> FileConfig {
    let mut config = FileConfig::new(FilePatterns::default());
    config.max_line = 16;
    config
}

pub(super) fn framing(config: &FileConfig) -> Framing {
    Framing::new(config, LIMITS)
}

/// One event with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) bytes: Vec<u8>,
    pub(super) offset: u64,
    pub(super) is_cut: bool,
}

pub(super) fn placed(framed: &[Framed]) -> Vec<Placed> {
    let mut all = Vec::new();
    for framed in framed {
        let mut offset = framed.offset;
        for bytes in framed.events.iter() {
            all.push(Placed {
                bytes: bytes.to_vec(),
                offset,
                is_cut: framed.is_cut,
            });
            offset += bytes.len() as u64 + u64::from(framed.gap);
        }
    }
    all
}

fn frame(config: &FileConfig, progress: &mut Progress, window: &[u8], tail: Tail) -> Vec<Framed> {
    let mut out = Vec::new();
    framing(config).frame(progress, window, tail, &mut |framed| out.push(framed));
    out
}

fn texts(framed: &[Framed]) -> Vec<String> {
    let placed = placed(framed);
    let text = |one: &Placed| String::from_utf8_lossy(&one.bytes).into_owned();
    placed.iter().map(text).collect()
}

#[test]
fn lines_of_one_window_are_one_run_and_the_rest_is_held() {
    let mut progress = Progress::new(100, false);
    let out = frame(
        &config(),
        &mut progress,
        b"one\n\n\0\xFF\nhal",
        Tail::MayGrow,
    );
    assert_eq!(out.len(), 1);
    let framed = &out[0];
    let events: Vec<&[u8]> = framed.events.iter().collect();
    assert_eq!(events, [&b"one"[..], b"", b"\0\xFF"]);
    assert_eq!((framed.offset, framed.gap, framed.consumed), (100, 1, 108));
    assert_eq!((progress.consumed(), progress.searched_to()), (108, 111));
    let out = frame(&config(), &mut progress, b"half", Tail::Ended);
    assert_eq!(texts(&out), ["half"]);
    assert_eq!(progress.consumed(), 112);
}
