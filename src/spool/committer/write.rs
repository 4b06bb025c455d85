//! The way of a commit: packed into blocks, written, flushed, and then told to everybody.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::Committer;
use crate::proof::{Seq, SeqRange};
use crate::spool::barrier;
use crate::spool::block::{BLOCK_TARGET, Block};
use crate::spool::generations::State;
use crate::spool::mailbox::Append;
use crate::spool::page;
use crate::spool::quota::FullReason;
use crate::spool::shared::lock;
use crate::spool::store::{Store, StoreError};

/// Space is measured after this many stored bytes.
const QUOTA_EVERY: u64 = 1024 * 1024;

/// Blocks written and not yet flushed, and where the next one goes.
pub(super) struct Written {
    blocks: Vec<Block>,
    page: u32,
    end: Seq,
    stored_bytes: u64,
}

impl Committer {
    /// Writes and flushes `appends`; they are durable afterwards, but nobody knows yet.
    pub(super) fn commit(&mut self, appends: &[Append]) -> Result<Written, StoreError> {
        self.remove_leftover()?;
        let has_checkpoint = appends.iter().any(|append| append.checkpoint.is_some());
        if has_checkpoint && !self.checkpoints.is_founded() {
            self.write_checkpoints()?;
        }
        let written = self.write(appends)?;
        self.flush()?;
        Ok(written)
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
            if append.checkpoint.is_some() && !self.builder.has_room_for(&append.events) {
                self.write_block(&mut written)?;
            }
            let mut index = 0;
            while index < append.events.len() {
                let before = index;
                index = self.builder.push(append.read(), index);
                if index == append.events.len()
                    && let Some(checkpoint) = &append.checkpoint
                {
                    self.builder.carry(checkpoint);
                }
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
    pub(super) fn publish(&mut self, appends: Vec<Append>, written: Written) {
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
                if let Some(checkpoint) = append.checkpoint {
                    self.checkpoints.apply(checkpoint);
                }
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
            meters.checkpoints = self.checkpoints.now().entries.len();
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
        if file_bytes >= self.rotate_from {
            self.rotate();
        }
    }
}
