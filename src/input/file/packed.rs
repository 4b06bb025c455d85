//! Log files compressed by gzip: read once, through the same framing, and resumable.
//!
//! Offsets are those of the content, so that a file which was followed before it was
//! compressed goes on where it was. One such file is unpacked at a time: a decoder takes as
//! much memory as a hundred followed files. Knows no directory and hands nothing over.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;

use flate2::bufread::MultiGzDecoder;

use super::follow::Follow;
use super::framing::{Framed, Framing, Progress, Tail};
use super::identity::{HEAD_BYTES, MARK_BYTES, Print};
use super::open::read_at;
use super::turn::{Portion, TURN_BYTES, portion};

/// What a file compressed by gzip begins with (RFC 1952): two magic bytes, and the method.
const GZIP_MAGIC: [u8; 3] = [0x1F, 0x8B, 8];

/// Content that one turn unpacks on the way to where it goes on, in bytes.
const SKIP_BYTES: usize = 8 << 20;

/// Whether the file is compressed.
pub(super) fn is_packed(file: &File) -> bool {
    let mut first = GZIP_MAGIC.map(|_| 0);
    read_at(file, &mut first, 0).is_ok() && first == GZIP_MAGIC
}

/// The file from a place on, without the handle's own position.
#[derive(Debug)]
struct From {
    file: File,
    at: u64,
}

impl Read for From {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// A file that is being unpacked.
#[derive(Debug)]
pub(super) struct Unpacking {
    /// Key of the file.
    pub(super) key: u64,
    decoder: MultiGzDecoder<BufReader<From>>,
    /// Unpacked and not yet framed, with the bytes of the mark before them.
    bytes: Vec<u8>,
    /// Offset of these in the content.
    base: u64,
    is_whole: bool,
}

/// What a turn came to.
#[derive(Debug)]
pub(super) enum Unpacked {
    /// These events; more is to come.
    Some(Vec<Portion>),
    /// These events, and that was all.
    All(Vec<Portion>),
    /// Not the content that the checkpoint speaks of.
    Other,
}

impl Unpacking {
    /// Begins to unpack a file.
    ///
    /// # Errors
    /// When the system has no handle left.
    pub(super) fn begin(key: u64, file: &File) -> io::Result<Self> {
        let file = file.try_clone()?;
        Ok(Self {
            key,
            decoder: MultiGzDecoder::new(BufReader::new(From { file, at: 0 })),
            bytes: Vec::new(),
            base: 0,
            is_whole: false,
        })
    }

    /// The first bytes of the content, as many as a print covers. Only before the first turn.
    ///
    /// # Errors
    /// As [`Unpacking::turn`].
    pub(super) fn head(&mut self) -> io::Result<&[u8]> {
        self.unpack_to(HEAD_BYTES)?;
        Ok(self.bytes.get(..HEAD_BYTES).unwrap_or(&self.bytes))
    }

    /// Takes one turn: `follow.progress` and `mark` move behind what was unpacked.
    ///
    /// # Errors
    /// When the file cannot be read, is damaged, or is not whole: gzip may still write it.
    pub(super) fn turn(&mut self, follow: &mut Follow, framing: &Framing) -> io::Result<Unpacked> {
        if !self.skip_to(follow.progress.consumed())? {
            return Ok(if self.is_whole {
                Unpacked::Other
            } else {
                Unpacked::Some(Vec::new())
            });
        }
        let behind = (follow.progress.consumed() - self.base) as usize;
        self.unpack_to(behind + framing.window_max().max(TURN_BYTES))?;
        let marked = behind.checked_sub(usize::from(follow.mark.len));
        let marked = marked.and_then(|from| self.bytes.get(from..));
        if !marked.is_some_and(|bytes| follow.mark.begins(bytes)) {
            return Ok(Unpacked::Other);
        }
        let tail = if self.is_whole {
            Tail::Ended
        } else {
            Tail::MayGrow
        };
        let (bytes, base) = (&self.bytes, self.base);
        let mark_at =
            |offset: u64| Print::of_mark(bytes.get(..(offset - base) as usize).unwrap_or_default());
        let fresh = bytes.get(behind..).unwrap_or_default();
        let mut portions = Vec::new();
        framing.frame(&mut follow.progress, fresh, tail, &mut |framed: Framed| {
            let mark = mark_at(framed.consumed);
            portions.push(portion(framed, mark));
        });
        follow.mark = mark_at(follow.progress.consumed());
        self.forget_before(follow.progress.consumed());
        Ok(if self.is_whole {
            Unpacked::All(portions)
        } else {
            Unpacked::Some(portions)
        })
    }

    /// Unpacks up to an offset of the content. False when that is not reached, by this turn
    /// or at all.
    fn skip_to(&mut self, offset: u64) -> io::Result<bool> {
        let mut budget = SKIP_BYTES;
        while self.end() < offset && budget > 0 && !self.is_whole {
            let missing = offset - self.end();
            let step = TURN_BYTES.min(usize::try_from(missing).unwrap_or(TURN_BYTES));
            self.unpack_to(self.bytes.len() + step)?;
            self.forget_before(self.end());
            budget = budget.saturating_sub(step);
        }
        Ok(self.end() >= offset)
    }

    fn end(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    /// Lets go of what lies before `offset`, but for the bytes of a mark.
    fn forget_before(&mut self, offset: u64) {
        let count = (offset - self.base) as usize;
        let count = count.saturating_sub(MARK_BYTES);
        self.bytes.drain(..count.min(self.bytes.len()));
        self.base += count as u64;
    }

    /// Unpacks until `length` bytes are there, or the file is whole.
    fn unpack_to(&mut self, length: usize) -> io::Result<()> {
        while self.bytes.len() < length && !self.is_whole {
            let missing = (length - self.bytes.len()) as u64;
            let count = self
                .decoder
                .by_ref()
                .take(missing)
                .read_to_end(&mut self.bytes)?;
            self.is_whole = count == 0;
        }
        Ok(())
    }
}

/// Where a compressed file goes on, when the file with the same beginning was followed before
/// it was compressed.
pub(super) fn go_on(follow: &mut Follow, head: &[u8], twin: Option<&Follow>) {
    follow.head = Print::of_head(head);
    if let Some(twin) = twin {
        follow.progress = Progress::new(twin.progress.consumed(), twin.progress.skipping());
        follow.mark = twin.mark;
    }
}

/// Begins at the first byte: the content is not that of the file that was followed.
pub(super) fn begin_anew(follow: &mut Follow) {
    follow.progress = Progress::new(0, false);
    follow.mark = Print::default();
}
