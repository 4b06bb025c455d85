//! The high-water file: how far the spool had come, told from outside the store.
//!
//! sled answers a damaged log by silently forgetting its end. This file is what makes that
//! noticed: after every start the end of the log is compared with it. It also holds the
//! spool's identity and the totals of generations whose directories are gone.
//!
//! Two slots in separate file-system blocks are written by turns, so a torn write leaves the
//! other one. The file never grows, so writing it works on a full disk.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::block::{BlockError, Bytes};
use super::ledger::Counts;
use crate::proof::Seq;

/// Distance between the slots.
const SLOT_STRIDE: u64 = 4096;
/// Bytes of a slot: magic, version, turn, spool id, end, folded counts, checksum.
const SLOT_BYTES: usize = 80;
const MAGIC: u32 = u32::from_le_bytes(*b"SPWH");

/// What the file says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// Random, made once per spool.
    pub(super) spool_id: u64,
    /// One past the highest sequence number that was durable when this was written.
    pub(super) end: Seq,
    /// How the events of deleted generations ended.
    pub(super) folded: Counts,
}

/// The open file.
#[derive(Debug)]
pub(super) struct HighWater {
    file: File,
    turn: u64,
}

impl HighWater {
    /// Opens or makes the file; the mark is `None` when neither slot is whole.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Option<Mark>)> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let newest = [0, SLOT_STRIDE]
            .into_iter()
            .filter_map(|at| {
                let mut slot = [0; SLOT_BYTES];
                file.read_exact_at(&mut slot, at).ok()?;
                parse(&slot).ok()?
            })
            .max_by_key(|(turn, _)| *turn);
        let turn = newest.map_or(0, |(turn, _)| turn);
        Ok((Self { file, turn }, newest.map(|(_, mark)| mark)))
    }

    /// Writes `mark` to the older slot and syncs it.
    pub(super) fn write(&mut self, mark: &Mark) -> io::Result<()> {
        let turn = self.turn + 1;
        let mut slot = Vec::with_capacity(SLOT_BYTES);
        slot.extend_from_slice(&MAGIC.to_le_bytes());
        slot.extend_from_slice(&1u32.to_le_bytes());
        for number in [turn, mark.spool_id, mark.end] {
            slot.extend_from_slice(&number.to_le_bytes());
        }
        mark.folded.encode(&mut slot);
        slot.resize(SLOT_BYTES - 4, 0);
        slot.extend_from_slice(&crc32c::crc32c(&slot).to_le_bytes());
        self.file.write_all_at(&slot, (turn % 2) * SLOT_STRIDE)?;
        self.file.sync_data()?;
        self.turn = turn;
        Ok(())
    }
}

/// `Ok(None)` for a slot that was never written or is torn.
fn parse(slot: &[u8; SLOT_BYTES]) -> Result<Option<(u64, Mark)>, BlockError> {
    let mut at = Bytes(slot);
    let summed = at.take(SLOT_BYTES - 4)?;
    let whole = at.u32()? == crc32c::crc32c(summed);
    let mut at = Bytes(summed);
    if !whole || at.u32()? != MAGIC || at.u32()? != 1 {
        return Ok(None);
    }
    let turn = at.u64()?;
    let mark = Mark {
        spool_id: at.u64()?,
        end: at.u64()?,
        folded: Counts::decode(&mut at)?,
    };
    Ok(Some((turn, mark)))
}

/// Way in for `fuzz/`: a record with the right checksum.
#[cfg(fuzzing)]
pub(super) fn fuzz(input: &[u8]) {
    let mut bytes = [0; SLOT_BYTES];
    for (to, from) in bytes.iter_mut().zip(input) {
        *to = *from;
    }
    if let Some((summed, crc)) = bytes.split_last_chunk_mut::<4>() {
        *crc = crc32c::crc32c(summed).to_le_bytes();
    }
    let _ = parse(&bytes);
}
