//! The committer: the one thread that adds events to the spool.
//!
//! Group commit without a timer: while one flush is on its way to the disk, whatever arrives
//! waits in the mailbox and becomes the next commit. One flush per commit, then all receipts.
//! After a failed write or flush no receipt is given from that handle: it is dropped, opened
//! again, cut back to the last receipt, and the same events are written once more.
//!
//! Owns the newest generation's write position. Does not read, remove or route.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::barrier;
use super::block::{BLOCK_TARGET, Block};
use super::builder::Builder;
use super::generations::{Generation, OPEN_BESIDES_NEWEST, OpenGeneration, State};
use super::intake::{Append, Mail, Mailbox};
use super::page;
use super::quarantine;
use super::quota::FullReason;
use super::shared::{Shared, lock};
use super::store::{OpenStore, Store, StoreError};
use super::tracker::Tracker;
use crate::proof::{DiskAuthority, Seq, SeqRange};

/// Most bytes of events in one commit: bounds the time to the first receipt.
const COMMIT_LIMIT: usize = 1024 * 1024;
/// First pause after a failed commit, doubled up to the second.
const BACKOFF: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// Space wanted above the reserve before a failed commit is tried again: its pages, the
/// snapshot sled writes when it opens, and the block tables of the file system.
const COMMIT_ROOM: u64 = 2 * COMMIT_LIMIT as u64;
/// Longest wait for a surplus generation to be closed before the next one is begun all the same.
const CLOSING_PATIENCE: Duration = Duration::from_secs(2);
/// Space is measured after this many stored bytes.
const QUOTA_EVERY: u64 = 1024 * 1024;

/// State of the thread.
#[derive(Debug)]
pub(super) struct Committer {
    shared: Arc<Shared>,
    mailbox: Arc<Mailbox>,
    disk: Arc<DiskAuthority>,
    store: Option<Arc<Store>>,
    /// First event of the newest generation.
    generation: Seq,
    /// The next page of the newest generation.
    page: u32,
    builder: Builder,
    stored: Vec<u8>,
    since_quota: u64,
}

/// Blocks written and not yet flushed, and where the next one goes.
struct Written {
    blocks: Vec<Block>,
    page: u32,
    end: Seq,
    stored_bytes: u64,
}

impl Committer {
    pub(super) fn new(
        shared: Arc<Shared>,
        mailbox: Arc<Mailbox>,
        disk: Arc<DiskAuthority>,
    ) -> Self {
        let mut committer = Self {
            shared,
            mailbox,
            disk,
            store: None,
            generation: 0,
            page: 0,
            builder: Builder::default(),
            stored: Vec::new(),
            since_quota: 0,
        };
        if let Some(newest) = lock(&committer.shared.table).newest()
            && let State::Open(open) = &newest.state
        {
            committer.store.clone_from(&open.store);
            committer.page = open.pages;
            committer.generation = newest.first;
        }
        committer
    }

    /// Commits until the mailbox is closed and empty.
    pub(super) fn run(mut self) {
        loop {
            let began = Instant::now();
            match self.mailbox.receive(COMMIT_LIMIT) {
                Mail::Closed => return,
                Mail::Rotate => self.rotate(),
                Mail::Reopen => {
                    if !self.reopen_somehow() {
                        return;
                    }
                }
                Mail::Appends(appends) => {
                    if !self.commit_somehow(appends) {
                        return;
                    }
                    let interval = self.shared.config.commit_interval;
                    if !interval.is_zero() {
                        // False only when a stop is overdue; what is queued is then given up.
                        self.mailbox.pause(interval.saturating_sub(began.elapsed()));
                    }
                }
            }
        }
    }

    /// Commits `appends`, however long it takes; false when a stop came first.
    fn commit_somehow(&mut self, appends: Vec<Append>) -> bool {
        loop {
            match self
                .write(&appends)
                .and_then(|written| self.flush().map(|()| written))
            {
                Ok(written) => {
                    self.publish(appends, written);
                    return true;
                }
                Err(error) => self.shared.failed("commit failed", &error),
            }
            self.shared.set_full(Some(FullReason::WriteFailed));
            if !self.reopen_somehow() {
                return false;
            }
        }
    }

    /// Opens the newest store again and waits until there is room to write; false when a
    /// stop came first.
    fn reopen_somehow(&mut self) -> bool {
        let mut backoff = BACKOFF;
        let mut is_open = false;
        loop {
            if !is_open {
                match self.reopen() {
                    Ok(()) => {
                        is_open = true;
                        self.shared.wake_readers();
                    }
                    Err(error) => self
                        .shared
                        .failed("cannot open the newest generation", &error),
                }
            }
            if !self.mailbox.pause(backoff) {
                return false;
            }
            // The reserve is for reading and deleting, not for more events.
            if is_open && self.shared.free_bytes() >= self.shared.reserve.bytes() + COMMIT_ROOM {
                return true;
            }
            // A newest generation that is drained holds the space that is waited for.
            let mut table = lock(&self.shared.table);
            let is_drained = table.newest().is_some_and(|newest| newest.is_resolved());
            drop(table);
            if is_open && is_drained {
                self.rotate();
            }
            backoff = (2 * backoff).min(BACKOFF_MAX);
        }
    }

