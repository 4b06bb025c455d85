//! Any file, in windows of any size, against a plain definition of its events.

use std::time::Instant;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// An event, where it begins, whether it is cut, and where its bytes end in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Placed {
    bytes: Vec<u8>,
    offset: u64,
    is_cut: bool,
}

fn placed(framed: &Framed, out: &mut Vec<Placed>) {
    let mut offset = framed.offset;
    for bytes in framed.events.iter() {
        out.push(Placed {
            bytes: bytes.to_vec(),
            offset,
            is_cut: framed.is_cut,
        });
        offset += bytes.len() as u64 + u64::from(framed.gap);
    }
}

/// Frames a file as a reader does: in growing windows from the checkpoint, and now and then
/// from the last checkpoint that an event carried, as after a crash.
fn in_windows(config: &FileConfig, file: &[u8], steps: &[u8]) -> Vec<Placed> {
    let framing = Framing::new(config, LIMITS);
    let mut events = Vec::new();
    let mut progress = Progress::new(0, false);
    let mut checkpoint = (0, false);
    let mut size = 0;
    let mut steps = steps.iter().copied().cycle();
    for _ in 0..20 * file.len() + 20 {
        let step = steps.next().unwrap_or(1);
        if step == 0 {
            progress = Progress::new(checkpoint.0, checkpoint.1);
        }
        let start = progress.consumed() as usize;
        size = (size + usize::from(step))
            .max(progress.searched_to() as usize)
            .min(file.len());
        let fresh = &file[progress.searched_to() as usize..size];
        if size < file.len() && step % 2 == 0 && !framing.ends_in(&mut progress, fresh) {
            continue;
        }
        let ended = size == file.len();
        let tail = if ended { Tail::Ended } else { Tail::MayGrow };
        framing.frame(
            &mut progress,
            &file[start..size],
            tail,
            &mut |framed: Framed| {
                assert!(framed.events.len() <= LIMITS.events && !framed.events.is_empty());
                assert!(framed.events.payload_bytes() <= LIMITS.bytes || framed.events.len() == 1);
                checkpoint = (framed.consumed, framed.skipping);
                placed(&framed, &mut events);
            },
        );
        if ended {
            assert_eq!(
                progress.consumed(),
                file.len() as u64,
                "all of it is framed"
            );
            return events;
        }
        assert!(
            size - (progress.consumed() as usize) < framing.window_max(),
            "a window of this size gets on"
        );
    }
    panic!("it came to no end");
}

