//! The newest generation: begun, given up for a new one, opened again after a failure.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::{BACKOFF_MAX, Committer};
use crate::proof::Seq;
use crate::spool::block::Builder;
use crate::spool::generations::{Generation, OPEN_BESIDES_NEWEST, OpenGeneration, State};
use crate::spool::meta::{self, Meta};
use crate::spool::quarantine;
use crate::spool::shared::{Shared, lock};
use crate::spool::store::{OpenStore, Store, StoreError};
use crate::spool::tracker::Tracker;

/// Longest wait for a surplus generation to be closed before the next one is begun all the same.
const CLOSING_PATIENCE: Duration = Duration::from_secs(2);

/// A new generation that could not be begun is tried again once the old one has grown by so
/// many bytes.
const RETRY_AFTER: u64 = 1024 * 1024;

impl Committer {
    /// Begins a new generation. When that fails the old one grows on, once nothing is left of
    /// the new one.
    pub(super) fn rotate(&mut self) {
        let first = lock(&self.shared.table).durable;
        if first == self.generation {
            return;
        }
        self.wait_for_closing();
        let usual = self.shared.config.generation_bytes;
        self.rotate_from = usual;
        if let Err(error) = self.begin(first) {
            self.shared.failed("cannot begin a new generation", &error);
            self.leftover = Some(first);
            // What cannot be begun now is not tried again at each commit.
            let grown = self.store.as_deref().map_or(0, Store::file_bytes);
            self.rotate_from = usual.max(grown.saturating_add(RETRY_AFTER));
        }
    }

    /// Removes what a failed rotation left. A start takes the directory of a generation for
    /// the end of the one before, so nothing may be added to that one until it is gone.
    pub(super) fn remove_leftover(&mut self) -> io::Result<()> {
        let Some(first) = self.leftover else {
            return Ok(());
        };
        match fs::remove_dir_all(self.shared.generation_dir(first)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => File::open(&self.shared.dir)?.sync_all()?,
        }
        self.leftover = None;
        Ok(())
    }

    /// Makes the generation that begins at `first` the newest. The checkpoints are written
    /// before: blocks of older generations are never looked through for them.
    fn begin(&mut self, first: Seq) -> Result<(), StoreError> {
        self.remove_leftover()?;
        self.found_checkpoints()?;
        let generation = create(&self.shared, first)?;
        self.adopt(generation);
        Ok(())
    }

    fn found_checkpoints(&mut self) -> io::Result<()> {
        if self.checkpoints.is_in_use() {
            self.write_checkpoints()
        } else {
            Ok(())
        }
    }

    /// Waits until the keeper has closed what earlier rotations left over: each open database
    /// holds memory, and a fast writer must not open them faster than they can be closed.
    fn wait_for_closing(&self) {
        let mut table = lock(&self.shared.table);
        while table.databases_besides_newest() > OPEN_BESIDES_NEWEST && !table.stopping {
            self.shared.changed.notify_all();
            let woken = self.shared.changed.wait_timeout(table, CLOSING_PATIENCE);
            let (guard, waited) = woken.unwrap_or_else(PoisonError::into_inner);
            table = guard;
            if waited.timed_out() {
                return;
            }
        }
    }

    fn adopt(&mut self, generation: Generation) {
        self.generation = generation.first;
        if let State::Open(open) = &generation.state {
            self.store.clone_from(&open.store);
            self.page = open.pages;
        }
        lock(&self.shared.table)
            .generations
            .insert(generation.first, generation);
        self.shared.changed.notify_all();
    }

    /// Drops the handle that failed and opens the newest generation again, cut back to the
    /// last receipt. What is damaged is quarantined and a new generation begun.
    pub(super) fn reopen(&mut self) -> Result<(), StoreError> {
        self.builder = Builder::default();
        self.drop_store()?;
        let dir = self.shared.generation_dir(self.generation);
        let opened = match Store::open(&dir, self.shared.config.cache_bytes) {
            Err(StoreError::Full) => {
                self.shared.reserve.release();
                Store::open(&dir, self.shared.config.cache_bytes)
            }
            other => other,
        };
        match opened {
            Ok(OpenStore { store, pages }) if pages >= self.page => {
                store.clear_pages_from(self.page)?;
                self.shared.watched(|| store.flush())?;
                let store = Arc::new(store);
                self.store = Some(Arc::clone(&store));
                let mut table = lock(&self.shared.table);
                if let Some(newest) = table.newest()
                    && let State::Open(open) = &mut newest.state
                {
                    open.store = Some(store);
                }
                Ok(())
            }
            Ok(OpenStore { store, .. }) => {
                store.close()?;
                self.replace_newest("the log lost its end after a failed write")
            }
            Err(StoreError::Damaged(reason) | StoreError::Panicked(reason)) => {
                self.replace_newest(&reason)
            }
            Err(other) => Err(other),
        }
    }

    fn replace_newest(&mut self, reason: &str) -> Result<(), StoreError> {
        self.found_checkpoints()?;
        quarantine::generation(&self.shared, self.generation, reason)?;
        let first = lock(&self.shared.table).durable;
        let generation = create(&self.shared, first)?;
        self.adopt(generation);
        Ok(())
    }

    /// Lets go of the newest store, everywhere; a hanging reader delays it.
    fn drop_store(&mut self) -> Result<(), StoreError> {
        if let Some(newest) = lock(&self.shared.table).newest()
            && let State::Open(open) = &mut newest.state
        {
            open.store = None;
        }
        let Some(store) = self.store.take() else {
            return Ok(());
        };
        let patience = Instant::now() + BACKOFF_MAX;
        while Arc::strong_count(&store) > 1 && Instant::now() < patience {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        match Arc::into_inner(store) {
            // The failure that brought us here may well show again at close.
            Some(store) => store.close().or(Ok(())),
            None => Ok(()),
        }
    }
}

/// Makes the directory and database of a generation that begins at `first`.
pub(in crate::spool) fn create(shared: &Shared, first: Seq) -> Result<Generation, StoreError> {
    let dir = shared.generation_dir(first);
    let store = Store::open(&dir, shared.config.cache_bytes)?.store;
    if let Err(error) = make_known(shared, &dir, &store) {
        // The failure just met may well show again at close.
        let _ = store.close();
        return Err(error);
    }
    Ok(Generation {
        first,
        end: first,
        file_bytes: store.file_bytes(),
        used: 0,
        unwritten: None,
        state: State::Open(Box::new(OpenGeneration {
            store: Some(Arc::new(store)),
            pages: 0,
            tracker: Tracker::new(first),
            hint: None,
        })),
    })
}

/// Makes a start find the new generation in `dir`, and nothing in it.
fn make_known(shared: &Shared, dir: &Path, store: &Store) -> Result<(), StoreError> {
    meta::write(dir, shared.spool_id, &Meta::Open)?;
    File::open(dir)?.sync_all()?;
    File::open(&shared.dir)?.sync_all()?;
    store.clear_pages_from(0)
}
