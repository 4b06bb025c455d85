//! What the spool held when it was opened, and whether the broker has it by now: for inputs
//! that go on where an earlier run was. Knows numbers only, and no event by itself.

use crate::proof::Seq;

/// The spool as the start found it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Past {
    /// One past the last event.
    pub(super) end: Seq,
    /// Events given up by then, of all since the spool was made; `None` when that is not
    /// known, because the high-water file was missing.
    pub(super) given_up: Option<u64>,
}

/// What became of the events that were in the spool when it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// Some of them are still there.
    Waiting,
    /// All have left. With a number the broker has each of them, and until the start so many
    /// events were given up in the life of the spool; without, some may have been given up.
    Settled(Option<u64>),
}

impl Past {
    /// What became of it, when everything before `watermark` has left the spool and so many
    /// events are given up by now.
    pub(super) fn look(&self, watermark: Seq, given_up: u64) -> Before {
        if watermark < self.end {
            return Before::Waiting;
        }
        Before::Settled(self.given_up.filter(|before| *before == given_up))
    }
}
