//! Newline framing: bytes of a stream in, whole events and refusals out.
//!
//! Pure and bounded: holds at most one unfinished line of `max_event_bytes`, and that only
//! within the daemon-wide [`LineMemory`]. Does no I/O and gives no answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::event::EventBuf;

/// Memory that unfinished lines of all connections may take together, in bytes.
///
/// Without it, many connections that each send a long line without its newline would grow
/// the daemon by `max_event_bytes` each.
pub const LINE_MEMORY_BYTES: usize = 16 << 20;

/// An unfinished line up to this size is always held, whatever the others hold, in bytes.
const LINE_FREE_BYTES: usize = 4096;

/// The daemon-wide budget for unfinished lines.
#[derive(Debug)]
pub struct LineMemory {
    used: AtomicUsize,
    limit: usize,
}

impl LineMemory {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            used: AtomicUsize::new(0),
            limit,
        })
    }

    fn take(&self, bytes: usize) -> bool {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes <= self.limit {
            return true;
        }
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        false
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Why a line was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The daemon-wide memory for unfinished lines was used up.
    Busy,
    /// It was accepted, but the broker refused it for good: it is in the dead letters.
    DeadLettered,
    /// The spool failed before the event was on disk.
    NotStored,
    /// The spool is full and `when_full = "reject"`.
    SpoolFull,
    /// Longer than `max_event_bytes`.
    TooLong,
}

impl Refusal {
    /// The word that the writer is told.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::DeadLettered => "dead_lettered",
            Self::NotStored => "not_stored",
            Self::SpoolFull => "spool_full",
            Self::TooLong => "too_long",
        }
    }
}

/// What one read delivered: whole events, and the places of refused lines among them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Framed {
    /// The events, in order.
    pub events: EventBuf,
    /// `(lines of this read before it, reason)`, ascending.
    pub refused: Vec<(u32, Refusal)>,
}

impl Framed {
    /// Lines that this read finished, refused ones included.
    pub fn lines(&self) -> u32 {
        (self.events.len() + self.refused.len()) as u32
    }

    fn refuse(&mut self, reason: Refusal) {
        self.refused.push((self.lines(), reason));
    }
}

/// The line that a stream has begun and not ended.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// Its bytes so far; none while it is skipped.
    pub bytes: Vec<u8>,
    /// Whether it was refused already, and only its end is looked for.
    pub skipping: bool,
}

/// Cuts one connection's bytes at newlines.
#[derive(Debug)]
pub struct Decoder {
    max_event_bytes: usize,
    memory: Arc<LineMemory>,
    charged: usize,
    partial: Vec<u8>,
    /// Set while the rest of a refused line is skipped.
    skipping: bool,
}

impl Decoder {
    /// A decoder that refuses events over `max_event_bytes`.
    pub fn new(max_event_bytes: u32, memory: Arc<LineMemory>) -> Self {
        Self {
            max_event_bytes: max_event_bytes as usize,
            memory,
            charged: 0,
            partial: Vec::new(),
            skipping: false,
        }
    }

    /// Takes the bytes of one read; adds what they finish to `out`.
    pub fn feed(&mut self, mut bytes: &[u8], out: &mut Framed) {
        while let Some(newline) = memchr::memchr(b'\n', bytes) {
            let (line, rest) = bytes.split_at(newline);
            self.finish_line(line, out);
            bytes = rest.get(1..).unwrap_or_default();
        }
        if !bytes.is_empty() {
            self.hold(bytes, out);
        }
    }

    /// Takes up a line where another decoder left it; it is refused where it does not fit.
    pub fn resume(&mut self, unfinished: &Unfinished, out: &mut Framed) {
        self.skipping = unfinished.skipping;
        self.hold(&unfinished.bytes, out);
    }

    /// Ends here, with the line that has begun.
    pub fn leave(mut self) -> Unfinished {
        Unfinished {
            bytes: std::mem::take(&mut self.partial),
            skipping: self.skipping,
        }
    }

    /// The stream has ended: an unfinished line becomes an event when `accept` is set.
    pub fn finish(&mut self, accept: bool, out: &mut Framed) {
        if !self.partial.is_empty() && accept {
            self.finish_line(&[], out);
        }
        self.release();
        self.skipping = false;
    }

    fn finish_line(&mut self, tail: &[u8], out: &mut Framed) {
        if self.skipping {
            self.skipping = false;
            return;
        }
        if self.partial.len() + tail.len() > self.max_event_bytes {
            out.refuse(Refusal::TooLong);
        } else if self.partial.is_empty() {
            out.events.push(tail);
            return;
        } else {
            self.partial.extend_from_slice(tail);
            out.events.push(&self.partial);
        }
        self.release();
    }

