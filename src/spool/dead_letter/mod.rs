//! The dead-letter store: events that cannot be delivered, kept for a person.
//!
//! A database of its own under `dead/`, opened on first use. A letter is durable before its
//! token exists, and only the token takes the event out of the spool. Nothing here decides
//! what is refused. Space comes back when the last letter is removed. What a letter looks like on
//! disk is in `letter`.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use super::error::DeadLetterError;
use super::quarantine;
use super::shared::{Shared, lock};
use super::store::{PAGE_BYTES, Store, StoreError, Value};
use crate::proof::{DeadLettered, DiskAuthority, Seq, SeqRanges};

mod letter;

pub use letter::DeadLetter;
#[cfg(fuzzing)]
pub(super) use letter::fuzz;
use letter::{decode, encode};

/// Cache of the database: letters are written once and read seldom.
const CACHE_BYTES: u64 = 1024 * 1024;
/// Records read at once.
const CHUNK: usize = 256;
/// [`DeadLetters::list`] stops after this many bytes of events.
const LIST_BYTES: usize = 8 * 1024 * 1024;
/// Longest letter read back: the largest event, and its words.
const LETTER_LIMIT: usize = 17 * 1024 * 1024;

/// Size of the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeadLetterStats {
    /// Letters in the store.
    pub count: u64,
    /// Bytes on disk.
    pub bytes: u64,
}

/// The dead-letter store. Cheap to clone; calls block on the disk.
#[derive(Debug, Clone)]
pub struct DeadLetters {
    shared: Arc<Shared>,
    disk: Arc<DiskAuthority>,
    open: Arc<Mutex<Option<OpenLetters>>>,
}

#[derive(Debug)]
struct OpenLetters {
    store: Store,
    count: u64,
}

impl DeadLetters {
    pub(super) fn new(shared: Arc<Shared>, disk: Arc<DiskAuthority>) -> Self {
        let letters = Self {
            shared,
            disk,
            open: Arc::default(),
        };
        let bytes = std::fs::metadata(letters.dir().join("db")).map_or(0, |meta| meta.len());
        letters.shared.dead_bytes.store(bytes, Ordering::Relaxed);
        letters
    }

    /// Makes `letters` durable, all or none of them, and proves it. `letters` is in
    /// ascending order of `seq` and not empty; of two letters of one event
    /// the later stays.
    ///
    /// # Errors
    /// [`DeadLetterError::Full`] at `spool.dead_letter_max_bytes`; the events then stay in
    /// the spool.
    pub fn put(&self, letters: Vec<DeadLetter>) -> Result<DeadLettered, DeadLetterError> {
        let encoded: Vec<(Seq, Vec<u8>)> = letters
            .iter()
            .map(|letter| (letter.seq, encode(letter)))
            .collect();
        let bytes: u64 = encoded.iter().map(|(_, letter)| letter.len() as u64).sum();
        let limit = self.shared.config.dead_letter_max_bytes;
        let used = self.shared.dead_bytes.load(Ordering::Relaxed);
        if used.saturating_add(bytes) > limit {
            return Err(DeadLetterError::Full { used, limit });
        }
        let mut added = 0;
        self.with_open(|open| {
            for (seq, letter) in &encoded {
                added += u64::from(open.store.record(&key(*seq, 0))?.is_none());
                let mut next = 0;
                for (page, content) in (0u16..).zip(letter.chunks(PAGE_BYTES)) {
                    open.store.put_record(&key(*seq, page), content)?;
                    next = page.saturating_add(1);
                }
                // An earlier letter of the event may have been longer.
                while open.store.record(&key(*seq, next))?.is_some() {
                    open.store.remove_record(&key(*seq, next))?;
                    next = next.saturating_add(1);
                }
            }
            open.store.flush()?;
            open.count += added;
            Ok(())
        })?;
        let mut ranges = SeqRanges::default();
        encoded.iter().for_each(|(seq, _)| ranges.push(*seq));
        Ok(self.disk.dead_lettered(ranges))
    }

