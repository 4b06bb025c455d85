//! One sled database, behind the few operations the spool needs. The only file naming sled.
//!
//! sled 0.34.7 is used with four guards, because without them it loses or wedges:
//! its flush is made real by [`super::barrier`]; no value is larger than [`PAGE_BYTES`], so
//! it never makes a blob; leftovers of a failed start (`snap.*.generating`) are removed
//! before it opens, and every call runs under a panic guard; databases stay small and are
//! deleted whole. sled 1.0 is a rewrite without a log and is no way out.
//!
//! Pages are written once, into slots. A slot is a key that was inserted empty, well ahead
//! of its use: sled splits a leaf above 16 keys and rewrites it after 10 changes, and both
//! then happen to leaves of empty slots. Filling eight slots of such a leaf is eight appends
//! to the log and nothing else. Appending to the right edge instead would write each value
//! about three times. As nothing in the log dies, there is no garbage to collect, so sled's
//! flusher thread, which would sync even when idle, is off.

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Largest value. A leaf holds at most 17 of them and stays below sled's blob limit of
/// a quarter of a 512 KiB segment.
pub(super) const PAGE_BYTES: usize = 6000;
/// Slots made ahead of the next page: more than the 17 keys of a leaf that is yet to split.
const SLOTS_AHEAD: u32 = 48;
/// How long an open waits for the lock of a handle that is just going away.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
/// Pause between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    /// No space left on the device, or a quota is reached.
    #[error("no space left for the spool")]
    Full,
    /// The system refused a read, write or sync.
    #[error("{0}")]
    Io(io::Error),
    /// What is on disk cannot be what was written.
    #[error("damaged: {0}")]
    Damaged(String),
    /// A value over [`PAGE_BYTES`]: sled would make a blob of it.
    #[error("value of {0} bytes is over the page limit")]
    TooLarge(usize),
    /// sled gave up.
    #[error("store panicked: {0}")]
    Panicked(String),
    /// The store has ended.
    #[error("the store is closed")]
    Closed,
    /// A flush did not reach `fdatasync`.
    #[error("flush does not reach fdatasync")]
    BarrierInactive,
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ENOSPC | libc::EDQUOT) => Self::Full,
            _ if error.kind() == io::ErrorKind::StorageFull => Self::Full,
            _ => Self::Io(error),
        }
    }
}

impl From<sled::Error> for StoreError {
    fn from(error: sled::Error) -> Self {
        match error {
            sled::Error::Io(error) => error.into(),
            other => Self::Damaged(other.to_string()),
        }
    }
}

/// A value as sled holds it.
#[derive(Debug, Clone)]
pub(super) struct Value(sled::IVec);

impl std::ops::Deref for Value {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// An open database: numbered pages, and small records by key. However it ends, in
/// [`Store::close`] or not, a panic of sled's last sync ends with it.
#[derive(Debug)]
pub(super) struct Store {
    /// `None` only at its end.
    open: Option<Handles>,
    slots: AtomicU32,
    dir: PathBuf,
}

/// What sled gives for one database.
#[derive(Debug)]
struct Handles {
    db: sled::Db,
    pages: sled::Tree,
    records: sled::Tree,
}

/// What [`Store::open`] found.
#[derive(Debug)]
pub(super) struct OpenStore {
    pub(super) store: Store,
    /// Number of pages: one past the last slot that holds something.
    pub(super) pages: u32,
}

impl Store {
    /// Opens or makes the database in `dir`. Blocks; reads the whole log after a crash.
    pub(super) fn open(dir: &Path, cache_bytes: u64) -> Result<OpenStore, StoreError> {
        let fresh = !dir.join("db").exists();
        fs::create_dir_all(dir)?;
        remove_leftovers(dir)?;
        let path = dir.to_owned();
        // sled's recovery recurses and panics on damage; its own thread keeps both away.
        let opener = std::thread::Builder::new()
            .name("spool-open".into())
            .spawn(move || guarded(|| open_patiently(&path, cache_bytes)))?;
        let opened = opener
            .join()
            .unwrap_or_else(|_| Err(StoreError::Panicked("open".into())))?;
        if fresh {
            opened.store.flush()?;
            for name in ["conf", "db", "blobs"] {
                File::open(dir.join(name))?.sync_all()?;
            }
            File::open(dir)?.sync_all()?;
        }
        Ok(opened)
    }

