//! Pages: how a block is cut to values that the store takes, and put together again.
//!
//! Each page begins with the first sequence number of its block (u64) and its own number
//! within the block (u16), both little endian, so that any page tells where its block
//! starts and a block is found by bisection. Pure, but for reading through the store.

use super::block::{Block, BlockError, Bytes, HEADER_BYTES, Header};
use super::store::{PAGE_BYTES, Store, StoreError};
use crate::proof::Seq;

/// Bytes before the content of a page.
const PREFIX: usize = 10;
/// Bytes of a block in one page.
const CONTENT: usize = PAGE_BYTES - PREFIX;

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

/// Finds and reads the block that holds `seq` in the first `pages` pages of `store`.
/// `hint` is the page at which the block is expected to start.
pub(super) fn read(
    store: &Store,
    pages: u32,
    seq: Seq,
    hint: Option<u32>,
) -> Result<Found, StoreError> {
    let start = match hint {
        Some(page) => Some(page),
        None => locate(store, pages, seq)?,
    };
    let Some(start) = start else {
        return Ok(Found::Damaged(
            "no block at its place".into(),
            next_start(store, 0, pages, seq)?,
        ));
    };
    let (header, stored) = match gather(store, start, pages)? {
        Ok(found) => found,
        Err(error) => {
            let next = next_start(store, start + 1, pages, seq)?;
            return Ok(Found::Damaged(error.to_string(), next));
        }
    };
    let after = start + page_count(&header);
    if seq < header.first || seq >= header.end() {
        if hint.is_some() {
            return read(store, pages, seq, None);
        }
        let next = next_start(store, after, pages, seq)?;
        return Ok(Found::Damaged("missing between two blocks".into(), next));
    }
    match Block::decode(&stored) {
        Ok(block) => Ok(Found::Block(block, after)),
        Err(error) => {
            let next = next_start(store, start + 1, pages, seq)?;
            Ok(Found::Damaged(error.to_string(), next))
        }
    }
}

/// The last whole block within the first `pages` pages, and the page after it.
pub(super) fn last_block(store: &Store, pages: u32) -> Result<Option<(Header, u32)>, StoreError> {
    let mut end = pages;
    while end > 0 {
        let Some((_, number)) = place(store, end - 1)? else {
            end -= 1;
            continue;
        };
        let Some(start) = (end - 1).checked_sub(u32::from(number)) else {
            return Ok(None);
        };
        if let Ok((header, stored)) = gather(store, start, end)?
            && Block::decode(&stored).is_ok()
        {
            return Ok(Some((header, end)));
        }
        end = start;
    }
    Ok(None)
}

/// Sequence number and page number at page `index`; `None` when it cannot be read.
fn place(store: &Store, index: u32) -> Result<Option<(Seq, u16)>, StoreError> {
    match store.page(index) {
        Ok(value) => {
            Ok(value.and_then(|v| parse(&v).ok().map(|(first, number, _)| (first, number))))
        }
        Err(StoreError::Damaged(_) | StoreError::Panicked(_)) => Ok(None),
        Err(other) => Err(other),
    }
}

/// The page at which the last block starts whose first event is at most `seq`.
fn locate(store: &Store, pages: u32, seq: Seq) -> Result<Option<u32>, StoreError> {
    let (mut low, mut high) = (0, pages);
    let mut best = None;
    while low < high {
        let middle = low + (high - low) / 2;
        // A page that cannot be read tells nothing: look at those after it.
        let mut probe = middle;
        let mut found = None;
        while probe < high && found.is_none() {
            found = place(store, probe)?;
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
fn next_start(store: &Store, from: u32, pages: u32, seq: Seq) -> Result<Option<Seq>, StoreError> {
    for index in from..pages {
        if let Some((first, 0)) = place(store, index)?
            && first > seq
        {
            return Ok(Some(first));
        }
    }
    Ok(None)
}

fn page_count(header: &Header) -> u32 {
    (HEADER_BYTES + header.stored_len).div_ceil(CONTENT) as u32
}

/// Puts the block that starts at page `start` together.
fn gather(
    store: &Store,
    start: u32,
    pages: u32,
) -> Result<Result<(Header, Vec<u8>), BlockError>, StoreError> {
    let mut stored = Vec::new();
    let mut header: Option<Header> = None;
    let mut index = start;
    loop {
        let value = match store.page(index) {
            Ok(Some(value)) if index < pages => value,
            Ok(_) | Err(StoreError::Damaged(_) | StoreError::Panicked(_)) => {
                return Ok(Err(BlockError::Truncated));
            }
            Err(other) => return Err(other),
        };
        let parsed = parse(&value).and_then(|(first, number, content)| {
            let head = match header {
                Some(header) => header,
                None => Header::parse(content)?,
            };
            let fits = first == head.first && u32::from(number) == index - start;
            if fits {
                Ok((head, content))
            } else {
                Err(BlockError::Inconsistent)
            }
        });
        match parsed {
            Ok((head, content)) => {
                if header.is_none() {
                    stored.reserve_exact(HEADER_BYTES + head.stored_len);
                    header = Some(head);
                }
                stored.extend_from_slice(content);
                index += 1;
                if index - start == page_count(&head) {
                    return Ok(Ok((head, stored)));
                }
            }
            Err(error) => return Ok(Err(error)),
        }
    }
}
