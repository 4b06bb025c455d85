//! Framing by example: what becomes an event, where it is, and how far a checkpoint goes.

use super::*;
use crate::config::{Encoding, FilePatterns, LinePattern, MultilineConfig};

/// Small, so that runs end for every reason.
const LIMITS: RunLimits = RunLimits {
    bytes: 64,
    events: 5,
};

fn config() -> FileConfig {
    let mut config = FileConfig::new(FilePatterns::default());
    config.max_line = 16;
    config
}

fn lines_by(rule: fn(LinePattern) -> MultilineRule, pattern: &str) -> FileConfig {
    let mut config = config();
    let mut multiline = MultilineConfig::new(rule(LinePattern::new(pattern).unwrap()));
    multiline.max_lines = 4;
    multiline.max_bytes = 32;
    config.multiline = Some(multiline);
    config
}

fn frame(config: &FileConfig, progress: &mut Progress, window: &[u8], tail: Tail) -> Vec<Framed> {
    let framing = Framing::new(config, LIMITS);
    let mut out = Vec::new();
    framing.frame(progress, window, tail, &mut |framed| out.push(framed));
    out
}

/// The events of a whole file as text, a `~` behind those that are cut.
fn texts(config: &FileConfig, file: &[u8]) -> Vec<String> {
    let framed = frame(config, &mut Progress::new(0, false), file, Tail::Ended);
    let text = |framed: &Framed| {
        let mark = if framed.is_cut { "~" } else { "" };
        let texts = framed.events.iter().map(String::from_utf8_lossy);
        texts
            .map(|text| format!("{text}{mark}"))
            .collect::<Vec<_>>()
    };
    framed.iter().flat_map(text).collect()
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
    let out = frame(&config(), &mut progress, b"half", Tail::TimedOut);
    assert!(
        out.is_empty(),
        "a line without its end is no event while the file lives"
    );
    let out = frame(&config(), &mut progress, b"half", Tail::Ended);
    assert_eq!(out[0].events.bytes(), b"half");
    assert_eq!(progress.consumed(), 112);
}

#[test]
fn a_carriage_return_belongs_to_the_end_unless_it_is_content() {
    let file = b"a\r\nb\rc\n\r\r\nd\r";
    assert_eq!(texts(&config(), file), ["a", "b\rc", "\r", "d\r"]);
    let mut lf = config();
    lf.line_ending = LineEnding::Lf;
    assert_eq!(texts(&lf, file), ["a\r", "b\rc", "\r\r", "d\r"]);
    let framed = frame(
        &config(),
        &mut Progress::new(0, false),
        b"a\r\nb\r\n",
        Tail::MayGrow,
    );
    assert_eq!((framed.len(), framed[0].gap), (1, 2));
}

#[test]
fn a_long_line_is_cut_once_and_its_rest_is_skipped() {
    let mut progress = Progress::new(0, false);
    let window = b"short\n0123456789abcdefXY";
    let out = frame(&config(), &mut progress, window, Tail::MayGrow);
    assert_eq!(out.len(), 2);
    let cut = &out[1];
    assert_eq!((cut.offset, cut.is_cut, cut.skipping), (6, true, true));
    assert_eq!(
        (cut.events.bytes(), cut.consumed),
        (&b"0123456789abcdef"[..], 22)
    );
    // After a crash the checkpoint of the event leads behind the line as well.
    for mut progress in [progress, Progress::new(cut.consumed, cut.skipping)] {
        let rest = &b"short\n0123456789abcdefXYZ\nnext\n"[progress.consumed() as usize..];
        let out = frame(&config(), &mut progress, rest, Tail::MayGrow);
        assert_eq!(
            (out.len(), out[0].events.bytes(), out[0].offset),
            (1, &b"next"[..], 26)
        );
    }
    assert_eq!(
        texts(&config(), b"0123456789abcdef\r\n"),
        ["0123456789abcdef"]
    );
    assert_eq!(
        texts(&config(), b"0123456789abcd\xE2\x82\xAC\n"),
        ["0123456789abcd~"]
    );
}

