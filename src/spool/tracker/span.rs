//! A block's worth of events above the watermark, and its record on disk.

use super::VERSION;
use crate::event::UnixMillis;
use crate::spool::block::{BlockError, Bytes};
use crate::spool::ledger::Counts;

/// Most events of a span that has bits: keeps its record below a page. Blocks are smaller.
const SPAN_BITS: u64 = 32 * 1024;

/// A block's worth of events above the watermark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) count: u64,
    pub(super) counts: Counts,
    /// One bit per event, set when resolved; `None` while all or none are.
    pub(super) bits: Option<Box<[u64]>>,
    pub(super) received: UnixMillis,
    pub(super) changed: bool,
    /// Whether a record of this span is on disk.
    pub(super) recorded: bool,
}

impl Span {
    pub(super) fn new(count: u64, received: UnixMillis) -> Self {
        Self {
            count,
            counts: Counts::default(),
            bits: None,
            received,
            changed: false,
            recorded: false,
        }
    }

    pub(super) fn is_resolved(&self) -> bool {
        self.counts.total() == self.count
    }

    pub(super) fn has(&self, offset: u64) -> bool {
        match &self.bits {
            Some(bits) => bits
                .get((offset / 64) as usize)
                .is_some_and(|w| w >> (offset % 64) & 1 == 1),
            None => self.is_resolved(),
        }
    }

    /// Sets the bit; false when it was set before.
    pub(super) fn set(&mut self, offset: u64) -> bool {
        let words = self.count.div_ceil(64) as usize;
        let bits = self
            .bits
            .get_or_insert_with(|| vec![0; words].into_boxed_slice());
        let Some(word) = bits.get_mut((offset / 64) as usize) else {
            return false;
        };
        let mask = 1 << (offset % 64);
        let newly = *word & mask == 0;
        *word |= mask;
        newly
    }

    /// The record of this span.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&self.received.to_le_bytes());
        self.counts.encode(&mut out);
        for word in self.bits.iter().flatten() {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out
    }

    /// Reads a record.
    pub(super) fn decode(value: &[u8]) -> Result<Self, BlockError> {
        let mut at = Bytes(value);
        let version = at.u8()?;
        if version != VERSION {
            return Err(BlockError::Version(version));
        }
        let mut span = Self::new(at.u64()?, at.u64()?.cast_signed());
        span.counts = Counts::decode(&mut at)?;
        let resolved = span.counts.total();
        if resolved > span.count || span.count == 0 {
            return Err(BlockError::Inconsistent);
        }
        if resolved > 0 && resolved < span.count {
            if span.count > SPAN_BITS {
                return Err(BlockError::TooLarge(span.count as usize));
            }
            let words = span.count.div_ceil(64);
            let bits: Result<Box<[u64]>, _> = (0..words).map(|_| at.u64()).collect();
            let bits = bits?;
            let set: u64 = bits.iter().map(|w| u64::from(w.count_ones())).sum();
            if set != resolved {
                return Err(BlockError::Inconsistent);
            }
            span.bits = Some(bits);
        }
        Ok(span)
    }
}
