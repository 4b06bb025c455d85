//! The fixed part of a block, the reader of little-endian numbers, and what can be wrong.
//!
//! Owns no section; the layout is told in [`super`].

use crate::proof::Seq;

/// Bytes of the header.
pub(in crate::spool) const HEADER_BYTES: usize = 32;
/// A block is closed when its events have this many bytes.
pub(in crate::spool) const BLOCK_TARGET: usize = 256 * 1024;
/// Largest body a reader takes memory for: one event of 16 MiB, and its tables.
const BODY_LIMIT: usize = 16 * 1024 * 1024 + 2 * BLOCK_TARGET;
/// Most events of one block, so that its tables stay below [`BODY_LIMIT`].
pub(in crate::spool) const BLOCK_EVENTS: usize = 32 * 1024;
/// Most sources of one block.
pub(super) const BLOCK_SOURCES: usize = 1024;

pub(super) const MAGIC: u32 = u32::from_le_bytes(*b"SPWB");
pub(super) const VERSION: u8 = 1;

/// Why bytes are not a block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::spool) enum BlockError {
    #[error("block is cut short")]
    Truncated,
    #[error("no block starts here")]
    Magic,
    #[error("block version {0} is not known")]
    Version(u8),
    #[error("block codec {0} is not known")]
    Codec(u8),
    #[error("block checksum does not match")]
    Checksum,
    #[error("block body of {0} bytes is over the limit")]
    TooLarge(usize),
    #[error("block body does not decompress")]
    Compression,
    #[error("block section {0} is not known")]
    Section(u16),
    #[error("block tables contradict each other")]
    Inconsistent,
}

/// The fixed part of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::spool) struct Header {
    pub(in crate::spool) first: Seq,
    pub(in crate::spool) count: u32,
    pub(super) codec: u8,
    pub(super) raw_len: usize,
    pub(in crate::spool) stored_len: usize,
    pub(super) crc: u32,
}

impl Header {
    /// Reads the header at the start of `bytes`; the checksum is left to
    /// [`super::Block::decode`].
    pub(in crate::spool) fn parse(bytes: &[u8]) -> Result<Self, BlockError> {
        let mut at = Bytes(bytes);
        if at.u32()? != MAGIC {
            return Err(BlockError::Magic);
        }
        let version = at.u8()?;
        if version != VERSION {
            return Err(BlockError::Version(version));
        }
        let codec = at.u8()?;
        let _flags = at.u16()?;
        let (first, count) = (at.u64()?, at.u32()?);
        let (raw_len, stored_len) = (at.u32()? as usize, at.u32()? as usize);
        let crc = at.u32()?;
        let longest = raw_len.max(stored_len);
        if longest > BODY_LIMIT {
            return Err(BlockError::TooLarge(longest));
        }
        if count == 0 || first == 0 || first.checked_add(u64::from(count)).is_none() {
            return Err(BlockError::Inconsistent);
        }
        Ok(Self {
            first,
            count,
            codec,
            raw_len,
            stored_len,
            crc,
        })
    }

    /// One past the last sequence number.
    pub(in crate::spool) fn end(&self) -> Seq {
        self.first + u64::from(self.count)
    }
}

/// Reads little-endian numbers from the front of a slice.
pub(in crate::spool) struct Bytes<'a>(pub(in crate::spool) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(in crate::spool) fn take(&mut self, len: usize) -> Result<&'a [u8], BlockError> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(BlockError::Truncated)?;
        self.0 = rest;
        Ok(head)
    }

    /// A slice after its length, a u16.
    pub(in crate::spool) fn short(&mut self) -> Result<&'a [u8], BlockError> {
        let len = usize::from(self.u16()?);
        self.take(len)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BlockError> {
        let (head, rest) = self.0.split_first_chunk().ok_or(BlockError::Truncated)?;
        self.0 = rest;
        Ok(*head)
    }

    pub(in crate::spool) fn u8(&mut self) -> Result<u8, BlockError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(in crate::spool) fn u16(&mut self) -> Result<u16, BlockError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(in crate::spool) fn u32(&mut self) -> Result<u32, BlockError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(in crate::spool) fn u64(&mut self) -> Result<u64, BlockError> {
        Ok(u64::from_le_bytes(self.array()?))
    }
}