    /// The content of page `index`; `None` for an empty slot or none at all.
    pub(super) fn page(&self, index: u32) -> Result<Option<Value>, StoreError> {
        let value = guarded(|| Ok(self.sled()?.pages.get(index.to_be_bytes())?))?;
        Ok(value.filter(|v| !v.is_empty()).map(Value))
    }

    /// Writes page `index`. Durable after the next [`Store::flush`].
    pub(super) fn put_page(&self, index: u32, value: &[u8]) -> Result<(), StoreError> {
        if value.len() > PAGE_BYTES {
            return Err(StoreError::TooLarge(value.len()));
        }
        guarded(|| {
            let pages = &self.sled()?.pages;
            let ahead = index.saturating_add(SLOTS_AHEAD);
            let slots = self.slots.load(Ordering::Relaxed);
            if slots < index.saturating_add(SLOTS_AHEAD / 2) {
                for slot in slots..ahead {
                    pages.insert(slot.to_be_bytes(), &[])?;
                }
                self.slots.store(ahead, Ordering::Relaxed);
            }
            pages.insert(index.to_be_bytes(), value)?;
            Ok(())
        })
    }

    /// Empties the pages from `index` on, as far as they hold anything.
    pub(super) fn clear_pages_from(&self, index: u32) -> Result<(), StoreError> {
        guarded(|| {
            let pages = &self.sled()?.pages;
            for entry in pages.range(index.to_be_bytes()..) {
                let (key, value) = entry?;
                if !value.is_empty() {
                    pages.insert(key, &[])?;
                }
            }
            Ok(())
        })
    }

    /// A small record by its key.
    pub(super) fn record(&self, key: &[u8]) -> Result<Option<Value>, StoreError> {
        guarded(|| Ok(self.sled()?.records.get(key)?.map(Value)))
    }

    /// Writes a record. Durable after the next [`Store::flush`].
    pub(super) fn put_record(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        if value.len() > PAGE_BYTES {
            return Err(StoreError::TooLarge(value.len()));
        }
        guarded(|| Ok(self.sled()?.records.insert(key, value).map(drop)?))
    }

    /// Removes a record.
    pub(super) fn remove_record(&self, key: &[u8]) -> Result<(), StoreError> {
        guarded(|| Ok(self.sled()?.records.remove(key).map(drop)?))
    }

    /// The records from `from` on, in key order, at most `limit`.
    pub(super) fn records_from(
        &self,
        from: &[u8],
        limit: usize,
    ) -> Result<Vec<(Value, Value)>, StoreError> {
        guarded(|| {
            let found = self.sled()?.records.range(from..).take(limit);
            found
                .map(|e| e.map(|(k, v)| (Value(k), Value(v))).map_err(Into::into))
                .collect()
        })
    }

    /// Number of records whose key passes `test`. Reads every record.
    pub(super) fn count_records(&self, test: impl Fn(&[u8]) -> bool) -> Result<u64, StoreError> {
        guarded(|| {
            let mut count = 0;
            for entry in &self.sled()?.records {
                count += u64::from(test(&entry?.0));
            }
            Ok(count)
        })
    }

    /// Makes everything written before this call durable.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        guarded(|| Ok(self.sled()?.db.flush().map(drop)?))
    }

    /// Bytes the log file takes on disk.
    pub(super) fn file_bytes(&self) -> u64 {
        fs::metadata(self.dir.join("db")).map_or(0, |meta| meta.len())
    }

    /// Whether sled made a blob, which it never syncs. Must stay false.
    pub(super) fn has_blobs(&self) -> bool {
        fs::read_dir(self.dir.join("blobs")).is_ok_and(|mut entries| entries.next().is_some())
    }

    /// Closes the database, and tells when the last sync failed.
    pub(super) fn close(mut self) -> Result<(), StoreError> {
        self.end()
    }

    fn sled(&self) -> Result<&Handles, StoreError> {
        self.open.as_ref().ok_or(StoreError::Closed)
    }