#[test]
fn what_is_left_out_of_cut_lines_is_counted() {
    let mut progress = Progress::new(0, false);
    frame(&config(), &mut progress, &[b'x'; 40], Tail::MayGrow);
    assert_eq!(progress.take_left_out(), 24);
    frame(&config(), &mut progress, b"yyyy\n", Tail::MayGrow);
    assert_eq!((progress.take_left_out(), progress.consumed()), (4, 45));
    frame(
        &config(),
        &mut progress,
        &[&[b'z'; 20][..], b"\n"].concat(),
        Tail::MayGrow,
    );
    assert_eq!(progress.take_left_out(), 4);
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_line() {
    assert_eq!(
        texts(&config(), b"\xEF\xBB\xBFa\n\xEF\xBB\xBFb\n"),
        ["a", "\u{FEFF}b"]
    );
    for (encoding, bytes) in [
        (
            Encoding::Utf16Le,
            b"\xFF\xFEa\0\r\0\n\0\xE9\0\n\0".as_slice(),
        ),
        (Encoding::Utf16Be, b"\xFE\xFF\0a\0\r\0\n\0\xE9\0\n"),
        (Encoding::Latin1, b"a\r\n\xE9\n"),
    ] {
        let mut config = config();
        config.encoding = encoding;
        assert_eq!(texts(&config, bytes), ["a", "é"], "{encoding:?}");
    }
}

#[test]
fn offsets_of_another_encoding_are_those_in_the_file() {
    let mut config = config();
    config.encoding = Encoding::Utf16Le;
    let file: Vec<u8> = "ab\nc\n€\nd"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let out = frame(&config, &mut Progress::new(0, false), &file, Tail::Ended);
    let mut offsets = Vec::new();
    for framed in &out {
        let mut offset = framed.offset;
        for event in framed.events.iter() {
            offsets.push(offset);
            offset += event.len() as u64 + u64::from(framed.gap);
        }
    }
    assert_eq!(offsets, [0, 6, 10, 14]);
    // The last unit of the window is half there.
    let mut progress = Progress::new(0, false);
    frame(&config, &mut progress, &file[..9], Tail::MayGrow);
    assert_eq!((progress.consumed(), progress.searched_to()), (6, 8));
}

#[test]
fn lines_are_joined_by_the_first_the_following_or_the_last() {
    let file = b"x\nA 1\n 2\n 3\nA 4\n 5";
    let first = lines_by(MultilineRule::Start, "^A");
    assert_eq!(texts(&first, file), ["x", "A 1\n 2\n 3", "A 4\n 5"]);
    let following = lines_by(MultilineRule::Continue, r"^\s");
    assert_eq!(texts(&following, file), ["x", "A 1\n 2\n 3", "A 4\n 5"]);
    // The line end inside an event stays, the last one goes with its carriage return.
    assert_eq!(texts(&first, b"A\r\n 1\r\nA\r\n"), ["A\r\n 1", "A"]);
    let last = lines_by(MultilineRule::End, ";$");
    assert_eq!(texts(&last, b"a\nb;\r\nc;\nd\n"), ["a\nb;", "c;", "d"]);
}

#[test]
fn a_checkpoint_never_passes_an_unfinished_event() {
    let config = lines_by(MultilineRule::Start, "^A");
    let mut progress = Progress::new(0, false);
    assert!(frame(&config, &mut progress, b"A 1\n 2\n 3", Tail::MayGrow).is_empty());
    assert!(progress.is_open());
    assert_eq!((progress.consumed(), progress.searched_to()), (0, 9));
    let out = frame(&config, &mut progress, b"A 1\n 2\n 3", Tail::TimedOut);
    assert_eq!(out[0].events.bytes(), b"A 1\n 2");
    assert_eq!((out[0].consumed, progress.consumed()), (7, 7));
    assert!(!progress.is_open());
}

#[test]
fn an_event_of_lines_is_bounded_by_lines_and_bytes_and_loses_none() {
    let config = lines_by(MultilineRule::Start, "^A");
    assert_eq!(
        texts(&config, b"A\n1\n2\n3\n4\n5\n"),
        ["A\n1\n2\n3", "4\n5"]
    );
    let long = b"A23456789012345\n123456789012345\n1\n";
    assert_eq!(
        texts(&config, long),
        ["A23456789012345\n123456789012345", "1"]
    );
    // A cut line ends its event; what follows begins another.
    let cut = b"A\n0123456789abcdefgh\n3\n";
    assert_eq!(texts(&config, cut), ["A\n0123456789abcdef~", "3"]);
}

#[test]
fn a_growing_line_is_searched_once() {
    let framing = Framing::new(&config(), LIMITS);
    let mut progress = Progress::new(50, false);
    assert!(!framing.ends_in(&mut progress, b"abc"));
    assert_eq!(progress.searched_to(), 53);
    assert!(framing.ends_in(&mut progress, b"d\n"));
    assert!(
        framing.ends_in(&mut progress, &[b'x'; 14]),
        "it is over the limit"
    );
    assert!(framing.ends_in(&mut Progress::new(0, true), b"x"));
}

mod windows;