    fn hold(&mut self, bytes: &[u8], out: &mut Framed) {
        if self.skipping {
            return;
        }
        let length = self.partial.len() + bytes.len();
        if length > self.max_event_bytes {
            self.skip(Refusal::TooLong, out);
        } else if !self.charge(length) {
            self.skip(Refusal::Busy, out);
        } else {
            self.partial.extend_from_slice(bytes);
        }
    }

    /// Refuses the current line at once, so that the writer hears of it while it still sends.
    fn skip(&mut self, reason: Refusal, out: &mut Framed) {
        out.refuse(reason);
        self.release();
        self.skipping = true;
    }

    fn charge(&mut self, length: usize) -> bool {
        let wanted = length.saturating_sub(LINE_FREE_BYTES);
        if wanted <= self.charged {
            return true;
        }
        let taken = self.memory.take(wanted - self.charged);
        if taken {
            self.charged = wanted;
        }
        taken
    }

    fn release(&mut self) {
        self.memory.give_back(std::mem::take(&mut self.charged));
        self.partial.clear();
        if self.partial.capacity() > LINE_FREE_BYTES {
            self.partial = Vec::new();
        }
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        self.memory.give_back(self.charged);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoder(max: u32) -> Decoder {
        Decoder::new(max, LineMemory::new(LINE_MEMORY_BYTES))
    }

    fn events(framed: &Framed) -> Vec<&[u8]> {
        framed.events.iter().collect()
    }

    #[test]
    fn lines_are_cut_at_newlines_whatever_the_reads() {
        let mut decoder = decoder(16);
        let mut out = Framed::default();
        for part in [&b"a"[..], b"b\n\nc\0d\n", b"x"] {
            decoder.feed(part, &mut out);
        }
        assert_eq!(events(&out), [&b"ab"[..], b"", b"c\0d"]);
        decoder.finish(true, &mut out);
        assert_eq!(events(&out).last(), Some(&&b"x"[..]));
    }

    #[test]
    fn a_too_long_line_is_refused_once_and_its_neighbours_pass() {
        let mut decoder = decoder(4);
        let mut out = Framed::default();
        for part in [&b"one\n12345"[..], b"678", b"9\ntwo\n12345\nfour\n"] {
            decoder.feed(part, &mut out);
        }
        assert_eq!(events(&out), [&b"one"[..], b"two", b"four"]);
        assert_eq!(out.refused, [(1, Refusal::TooLong), (3, Refusal::TooLong)]);
        assert_eq!(out.lines(), 5);
    }

    #[test]
    fn unfinished_lines_share_one_budget_and_give_it_back() {
        let memory = LineMemory::new(100_000);
        let mut hog = Decoder::new(1 << 20, memory.clone());
        let mut other = Decoder::new(1 << 20, memory.clone());
        let mut out = Framed::default();
        hog.feed(&vec![b'a'; 90_000], &mut out);
        other.feed(&vec![b'b'; 4096], &mut out);
        assert!(out.refused.is_empty(), "a small line is always held");
        other.feed(&vec![b'b'; 40_000], &mut out);
        assert_eq!(out.refused, [(0, Refusal::Busy)]);
        drop(hog);
        other.feed(b"\n", &mut out);
        other.feed(&vec![b'c'; 90_000], &mut out);
        other.feed(b"\n", &mut out);
        assert_eq!(out.events.payload_bytes(), 90_000);
        assert_eq!(memory.used.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn an_unterminated_last_line_can_be_left_out() {
        let mut decoder = decoder(16);
        let mut out = Framed::default();
        decoder.feed(b"whole\nhalf", &mut out);
        decoder.finish(false, &mut out);
        assert_eq!(events(&out), [&b"whole"[..]]);
    }

    proptest! {
        #[test]
        fn any_cutting_of_the_stream_gives_the_same_lines(
            stream in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..400),
            cut in 1usize..40,
        ) {
            let mut whole = Framed::default();
            let mut one = decoder(20);
            one.feed(&stream, &mut whole);
            one.finish(true, &mut whole);
            let mut pieces = Framed::default();
            let mut many = decoder(20);
            for part in stream.chunks(cut) {
                many.feed(part, &mut pieces);
                // As a restart does it.
                let unfinished = many.leave();
                many = decoder(20);
                many.resume(&unfinished, &mut pieces);
            }
            many.finish(true, &mut pieces);
            prop_assert_eq!(&whole, &pieces);
            let expected: Vec<&[u8]> = stream
                .split(|&b| b == b'\n')
                .filter(|line| line.len() <= 20)
                .collect();
            let found: Vec<&[u8]> = whole.events.iter().collect();
            let expected = match stream.split(|&b| b == b'\n').next_back() {
                Some([]) => &expected[..expected.len() - 1],
                _ => &expected[..],
            };
            prop_assert_eq!(found, expected);
        }
    }
}
