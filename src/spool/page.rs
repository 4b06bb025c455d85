//! Pages: how a block is cut to values that the store takes, and put together again.
//!
//! Each page begins with the first sequence number of its block (u64) and its own number
//! within the block (u16), both little endian, so that any page tells where its block
//! starts and a block is found by bisection. Pure, but for reading through the store.

use super::block::{Block, BlockError, Bytes, HEADER_BYTES, Header};
use super::store::{PAGE_BYTES, Store, StoreError, Value};
use crate::proof::Seq;

/// Bytes before the content of a page.
const PREFIX: usize = 10;
/// Bytes of a block in one page.
const CONTENT: usize = PAGE_BYTES - PREFIX;
/// Most bytes that [`Reader::raw`] gathers: more than the largest block has.
const RAW_LIMIT: usize = 32 * 1024 * 1024;

/// The pages of a stored block, in order.
pub(super) fn cut(stored: &[u8], first: Seq) -> impl Iterator<Item = Vec<u8>> + '_ {
    stored
        .chunks(CONTENT)
        .zip(0u16..)
        .map(move |(content, number)| {
            let mut value = Vec::with_capacity(PREFIX + content.len());
            value.extend_from_slice(&first.to_le_bytes());
            value.extend_from_slice(&number.to_le_bytes());
            value.extend_from_slice(content);
            value
        })
}

fn parse(value: &[u8]) -> Result<(Seq, u16, &[u8]), BlockError> {
    let mut at = Bytes(value);
    Ok((at.u64()?, at.u16()?, at.0))
}

/// What lies at a place in a generation.
#[derive(Debug)]
pub(super) enum Found {
    /// The block that holds the event, the page after it.
    Block(Block, u32),
    /// Nothing readable holds it; the next block starts at this event, if there is one.
    Damaged(String, Option<Seq>),
}

/// Reads blocks from the first `pages` pages of a store.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub(super) store: &'a Store,
    pub(super) pages: u32,
    /// Whether a page the disk refuses counts as damaged instead of as an error.
    pub(super) forgiving: bool,
}

impl Reader<'_> {
    /// Finds and reads the block that holds `seq`. `hint` is the page at which it is expected
    /// to start.
    pub(super) fn read(&self, seq: Seq, hint: Option<u32>) -> Result<Found, StoreError> {
        let start = match hint {
            Some(page) => Some(page),
            None => self.locate(seq)?,
        };
        let Some(start) = start else {
            let next = self.next_start(0, seq)?;
            return Ok(Found::Damaged("no block at its place".into(), next));
        };
        let (header, stored) = match self.gather(start)? {
            Ok(found) => found,
            Err(error) => {
                let next = self.next_start(start.saturating_add(1), seq)?;
                return Ok(Found::Damaged(error.to_string(), next));
            }
        };
        let after = start + page_count(&header);
        if seq < header.first || seq >= header.end() {
            if hint.is_some() {
                return self.read(seq, None);
            }
            let next = self.next_start(after, seq)?;
            return Ok(Found::Damaged("missing between two blocks".into(), next));
        }
        match Block::decode(&stored) {
            Ok(block) => Ok(Found::Block(block, after)),
            Err(error) => {
                let next = self.next_start(start.saturating_add(1), seq)?;
                Ok(Found::Damaged(error.to_string(), next))
            }
        }
    }

    /// The pages from the block that holds `first` to the one that begins at `end`, each with
    /// its number, as far as they can be read at all.
    pub(super) fn raw(&self, first: Seq, end: Seq) -> Result<Vec<(u32, Value)>, StoreError> {
        let mut found = Vec::new();
        let mut bytes = 0;
        for index in self.locate(first)?.unwrap_or(0)..self.pages {
            let Some(value) = self.page(index)? else {
                continue;
            };
            let is_behind = parse(&value).is_ok_and(|(block, _, _)| block >= end);
            if is_behind || bytes >= RAW_LIMIT {
                break;
            }
            bytes += value.len();
            found.push((index, value));
        }
        Ok(found)
    }

    /// The end of the last whole block, and the page after it.
    pub(super) fn last_block(&self) -> Result<Option<(Seq, u32)>, StoreError> {
        let mut end = self.pages;
        while let Some(last) = end.checked_sub(1) {
            let Some((_, number)) = self.place(last)? else {
                end = last;
                continue;
            };
            let Some(start) = last.checked_sub(u32::from(number)) else {
                return Ok(None);
            };
            if let Ok((header, stored)) = self.gather(start)?
                && start + page_count(&header) == end
                && Block::decode(&stored).is_ok()
            {
                return Ok(Some((header.end(), end)));
            }
            end = start;
        }
        Ok(None)
    }

    /// The content of page `index`; `None` when there is none or it cannot be read.
    fn page(&self, index: u32) -> Result<Option<Value>, StoreError> {
        if index >= self.pages {
            return Ok(None);
        }
        match self.store.page(index) {
            Err(StoreError::Damaged(_) | StoreError::Panicked(_)) => Ok(None),
            Err(StoreError::Io(_)) if self.forgiving => Ok(None),
            other => other,
        }
    }

    /// Sequence number and page number at page `index`; `None` when it cannot be read.
    fn place(&self, index: u32) -> Result<Option<(Seq, u16)>, StoreError> {
        let value = self.page(index)?;
        let parsed =
            value.and_then(|value| parse(&value).ok().map(|(first, number, _)| (first, number)));
        Ok(parsed)
    }

    /// The page at which the last block starts whose first event is at most `seq`.
    fn locate(&self, seq: Seq) -> Result<Option<u32>, StoreError> {
        let (mut low, mut high) = (0, self.pages);
        let mut best = None;
        while low < high {
            let middle = low + (high - low) / 2;
            // A page that cannot be read tells nothing: look at those after it.
            let mut probe = middle;
            let mut found = None;
            while probe < high && found.is_none() {
                found = self.place(probe)?;
                probe += 1;
            }
            match found {
                Some((first, number)) if first <= seq => {
                    best = (probe - 1).checked_sub(u32::from(number));
                    low = probe;
                }
                _ => high = middle,
            }
        }
        Ok(best)
    }

    /// First event of the first block that starts at or after page `from`, above `seq`.
    fn next_start(&self, from: u32, seq: Seq) -> Result<Option<Seq>, StoreError> {
        for index in from..self.pages {
            if let Some((first, 0)) = self.place(index)?
                && first > seq
            {
                return Ok(Some(first));
            }
        }
        Ok(None)
    }

    /// Puts the block that starts at page `start` together.
    fn gather(&self, start: u32) -> Result<Result<(Header, Vec<u8>), BlockError>, StoreError> {
        let Some(value) = self.page(start)? else {
            return Ok(Err(BlockError::Truncated));
        };
        let head = match parse(&value).and_then(|(_, _, content)| Header::parse(content)) {
            Ok(head) => head,
            Err(error) => return Ok(Err(error)),
        };
        let mut stored = Vec::with_capacity(HEADER_BYTES + head.stored_len);
        for number in 0..page_count(&head) {
            let Some(value) = self.page(start.saturating_add(number))? else {
                return Ok(Err(BlockError::Truncated));
            };
            match parse(&value) {
                Ok((first, page, content)) if first == head.first && u32::from(page) == number => {
                    stored.extend_from_slice(content);
                }
                Ok(_) => return Ok(Err(BlockError::Inconsistent)),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok((head, stored)))
    }
}

fn page_count(header: &Header) -> u32 {
    (HEADER_BYTES + header.stored_len).div_ceil(CONTENT) as u32
}
