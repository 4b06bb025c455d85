//! Gathers framed events into runs: events whose offsets follow from the first one's.
//!
//! Knows offsets and lengths, not how an event was found.

use super::{Framed, RunLimits};
use crate::event::EventBuf;

/// One event, found.
pub(super) struct Found<'a> {
    /// The event as it goes to the spool.
    pub(super) bytes: &'a [u8],
    /// Where it begins in the file.
    pub(super) offset: u64,
    /// Its end was cut off.
    pub(super) is_cut: bool,
    /// The checkpoint behind it.
    pub(super) consumed: u64,
    /// Whether the rest of a cut line follows the checkpoint.
    pub(super) skipping: bool,
}

/// The run being gathered.
#[derive(Debug)]
pub(super) struct Run {
    limits: RunLimits,
    framed: Option<Framed>,
    /// Where the last event ends: its offset and its length.
    end: u64,
}

impl Run {
    pub(super) fn new(limits: RunLimits) -> Self {
        Self {
            limits,
            framed: None,
            end: 0,
        }
    }

    /// Adds an event; a run that it does not fit goes to `out` first.
    pub(super) fn push(&mut self, found: &Found<'_>, out: &mut impl FnMut(Framed)) {
        let fits = self.framed.as_mut().is_some_and(|framed| {
            let gap = found.offset.checked_sub(self.end);
            let gap = gap.and_then(|gap| u8::try_from(gap).ok());
            // The second event tells how far apart they are.
            let gap = gap.filter(|gap| framed.events.len() == 1 || *gap == framed.gap);
            let bytes = framed.events.payload_bytes() + found.bytes.len();
            let room = bytes <= self.limits.bytes && framed.events.len() < self.limits.events;
            match gap {
                Some(gap) if room && !found.is_cut && !framed.is_cut => {
                    framed.gap = gap;
                    true
                }
                _ => false,
            }
        });
        if !fits {
            self.finish(out);
        }
        let framed = self.framed.get_or_insert_with(|| Framed {
            events: EventBuf::default(),
            offset: found.offset,
            gap: 0,
            is_cut: found.is_cut,
            consumed: 0,
            skipping: false,
        });
        framed.events.push(found.bytes);
        framed.consumed = found.consumed;
        framed.skipping = found.skipping;
        self.end = found.offset + found.bytes.len() as u64;
    }

    /// Hands out what there is.
    pub(super) fn finish(&mut self, out: &mut impl FnMut(Framed)) {
        if let Some(framed) = self.framed.take() {
            out(framed);
        }
    }
}
