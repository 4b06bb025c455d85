//! Where a file begins that is to be read from its end: at its last line that has no end
//! yet, so that no line is delivered without its beginning.
//!
//! Reads a few last bytes; decides nothing else.

use std::fs::File;
use std::io;

use super::framing::Progress;
use super::identity::{HEAD_BYTES, Print};
use super::open::read_at;
use crate::config::Encoding;

/// How far back the beginning of an unfinished line is sought. One that is longer is left
/// out.
const LAST_LINE_BYTES: u64 = 64 << 10;

/// The end of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) progress: Progress,
    pub(super) mark: Print,
    pub(super) head: Print,
}

/// The end of a file of `size` bytes.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn end_of(file: &File, size: u64, encoding: Encoding) -> io::Result<End> {
    let from = size.saturating_sub(LAST_LINE_BYTES);
    // Code units begin at even places.
    let from = from - from % 2;
    let mut last = vec![0; (size - from) as usize];
    let read = read_at(file, &mut last, from)?;
    last.truncate(read);
    let mut head = vec![0; HEAD_BYTES.min(size as usize)];
    let read = read_at(file, &mut head, 0)?;
    head.truncate(read);
    let newline = after_newline(&last, encoding);
    let (behind, skipping) = match newline {
        Some(behind) => (behind, false),
        None if from == 0 => (0, false),
        None => (last.len() - last.len() % 2, true),
    };
    Ok(End {
        progress: Progress::new(from + behind as u64, skipping),
        mark: Print::of_mark(last.get(..behind).unwrap_or_default()),
        head: Print::of_head(&head),
    })
}

/// The place behind the last newline of `bytes`, which begin at a code unit.
fn after_newline(bytes: &[u8], encoding: Encoding) -> Option<usize> {
    let newline: &[u8] = match encoding {
        Encoding::Utf8 | Encoding::Latin1 => return Some(memchr::memrchr(b'\n', bytes)? + 1),
        Encoding::Utf16Be => b"\0\n",
        Encoding::Utf16Le => b"\n\0",
    };
    let units = bytes.chunks_exact(2);
    units.rev().position(|unit| unit == newline).map(|back| {
        let whole = bytes.len() - bytes.len() % 2;
        whole - 2 * back
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn end(content: &[u8], encoding: Encoding) -> End {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, content).unwrap();
        let file = File::open(path).unwrap();
        end_of(&file, content.len() as u64, encoding).unwrap()
    }

    #[test]
    fn an_unfinished_last_line_belongs_to_what_comes() {
        let found = end(b"one\ntwo\nthr", Encoding::Utf8);
        assert_eq!(found.progress, Progress::new(8, false));
        assert_eq!(found.mark, Print::of_mark(b"one\ntwo\n"));
        assert_eq!(
            end(b"one\n", Encoding::Utf8).progress,
            Progress::new(4, false)
        );
        assert_eq!(end(b"on", Encoding::Utf8).progress, Progress::new(0, false));
        assert_eq!(end(b"", Encoding::Utf8).progress, Progress::new(0, false));
    }

    #[test]
    fn a_line_that_began_long_ago_is_skipped() {
        let long = vec![b'x'; 70_001];
        assert_eq!(
            end(&long, Encoding::Utf8).progress,
            Progress::new(70_000, true)
        );
    }

    #[test]
    fn newlines_of_utf_16_are_whole_units() {
        let text: Vec<u8> = "a\nbc".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(
            end(&text, Encoding::Utf16Le).progress,
            Progress::new(4, false)
        );
        // U+0A00 twice holds the bytes of a newline at an odd place.
        let none = [0x00, 0x0A, 0x00, 0x0A];
        assert_eq!(
            end(&none, Encoding::Utf16Le).progress,
            Progress::new(0, false)
        );
    }
}
