//! The turn of a compressed file: one is unpacked at a time, the others wait for it.
//!
//! A file that was followed before it was compressed goes on where it was, and waits as long
//! as the uncompressed one is there: its lines are read there. How bytes become lines is in
//! `packed`.

use std::io;
use std::sync::atomic::Ordering::Relaxed;

use tracing::{debug, warn};

use super::follow::{Follow, Presence};
use super::identity::Print;
use super::packed::{Unpacked, Unpacking, begin_anew, go_on};
use super::tailer::Tailer;
use super::turn::Reading;

/// Whether a compressed file can be read by now.
enum Twin {
    /// Nothing with its beginning was followed.
    None,
    /// It was, under this key, and is gone.
    Gone(u64),
    /// It was, is deleted, and is read to its end through the open handle.
    Held(u64),
    /// It is still there.
    Present,
}

impl Tailer {
    /// One turn of a compressed file that is open.
    pub(super) fn take_packed_turn(&mut self, key: u64) {
        let other = self.unpacking.as_ref().map(|unpacking| unpacking.key);
        if let Some(other) = other.filter(|other| *other != key) {
            // One that waits for no turn was let go, or cannot be opened any more.
            if self.files.get(other).is_some_and(|other| other.is_queued) {
                return self.queue(key);
            }
            self.unpacking = None;
        }
        match self.unpack(key) {
            Ok(Some(unpacked)) => self.unpacked(key, unpacked),
            Ok(None) => self.unpacking = None,
            Err(error) => {
                self.unpacking = None;
                self.cannot_unpack(key, &error);
            }
        }
    }

    /// `None` when it has to wait.
    fn unpack(&mut self, key: u64) -> io::Result<Option<Unpacked>> {
        let file = self.files.get(key).and_then(|f| f.handle.as_ref());
        let mut unpacking = match (self.unpacking.take(), file) {
            (Some(unpacking), _) => unpacking,
            (None, Some(file)) => Unpacking::begin(key, file)?,
            (None, None) => return Ok(None),
        };
        let is_undecided = self
            .files
            .get(key)
            .is_some_and(|f| f.head == Print::default());
        if is_undecided {
            let head = unpacking.head()?.to_vec();
            let twin = self.twin(key, &head);
            if matches!(twin, Twin::Present) {
                return Ok(None);
            }
            self.decide(key, &head, &twin);
            if let Twin::Held(_) = twin {
                return Ok(Some(Unpacked::All(Vec::new())));
            }
        }
        let Some(follow) = self.files.get_mut(key) else {
            return Ok(None);
        };
        let Some(input) = self.inputs.get(follow.input) else {
            return Ok(None);
        };
        let before = follow.progress;
        let unpacked = unpacking.turn(follow, &input.framing).inspect_err(|_| {
            follow.progress = before;
        })?;
        self.unpacking = Some(unpacking);
        Ok(Some(unpacked))
    }

    /// The file that was followed before it was compressed into this one.
    fn twin(&self, key: u64, head: &[u8]) -> Twin {
        let Some(packed) = self.files.get(key) else {
            return Twin::None;
        };
        let begins = |other: &&Follow| {
            let is_known = other.head != Print::default();
            other.input == packed.input && !other.is_packed && is_known && other.head.begins(head)
        };
        let twins = || self.files.iter().filter(begins);
        let with = |presence| twins().find(|twin| twin.presence == presence);
        if with(Presence::Listed).or(with(Presence::Moved)).is_some() {
            return Twin::Present;
        }
        if let Some(held) = with(Presence::Deleted) {
            return Twin::Held(held.key);
        }
        let furthest = twins().max_by_key(|twin| twin.progress.consumed());
        furthest.map_or(Twin::None, |twin| Twin::Gone(twin.key))
    }

    fn decide(&mut self, key: u64, head: &[u8], twin: &Twin) {
        let Some(mut follow) = self.files.remove(key) else {
            return;
        };
        let twin = match twin {
            Twin::Gone(twin) | Twin::Held(twin) => self.files.get(*twin),
            Twin::None | Twin::Present => None,
        };
        debug!(path = %follow.at.display(), before = ?twin.map(|twin| &twin.path), "unpacked");
        go_on(&mut follow, head, twin);
        let input = self.inputs.get(follow.input);
        let is_sure = |twin: &Follow| twin.delivered && twin.presence != Presence::Deleted;
        if input.is_some_and(|input| input.config.delete_after_delivery)
            && !twin.is_none_or(is_sure)
        {
            follow.keep("what was read of it before it was compressed may not be delivered");
        }
        self.files.insert(follow);
        self.dirty.insert(key);
    }

    fn unpacked(&mut self, key: u64, unpacked: Unpacked) {
        match unpacked {
            Unpacked::Some(portions) => self.read(key, Reading::of(portions, true)),
            Unpacked::All(portions) => {
                self.unpacking = None;
                self.read(key, Reading::of(portions, false));
                self.unpacked_whole(key);
            }
            Unpacked::Other => {
                self.unpacking = None;
                if let Some(follow) = self.files.get_mut(key) {
                    warn!(path = %follow.at.display(),
                        "compressed from another file than the one that was followed; read \
                         from its beginning");
                    begin_anew(follow);
                    self.queue(key);
                }
            }
        }
    }

    /// Read to its end: never to be read again.
    fn unpacked_whole(&mut self, key: u64) {
        let Some(follow) = self.files.get_mut(key) else {
            return;
        };
        follow.finished = true;
        let is_deleted = follow.presence == Presence::Deleted;
        if let Some(input) = self.inputs.get_mut(follow.input) {
            input.close(follow);
        }
        self.dirty.insert(key);
        if is_deleted {
            self.let_go(key);
        }
    }

    /// What is damaged, or still being written, is tried again when it has changed.
    fn cannot_unpack(&mut self, key: u64, error: &io::Error) {
        let Some(follow) = self.files.get_mut(key) else {
            return;
        };
        let Some(input) = self.inputs.get_mut(follow.input) else {
            return;
        };
        let text = format!("cannot be unpacked, tried again when it changes: {error}");
        if follow.error.as_ref() != Some(&text) {
            warn!(path = %follow.at.display(), error = text, "not read");
            input.stats.errors.fetch_add(1, Relaxed);
            follow.error = Some(text);
        }
        follow.compared = Some(follow.modified);
        input.close(follow);
    }
}
