//! The file `checkpoints`: the table of checkpoints as of one sequence number.
//!
//! ```text
//!   u32  magic "SPWC"
//!   u32  format version, 1
//!   u64  as of: blocks below this sequence number are in here already
//!   u32  flags; bit 0: a loss is not dealt with yet
//!   u32  number of entries, each  u64 key | u8 1 | u16 length | value
//!   u32  CRC32C of everything before it
//! ```
//!
//! Written to a file beside it, synced and renamed: a crash leaves the old one or the new
//! one. Decides nothing about when.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::block::{BlockError, Bytes, checkpoint_bytes, encode_checkpoint, parse_checkpoint};
use super::checkpoints::{CHECKPOINTS_BYTES_MAX, CheckpointLoss, Checkpoints};
use crate::proof::Seq;

const MAGIC: u32 = u32::from_le_bytes(*b"SPWC");
const VERSION: u32 = 1;
const IS_INCOMPLETE: u32 = 1;
/// Bytes before the entries.
const HEAD_BYTES: usize = 24;
/// A larger file is not ours: twice what a full table takes.
const FILE_MAX: u64 = 2 * CHECKPOINTS_BYTES_MAX as u64;

/// What is to be written.
#[derive(Debug)]
pub(super) struct Saved<'a> {
    pub(super) as_of: Seq,
    pub(super) is_complete: bool,
    pub(super) entries: &'a BTreeMap<u64, Arc<[u8]>>,
}

/// What a start found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// There is none: no input ever kept a checkpoint.
    Nothing,
    /// The table as of this sequence number.
    Table(Seq, Checkpoints),
    /// Something that is not what was written.
    Damaged(BlockError),
}

/// The file's place in a spool directory.
pub(super) fn path(spool: &Path) -> PathBuf {
    spool.join("checkpoints")
}

/// Replaces the file, durably.
pub(super) fn write(path: &Path, saved: &Saved<'_>) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(&encode(saved))?;
    file.sync_all()?;
    drop(file);
    fs::rename(&beside, path)?;
    match path.parent() {
        Some(spool) => File::open(spool)?.sync_all(),
        None => Ok(()),
    }
}

/// Reads the file.
///
/// # Errors
/// When the system does not let it be read; damage is no error.
pub(super) fn read(path: &Path) -> io::Result<Found> {
    match fs::metadata(path) {
        Ok(meta) if meta.len() > FILE_MAX || !meta.is_file() => {
            return Ok(Found::Damaged(BlockError::TooLarge(meta.len() as usize)));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        _ => {}
    }
    let bytes = fs::read(path)?;
    Ok(match parse(&bytes) {
        Ok((as_of, table)) => Found::Table(as_of, table),
        Err(error) => Found::Damaged(error),
    })
}

fn encode(saved: &Saved<'_>) -> Vec<u8> {
    let bytes: usize = saved
        .entries
        .values()
        .map(|value| checkpoint_bytes(value.len()))
        .sum();
    let mut out = Vec::with_capacity(HEAD_BYTES + bytes + 4);
    let flags = if saved.is_complete { 0 } else { IS_INCOMPLETE };
    out.extend_from_slice(&MAGIC.to_le_bytes());
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&saved.as_of.to_le_bytes());
    out.extend_from_slice(&flags.to_le_bytes());
    out.extend_from_slice(&(saved.entries.len() as u32).to_le_bytes());
    for (&key, value) in saved.entries {
        encode_checkpoint(key, Some(value), &mut out);
    }
    out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
    out
}

fn parse(bytes: &[u8]) -> Result<(Seq, Checkpoints), BlockError> {
    let summed = bytes.len().checked_sub(4).ok_or(BlockError::Truncated)?;
    let (summed, crc) = bytes
        .split_at_checked(summed)
        .ok_or(BlockError::Truncated)?;
    let mut at = Bytes(summed);
    if at.u32()? != MAGIC {
        return Err(BlockError::Magic);
    }
    if Bytes(crc).u32()? != crc32c::crc32c(summed) {
        return Err(BlockError::Checksum);
    }
    let version = at.u32()?;
    if version != VERSION {
        return Err(BlockError::Version(version as u8));
    }
    let as_of = at.u64()?;
    let is_complete = at.u32()? & IS_INCOMPLETE == 0;
    let count = at.u32()?;
    let mut table = Checkpoints {
        entries: BTreeMap::new(),
        loss: (!is_complete).then_some(CheckpointLoss::Unsettled),
    };
    for _ in 0..count {
        table.apply(parse_checkpoint(&mut at)?);
    }
    if at.0.is_empty() && table.entries.len() == count as usize {
        Ok((as_of, table))
    } else {
        Err(BlockError::Inconsistent)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entries() -> impl Strategy<Value = BTreeMap<u64, Arc<[u8]>>> {
        let value = prop::collection::vec(any::<u8>(), 0..200).prop_map(Arc::from);
        prop::collection::btree_map(any::<u64>(), value, 0..20)
    }

    proptest! {
        #[test]
        fn a_table_comes_back_as_it_was_written(
            entries in entries(), as_of: u64, is_complete: bool
        ) {
            let saved = Saved { as_of, is_complete, entries: &entries };
            let (found_as_of, found) = parse(&encode(&saved)).unwrap();
            prop_assert_eq!((found_as_of, found.is_complete()), (as_of, is_complete));
            prop_assert_eq!(found.entries, entries);
        }

        #[test]
        fn a_changed_byte_or_a_cut_is_always_noticed(
            entries in entries(), at in any::<prop::sample::Index>(), bit in 0..8u8
        ) {
            let saved = Saved { as_of: 5, is_complete: true, entries: &entries };
            let mut bytes = encode(&saved);
            let at = at.index(bytes.len());
            prop_assert!(parse(&bytes[..at]).is_err());
            bytes[at] ^= 1 << bit;
            prop_assert!(parse(&bytes).is_err());
        }

        #[test]
        fn random_bytes_never_panic_even_with_a_right_checksum(
            mut bytes in prop::collection::vec(any::<u8>(), 0..300)
        ) {
            let _ = parse(&bytes);
            if bytes.len() >= 8 {
                bytes[..8].copy_from_slice(b"SPWC\x01\0\0\0");
            }
            bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
            let _ = parse(&bytes);
        }
    }
}