    /// Lets go of sled, which panics when its last sync fails.
    fn end(&mut self) -> Result<(), StoreError> {
        let open = self.open.take();
        guarded(|| {
            drop(open);
            Ok(())
        })
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::error!(%error, dir = %self.dir.display(), "a database did not end in order");
        }
    }
}

/// Runs `operation`, turning a panic into an error.
fn guarded<T>(operation: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(operation)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no reason given");
        Err(StoreError::Panicked(text.to_owned()))
    })
}

/// Removes half-written snapshots: sled takes them for whole ones and refuses for ever.
fn remove_leftovers(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn open_patiently(dir: &Path, cache_bytes: u64) -> Result<OpenStore, StoreError> {
    let config = sled::Config::new()
        .path(dir)
        .cache_capacity(cache_bytes)
        .flush_every_ms(None)
        .print_profile_on_drop(false);
    let start = Instant::now();
    let db = loop {
        match config.open() {
            Err(sled::Error::Io(error))
                if error.to_string().contains("lock") && start.elapsed() < LOCK_PATIENCE =>
            {
                std::thread::park_timeout(LOCK_PAUSE);
            }
            other => break other?,
        }
    };
    let pages = db.open_tree("pages")?;
    let records = db.open_tree("records")?;
    let slots = count_slots(&pages)?;
    let mut used = slots;
    while let Some(last) = used.checked_sub(1) {
        let page = pages.get(last.to_be_bytes())?;
        if page.is_some_and(|page| !page.is_empty()) {
            break;
        }
        used = last;
    }
    let open = Handles { db, pages, records };
    let store = Store {
        open: Some(open),
        slots: AtomicU32::new(slots),
        dir: dir.to_owned(),
    };
    Ok(OpenStore { store, pages: used })
}

/// One past the last slot, by halving. sled's own way back from the end would bring a
/// constant of 1 MiB into the binary.
fn count_slots(pages: &sled::Tree) -> Result<u32, StoreError> {
    let (mut low, mut high) = (0, u32::MAX);
    while low < high {
        let middle = low + (high - low) / 2;
        match pages.range(middle.to_be_bytes()..).next() {
            Some(entry) => {
                let slot = slot_of(&entry?.0).unwrap_or(middle);
                low = slot.saturating_add(1);
            }
            None => high = middle,
        }
    }
    Ok(low)
}

fn slot_of(key: &[u8]) -> Option<u32> {
    key.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_slot_is_found_whatever_is_missing_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let db = sled::open(dir.path()).unwrap();
        assert_eq!(count_slots(&db).unwrap(), 0);
        for slot in [0_u32, 1, 2, 7, 1000, 70_000] {
            db.insert(slot.to_be_bytes(), b"").unwrap();
            assert_eq!(count_slots(&db).unwrap(), slot + 1);
        }
        db.remove(70_000_u32.to_be_bytes()).unwrap();
        assert_eq!(count_slots(&db).unwrap(), 1001);
    }

    /// A store whose next sync fails, all of it written before.
    fn failing(dir: &Path) -> Store {
        let store = Store::open(dir, 1 << 20).unwrap().store;
        store.put_record(b"key", b"value").unwrap();
        store.flush().unwrap();
        let log = dir.join("db").canonicalize().unwrap();
        let descriptors = fs::read_dir("/proc/self/fd").unwrap();
        let of_log = descriptors
            .map(|entry| entry.unwrap().path())
            .find(|link| fs::read_link(link).is_ok_and(|path| path == log));
        let number = of_log.unwrap().file_name().unwrap().to_owned();
        crate::spool::barrier::fail_syncs(number.to_str().unwrap().parse().unwrap());
        store
    }

    #[test]
    fn a_last_sync_that_fails_does_not_end_the_thread_that_lets_go() {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [closed, dropped] = dirs.each_ref().map(|dir| failing(dir.path()));
        let error = closed.close().unwrap_err();
        assert!(matches!(error, StoreError::Panicked(_)), "{error}");
        assert!(catch_unwind(AssertUnwindSafe(|| drop(dropped))).is_ok());
    }
}
