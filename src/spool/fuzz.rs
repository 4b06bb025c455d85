//! Ways in for `fuzz/`: decoders of what lies on disk. Checksums are made right first, so
//! that what lies behind them is reached.

use super::block::{Block, HEADER_BYTES};
use super::dead_letter;
use super::highwater;
use super::meta;
use super::tracker::Tracker;

/// Decodes a block; one that is taken has all the events that it counts.
pub fn block(input: &[u8]) {
    let mut bytes = input.to_vec();
    if let Some((head, body)) = bytes.split_at_mut_checked(HEADER_BYTES)
        && let Some((summed, crc)) = head.split_last_chunk_mut::<4>()
    {
        *crc = crc32c::crc32c_append(crc32c::crc32c(summed), body).to_le_bytes();
    }
    if let Ok(block) = Block::decode(&bytes) {
        assert_eq!(block.events().count(), block.len() as usize);
    }
}

/// Decodes the small records.
pub fn records(input: &[u8]) {
    let Some((first, rest)) = input.split_first_chunk::<8>() else {
        return;
    };
    let first = u64::from_le_bytes(*first) >> 8;
    let middle = rest.len() / 2;
    let (base, span) = rest.split_at(middle);
    let _ = Tracker::load(first, Some(base), std::iter::once((first, span)));
    let _ = Tracker::load(first, None, std::iter::once((first, rest)));
    highwater::fuzz(rest);
    meta::fuzz(rest);
    dead_letter::fuzz(rest);
}