    /// Packs the events into blocks and writes these, without a flush.
    fn write(&mut self, appends: &[Append]) -> Result<Written, StoreError> {
        let first = lock(&self.shared.table).durable;
        let mut written = Written {
            blocks: Vec::new(),
            page: self.page,
            end: first,
            stored_bytes: 0,
        };
        for append in appends {
            let mut index = 0;
            while index < append.events.len() {
                let before = index;
                index = self
                    .builder
                    .push(&append.events, index, &append.source, append.received);
                if index == before || self.builder.is_full() {
                    self.write_block(&mut written)?;
                }
            }
        }
        self.write_block(&mut written)?;
        Ok(written)
    }

    fn write_block(&mut self, written: &mut Written) -> Result<(), StoreError> {
        self.stored.clear();
        let codec = self.shared.config.compression;
        let Some(block) = self.builder.finish(written.end, codec, &mut self.stored) else {
            return Ok(());
        };
        let store = self.store.as_deref().ok_or(StoreError::Full)?;
        let pages = page::cut(&self.stored, block.first());
        for value in pages {
            store.put_page(written.page, &value)?;
            written.page += 1;
        }
        written.stored_bytes += self.stored.len() as u64;
        written.end = block.end();
        written.blocks.push(block);
        // One huge event must not keep its memory for ever.
        if self.stored.capacity() > 4 * BLOCK_TARGET {
            self.stored = Vec::new();
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), StoreError> {
        let store = self.store.as_deref().ok_or(StoreError::Full)?;
        let calls = barrier::calls();
        let began = Instant::now();
        self.shared.watched(|| store.flush())?;
        if barrier::calls() == calls {
            return Err(StoreError::BarrierInactive);
        }
        let mut meters = lock(&self.shared.meters);
        meters.flush.add(began.elapsed());
        meters.commits += 1;
        Ok(())
    }

    /// Everything is on disk: shows the blocks to the cursor and gives the receipts.
    fn publish(&mut self, appends: Vec<Append>, written: Written) {
        self.page = written.page;
        let file_bytes = self.store.as_deref().map_or(0, Store::file_bytes);
        let (mut seq, keeper_sleeps) = {
            let mut table = lock(&self.shared.table);
            let first = table.durable;
            table.next = written.end;
            table.durable = written.end;
            if let Some(newest) = table.newest() {
                newest.end = written.end;
                newest.file_bytes = file_bytes;
                if let State::Open(open) = &mut newest.state {
                    open.pages = written.page;
                }
            }
            (first, table.keeper_sleeps)
        };
        let mut receipts = Vec::with_capacity(appends.len());
        let mut payload = 0;
        {
            let mut deliveries = lock(&self.shared.deliveries);
            for append in appends {
                let range = SeqRange {
                    first: seq,
                    count: append.events.len() as u32,
                };
                payload += append.events.payload_bytes() as u64;
                seq = range.end();
                if let Some(done) = append.delivery {
                    deliveries.expect(range, done);
                }
                receipts.push((append.receipt, range));
            }
        }
        {
            let mut meters = lock(&self.shared.meters);
            meters.payload_bytes += payload;
            meters.stored_bytes += written.stored_bytes;
        }
        {
            let mut hand = lock(&self.shared.hand);
            for block in written.blocks {
                hand.push(Arc::new(block));
            }
        }
        self.shared.durable.store(written.end, Ordering::Release);
        for (receipt, range) in receipts {
            // The writer may have gone; its events are durable all the same.
            let _ = receipt.send(self.disk.receipt(range));
        }
        self.shared.wake_readers();
        if keeper_sleeps {
            self.shared.changed.notify_all();
        }
        self.after_commit(written.stored_bytes, file_bytes);
    }

    fn after_commit(&mut self, stored_bytes: u64, file_bytes: u64) {
        self.since_quota += stored_bytes;
        let was_full = *self.shared.full.borrow();
        if was_full == Some(FullReason::WriteFailed) {
            self.shared.set_full(None);
        }
        if self.since_quota >= QUOTA_EVERY || was_full.is_some() {
            self.since_quota = 0;
            self.shared.check_quota();
            if self.store.as_deref().is_some_and(Store::has_blobs) {
                self.shared
                    .failed("store check", &"sled made a blob, which it never syncs");
            }
        }
        if file_bytes >= self.shared.config.generation_bytes {
            self.rotate();
        }
    }

    /// Begins a new generation. When that fails the old one simply grows on.
    fn rotate(&mut self) {
        let first = lock(&self.shared.table).durable;
        if first == self.generation {
            return;
        }
        self.wait_for_closing();
        match create(&self.shared, first) {
            Ok(generation) => self.adopt(generation),
            Err(error) => self.shared.failed("cannot begin a new generation", &error),
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
    fn reopen(&mut self) -> Result<(), StoreError> {
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
pub(super) fn create(shared: &Shared, first: Seq) -> Result<Generation, StoreError> {
    let dir = shared.generation_dir(first);
    let opened = Store::open(&dir, shared.config.cache_bytes)?;
    super::meta::write(&dir, shared.spool_id, &super::meta::Meta::Open)?;
    std::fs::File::open(&dir)?.sync_all()?;
    std::fs::File::open(&shared.dir)?.sync_all()?;
    opened.store.clear_pages_from(0)?;
    Ok(Generation {
        first,
        end: first,
        file_bytes: opened.store.file_bytes(),
        used: 0,
        state: State::Open(Box::new(OpenGeneration {
            store: Some(Arc::new(opened.store)),
            pages: 0,
            tracker: Tracker::new(first),
            hint: None,
        })),
    })
}