    /// Letters from sequence number `from` on, at most `limit` and about 8 MiB of events:
    /// ask again from behind the last one until nothing comes.
    ///
    /// # Errors
    /// When the store does not answer.
    pub fn list(&self, from: Seq, limit: usize) -> Result<Vec<DeadLetter>, DeadLetterError> {
        if self.is_absent() {
            return Ok(Vec::new());
        }
        self.with_open(|open| {
            let mut found = Vec::new();
            let mut bytes = 0;
            let mut gathered: Option<(Seq, Vec<u8>)> = None;
            let mut next = key(from, 0).to_vec();
            'reading: loop {
                let chunk = open.store.records_from(&next, CHUNK)?;
                let is_last = chunk.len() < CHUNK;
                for (record_key, content) in chunk {
                    let Some(seq) = seq_of(&record_key) else {
                        continue;
                    };
                    if gathered.as_ref().is_some_and(|(known, _)| *known != seq) {
                        bytes += finish(gathered.take(), &mut found);
                        if found.len() >= limit || bytes >= LIST_BYTES {
                            break 'reading;
                        }
                    }
                    let letter = gathered.get_or_insert_with(|| (seq, Vec::new()));
                    if letter.1.len() <= LETTER_LIMIT {
                        letter.1.extend_from_slice(&content);
                    }
                    next = record_key.iter().copied().chain([0]).collect();
                }
                if is_last {
                    break;
                }
            }
            finish(gathered, &mut found);
            found.truncate(limit);
            Ok(found)
        })
    }

    /// The letter of `seq`, if there is one.
    ///
    /// # Errors
    /// When the store does not answer.
    pub fn get(&self, seq: Seq) -> Result<Option<DeadLetter>, DeadLetterError> {
        Ok(self
            .list(seq, 1)?
            .into_iter()
            .find(|letter| letter.seq == seq))
    }

    /// Removes letters, durably; returns how many there were.
    ///
    /// # Errors
    /// When the store does not answer.
    pub fn remove(&self, seqs: &[Seq]) -> Result<u64, DeadLetterError> {
        if self.is_absent() {
            return Ok(0);
        }
        let mut removed = 0;
        self.with_open(|open| {
            for &seq in seqs {
                let mut page = 0;
                while open.store.record(&key(seq, page))?.is_some() {
                    open.store.remove_record(&key(seq, page))?;
                    removed += u64::from(page == 0);
                    page += 1;
                }
            }
            open.count = open.count.saturating_sub(removed);
            open.store.flush()
        })?;
        self.delete_when_empty();
        Ok(removed)
    }

    /// How much there is.
    ///
    /// # Errors
    /// When the store does not answer.
    pub fn stats(&self) -> Result<DeadLetterStats, DeadLetterError> {
        if self.is_absent() {
            return Ok(DeadLetterStats::default());
        }
        let count = self.with_open(|open| Ok(open.count))?;
        Ok(DeadLetterStats {
            count,
            bytes: self.shared.dead_bytes.load(Ordering::Relaxed),
        })
    }

    fn dir(&self) -> std::path::PathBuf {
        self.shared.dir.join("dead")
    }

    fn is_absent(&self) -> bool {
        lock(&self.open).is_none() && !self.dir().exists()
    }

    /// Runs `operation` on the open store. After a failure the handle is dropped: sled gives
    /// the same error for ever, and a handle that failed proves nothing.
    fn with_open<T>(
        &self,
        operation: impl FnOnce(&mut OpenLetters) -> Result<T, StoreError>,
    ) -> Result<T, DeadLetterError> {
        let mut slot = lock(&self.open);
        let result = self.opened(&mut slot).and_then(operation);
        match (&result, slot.as_ref()) {
            (Err(_), _) => {
                if let Some(open) = slot.take() {
                    // The failure just reported may well show again at close.
                    let _ = open.store.close();
                }
            }
            (Ok(_), Some(open)) => {
                self.shared
                    .dead_bytes
                    .store(open.store.file_bytes(), Ordering::Relaxed);
            }
            (Ok(_), None) => {}
        }
        result.map_err(|error| DeadLetterError::Store(error.to_string()))
    }

    fn opened<'a>(
        &self,
        slot: &'a mut Option<OpenLetters>,
    ) -> Result<&'a mut OpenLetters, StoreError> {
        if slot.is_none() {
            let opened = match self.open_store() {
                Err(StoreError::Damaged(reason) | StoreError::Panicked(reason)) => {
                    self.put_aside(&reason)?;
                    self.open_store()?
                }
                other => other?,
            };
            *slot = Some(opened);
        }
        slot.as_mut().ok_or(StoreError::Full)
    }

    fn open_store(&self) -> Result<OpenLetters, StoreError> {
        let is_new = !self.dir().exists();
        let store = Store::open(&self.dir(), CACHE_BYTES)?.store;
        if is_new {
            std::fs::File::open(&self.shared.dir)?.sync_all()?;
        }
        let count = store.count_records(|key| key.ends_with(&[0, 0]))?;
        Ok(OpenLetters { store, count })
    }

    /// A store that cannot be read must not keep new letters from being stored, and with them
    /// the partitions of their events.
    fn put_aside(&self, reason: &str) -> Result<(), StoreError> {
        let place = quarantine::set_aside(&self.shared.dir, &self.dir())?;
        let place = place.unwrap_or_default();
        let words = format!("{reason}; it is now {}", place.display());
        self.shared
            .failed("the dead-letter store is damaged and begun anew", &words);
        Ok(())
    }

    fn delete_when_empty(&self) {
        let mut slot = lock(&self.open);
        if slot.as_ref().is_none_or(|open| open.count > 0) {
            return;
        }
        let closed = slot.take().map_or(Ok(()), |open| open.store.close());
        let removed = closed.and_then(|()| Ok(std::fs::remove_dir_all(self.dir())?));
        if let Err(error) = removed {
            self.shared
                .failed("cannot delete the empty dead-letter store", &error);
        }
        self.shared.dead_bytes.store(0, Ordering::Relaxed);
    }

    pub(super) fn close(&self) {
        if let Some(open) = lock(&self.open).take()
            && let Err(error) = open.store.close()
        {
            self.shared
                .failed("cannot close the dead-letter store in order", &error);
        }
    }
}

fn key(seq: Seq, page: u16) -> [u8; 10] {
    let mut key = [0; 10];
    for (to, from) in key
        .iter_mut()
        .zip(seq.to_be_bytes().into_iter().chain(page.to_be_bytes()))
    {
        *to = from;
    }
    key
}

fn seq_of(key: &Value) -> Option<Seq> {
    key.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

/// Ends a letter under construction; returns the bytes of its event.
fn finish(gathered: Option<(Seq, Vec<u8>)>, found: &mut Vec<DeadLetter>) -> usize {
    let Some((seq, encoded)) = gathered else {
        return 0;
    };
    match decode(seq, &encoded) {
        Ok(letter) => {
            let bytes = letter.bytes.len();
            found.push(letter);
            bytes
        }
        Err(error) => {
            tracing::error!(seq, %error, "a dead letter cannot be read");
            0
        }
    }
}
