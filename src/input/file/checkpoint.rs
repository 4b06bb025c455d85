//! What is remembered of a file across restarts, as bytes: the value of a spool checkpoint.
//!
//! The spool stores it in the block of the events that it covers and guards it by that
//! block's CRC, so there is none here. Reads and decides nothing.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::identity::{FileId, HEAD_BYTES, MARK_BYTES, Print};

/// Longest path that is followed, in bytes: a checkpoint value holds it.
pub(super) const PATH_BYTES_MAX: usize = 3 << 10;

/// Most patterns of one input that a [`Known::Input`] remembers; more make no difference, as
/// the configuration takes fewer.
const PATTERNS_MAX: usize = 256;

const VERSION: u8 = 1;
const FILE: u8 = 1;
const INPUT: u8 = 2;

const SKIPPING: u8 = 1;
const FINISHED: u8 = 2;
const DELIVERED: u8 = 4;

/// A value that this release cannot read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ValueError {
    /// A later release wrote it.
    #[error("a checkpoint has version {0}, this release knows {VERSION}")]
    Version(u8),
    /// It is not what its version says.
    #[error("a checkpoint of {0} bytes is damaged")]
    Damaged(usize),
}

/// One remembered thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Known {
    /// How far a file is read.
    File(Place),
    /// The patterns of an input that have been looked for before: what they find from now on
    /// is new and read from its beginning.
    Input {
        /// `name` of the `[[input]]`.
        name: String,
        /// When the input looked for files for the first time, ns since the Unix epoch.
        since: u64,
        /// [`pattern_id`] of each.
        patterns: Vec<u64>,
    },
}

/// How far the content of one file is in the spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// `name` of the `[[input]]`.
    pub(super) input: String,
    /// Where the file was seen last.
    pub(super) path: PathBuf,
    pub(super) id: FileId,
    /// Of its first bytes.
    pub(super) head: Print,
    /// Of the bytes just before `consumed`.
    pub(super) mark: Print,
    /// Where the first event begins that is not in the spool, in bytes of the content.
    pub(super) consumed: u64,
    /// The bytes from `consumed` on belong to a line that was cut, up to its newline.
    pub(super) skipping: bool,
    /// How often the file was found written anew in place.
    pub(super) contents: u32,
    /// Read to its end and never to be read again.
    pub(super) finished: bool,
    /// The broker has every event before `consumed`.
    pub(super) delivered: bool,
    /// Events that the spool had given up when the broker last had all of the file; `None` when
    /// it is not to be deleted anyway.
    pub(super) given_up: Option<u64>,
}

/// Stands for a pattern in [`Known::Input`].
pub(super) fn pattern_id(pattern: &str) -> u64 {
    // Names of rules, not of content: all bytes count.
    pattern.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl Known {
    /// As bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        match self {
            Self::File(place) => place.encode(&mut out),
            Self::Input {
                name,
                since,
                patterns,
            } => {
                out.push(INPUT);
                put_text(&mut out, name.as_bytes());
                out.extend(since.to_le_bytes());
                let patterns = patterns.iter().take(PATTERNS_MAX);
                patterns.for_each(|id| out.extend(id.to_le_bytes()));
            }
        }
        out
    }

    /// From bytes.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, ValueError> {
        let damaged = ValueError::Damaged(bytes.len());
        let (&version, rest) = bytes.split_first().ok_or(damaged)?;
        if version != VERSION {
            return Err(ValueError::Version(version));
        }
        let mut reader = Reader(rest);
        let known = match reader.u8() {
            Some(FILE) => Place::decode(&mut reader).map(Self::File),
            Some(INPUT) => decode_input(&mut reader),
            _ => None,
        };
        known.filter(|_| reader.0.is_empty()).ok_or(damaged)
    }
}

fn decode_input(reader: &mut Reader<'_>) -> Option<Known> {
    let name = String::from_utf8(reader.text()?.to_vec()).ok()?;
    let since = reader.u64()?;
    let mut patterns = Vec::new();
    while !reader.0.is_empty() {
        patterns.push(reader.u64()?);
    }
    Some(Known::Input {
        name,
        since,
        patterns,
    })
}

impl Place {
    fn encode(&self, out: &mut Vec<u8>) {
        let flag = |is: bool, bit: u8| if is { bit } else { 0 };
        out.push(FILE);
        out.push(
            flag(self.skipping, SKIPPING)
                | flag(self.finished, FINISHED)
                | flag(self.delivered, DELIVERED),
        );
        for number in [self.id.device, self.id.inode, self.id.born, self.consumed] {
            out.extend(number.to_le_bytes());
        }
        for print in [self.head, self.mark] {
            out.extend(print.len.to_le_bytes());
            out.extend(print.hash.to_le_bytes());
        }
        out.extend(self.contents.to_le_bytes());
        put_text(out, self.input.as_bytes());
        put_text(out, self.path.as_os_str().as_bytes());
        self.given_up
            .iter()
            .for_each(|number| out.extend(number.to_le_bytes()));
    }

    fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let flags = reader.u8()?;
        let id = FileId {
            device: reader.u64()?,
            inode: reader.u64()?,
            born: reader.u64()?,
        };
        let consumed = reader.u64()?;
        let head = reader.print(HEAD_BYTES)?;
        let mark = reader.print(MARK_BYTES)?;
        let contents = reader.u32()?;
        let input = String::from_utf8(reader.text()?.to_vec()).ok()?;
        let path = PathBuf::from(OsString::from_vec(reader.text()?.to_vec()));
        let given_up = (!reader.0.is_empty()).then(|| reader.u64());
        Some(Self {
            given_up: given_up.map_or(Some(None), |number| number.map(Some))?,
            input,
            path,
            id,
            head,
            mark,
            consumed,
            skipping: flags & SKIPPING != 0,
            contents,
            finished: flags & FINISHED != 0,
            delivered: flags & DELIVERED != 0,
        })
    }
}

/// Whether a path fits into a checkpoint.
pub(super) fn fits(path: &Path) -> bool {
    path.as_os_str().len() <= PATH_BYTES_MAX
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend((text.len() as u16).to_le_bytes());
    out.extend(text);
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn print(&mut self, most: usize) -> Option<Print> {
        let len = self.array().map(u16::from_le_bytes)?;
        let hash = self.u64()?;
        (usize::from(len) <= most).then_some(Print { len, hash })
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let count = self.array().map(u16::from_le_bytes)?;
        self.take(usize::from(count))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place() -> Place {
        Place {
            input: "logs".to_owned(),
            path: PathBuf::from(OsString::from_vec(b"/var/log/\xff.log".to_vec())),
            id: FileId {
                device: 8 << 32 | 1,
                inode: u64::MAX,
                born: 1,
            },
            head: Print::of_head(b"first"),
            mark: Print::of_mark(b"last"),
            consumed: 1 << 40,
            skipping: true,
            contents: 3,
            finished: false,
            delivered: true,
            given_up: None,
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let watched = Place {
            given_up: Some(7),
            ..place()
        };
        let input = Known::Input {
            name: "logs".to_owned(),
            since: 5,
            patterns: vec![pattern_id("/a/*"), pattern_id("/b/*")],
        };
        for known in [Known::File(place()), Known::File(watched), input] {
            assert_eq!(Known::decode(&known.encode()), Ok(known));
        }
    }

    #[test]
    fn the_longest_path_fits_into_a_value_of_4_kib() {
        let mut longest = place();
        longest.path = PathBuf::from("x".repeat(PATH_BYTES_MAX));
        longest.input = "n".repeat(64);
        longest.given_up = Some(u64::MAX);
        assert!(fits(&longest.path));
        assert!(Known::File(longest).encode().len() <= 4 << 10);
    }

    #[test]
    fn a_later_version_is_named() {
        let mut bytes = Known::File(place()).encode();
        bytes[0] = 2;
        assert_eq!(Known::decode(&bytes), Err(ValueError::Version(2)));
    }

    /// What release 0.2 wrote; every later one must read it.
    #[test]
    fn version_1_is_read_for_ever() {
        let golden = [
            1, 1, 1, 1, 0, 0, 0, 8, 0, 0, 0, 42, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 100,
            0, 0, 0, 0, 0, 0, 0, 3, 0, 5, 0, 0, 0, 0, 0, 0, 0, 2, 0, 6, 0, 0, 0, 0, 0, 0, 0, 9, 0,
            0, 0, 1, 0, b'n', 2, 0, b'/', b'p',
        ];
        let Ok(Known::File(place)) = Known::decode(&golden) else {
            panic!("the golden bytes are not read");
        };
        let id = FileId {
            device: 8 << 32 | 1,
            inode: 42,
            born: 7,
        };
        assert_eq!((place.id, place.consumed, place.contents), (id, 100, 9));
        assert_eq!((place.head.len, place.mark.hash), (3, 6));
        assert_eq!(
            (place.input.as_str(), place.path),
            ("n", PathBuf::from("/p"))
        );
        assert!(place.skipping && !place.finished && !place.delivered);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Known::decode(&bytes);
            let mut marked = vec![VERSION, FILE];
            marked.extend(bytes);
            let _ = Known::decode(&marked);
        }
    }
}