/// The definition for lines: split, strip, cut.
fn defined(config: &FileConfig, file: &[u8]) -> Vec<Placed> {
    let mut events = Vec::new();
    let mut offset = if file.starts_with(b"\xEF\xBB\xBF") {
        3
    } else {
        0
    };
    let mut lines = file[offset..].split(|&byte| byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        let is_last = lines.peek().is_none();
        if is_last && line.is_empty() {
            break;
        }
        let content = match line.strip_suffix(b"\r") {
            Some(content) if config.line_ending == LineEnding::Auto && !is_last => content,
            _ => line,
        };
        let is_cut = content.len() > config.max_line as usize;
        let mut kept = content.len().min(config.max_line as usize);
        while is_cut && content[kept] & 0xC0 == 0x80 {
            kept -= 1;
        }
        events.push(Placed {
            bytes: content[..kept].to_vec(),
            offset: offset as u64,
            is_cut,
        });
        offset += line.len() + 1;
    }
    events
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![4 => b'a'..b'd', 2 => Just(b'\n'), 1 => Just(b'\r'), 1 => 0..128_u8];
    let long = vec(b'x'..b'z', 10..60);
    let piece = prop_oneof![8 => vec(byte, 0..12), 1 => long];
    vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

fn ending() -> impl Strategy<Value = LineEnding> {
    prop_oneof![Just(LineEnding::Auto), Just(LineEnding::Lf)]
}

proptest! {
    #[test]
    fn lines_are_as_defined_whatever_the_windows(
        file in bytes(), steps in vec(0..40_u8, 1..20), line_ending in ending(),
    ) {
        prop_assume!(steps.iter().any(|step| *step > 0));
        let mut config = config();
        config.line_ending = line_ending;
        let expected = defined(&config, &file);
        prop_assert_eq!(&in_windows(&config, &file, &[255]), &expected);
        prop_assert_eq!(&in_windows(&config, &file, &steps), &expected);
    }

    #[test]
    fn events_and_what_lies_between_them_are_the_file(file in bytes()) {
        let mut end = 0;
        for event in in_windows(&config(), &file, &[7, 0, 30]) {
            let start = event.offset as usize;
            let between = &file[end..start];
            let is_ending = matches!(between, b"" | b"\n" | b"\r\n");
            prop_assert!(is_ending || between.ends_with(b"\n"), "{:?}", between);
            end = start + event.bytes.len();
            prop_assert_eq!(&file[start..end], &event.bytes[..]);
            if event.is_cut {
                let rest = &file[end..];
                end += rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
            }
        }
        prop_assert!(matches!(&file[end..], b"" | b"\n" | b"\r\n"));
    }

    #[test]
    fn joined_lines_do_not_depend_on_the_windows(
        file in bytes(), steps in vec(0..40_u8, 1..20), which in 0..3_usize, wide in any::<bool>(),
    ) {
        prop_assume!(steps.iter().any(|step| *step > 0));
        let rules = [MultilineRule::Start, MultilineRule::Continue, MultilineRule::End];
        let mut config = lines_by(rules[which], "^a");
        let mut file = file;
        if wide {
            config.encoding = Encoding::Utf16Le;
            file = file.iter().flat_map(|&byte| u16::from(byte).to_le_bytes()).collect();
        }
        let whole = in_windows(&config, &file, &[255]);
        prop_assert_eq!(&in_windows(&config, &file, &steps), &whole);
        let mut before = None;
        for event in &whole {
            prop_assert!(before < Some(event.offset));
            before = Some(event.offset);
            prop_assert!(event.bytes.len() <= 32);
        }
    }

    #[test]
    fn any_bytes_in_any_encoding_are_survived_alike(
        file in vec(prop_oneof![any::<u8>(), Just(b'\n'), Just(0)], 0..300),
        steps in vec(1..60_u8, 1..10), which in 0..3_usize,
    ) {
        let mut config = config();
        config.encoding = [Encoding::Latin1, Encoding::Utf16Be, Encoding::Utf16Le][which];
        let whole = in_windows(&config, &file, &[255]);
        prop_assert_eq!(in_windows(&config, &file, &steps), whole);
    }
}

#[test]
fn a_huge_line_takes_linear_time_and_no_memory() {
    let mut config = config();
    config.max_line = 1 << 20;
    let framing = Framing::new(&config, LIMITS);
    let mut progress = Progress::new(0, false);
    let block = vec![b'x'; 64 << 10];
    let mut window = Vec::new();
    let (mut size, mut framed_bytes, mut events) = (0_u64, 0_u64, 0);
    let start = Instant::now();
    while size < 256 << 20 {
        size += block.len() as u64;
        // As a reader does it: first what is new, then a window only when it is worth one.
        if !framing.ends_in(&mut progress, &block) {
            continue;
        }
        window.resize((size - progress.consumed()) as usize, b'x');
        assert!(window.len() <= framing.window_max() + block.len());
        framed_bytes += window.len() as u64;
        framing.frame(&mut progress, &window, Tail::MayGrow, &mut |framed| {
            events += framed.events.len();
            assert!(framed.is_cut);
        });
    }
    assert_eq!(events, 1);
    assert_eq!(progress.consumed(), size);
    assert!(
        framed_bytes <= size + framing.window_max() as u64,
        "each byte is framed once"
    );
    assert_eq!(progress.take_left_out(), size - (1 << 20));
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}
