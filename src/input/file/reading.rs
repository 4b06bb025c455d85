//! The turn of one file, from its opening to what the spool is handed, and what becomes of a
//! file that ended.
//!
//! Whose turn it is, `tailer` decides; what is read in it, `turn`.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use tracing::warn;

use super::follow::{Follow, Presence};
use super::framing::Tail;
use super::identity::Stat;
use super::input::Input;
use super::open::OpenError;
use super::tailer::Tailer;
use super::turn::{Reading, Turned, turn};
use crate::clock::unix_ms;
use crate::spool::FileRead;

impl Tailer {
    /// Opens a file. True when it is open then.
    pub(super) fn hold_open(&mut self, key: u64) -> bool {
        let input = self.files.get(key).map(|follow| follow.input);
        let Some(input) = input.and_then(|input| self.inputs.get_mut(input)) else {
            return false;
        };
        input.make_room(&mut self.files);
        let follow = self.files.get_mut(key);
        follow.is_some_and(|follow| follow.handle.is_some() || input.open(follow).is_ok())
    }

    /// Opens a file that has something to read as long as there is room: once it is open,
    /// nobody can take its bytes away.
    pub(super) fn hold(&mut self, key: u64) {
        let Some(follow) = self.files.get_mut(key) else {
            return;
        };
        let Some(input) = self.inputs.get_mut(follow.input) else {
            return;
        };
        let has_room = input.handles.len() < input.config.max_open_files as usize;
        if follow.handle.is_none() && has_room {
            let opened = input.open(follow);
            note_opening(input, follow, opened);
        }
    }

    /// One turn of one file.
    pub(super) fn take_turn(&mut self, key: u64, now: Instant) {
        let Some(input) = self.files.get(key).map(|follow| follow.input) else {
            return;
        };
        let Some(input) = self.inputs.get_mut(input) else {
            return;
        };
        let has_room = self.files.get(key).is_some_and(|f| f.handle.is_some())
            || input.make_room(&mut self.files);
        let Some(follow) = self.files.get_mut(key) else {
            return;
        };
        follow.is_queued = false;
        let mut is_gone = false;
        if follow.handle.is_none() {
            let opened = if has_room {
                input.open(follow)
            } else {
                Err(OpenError::NoHandle)
            };
            is_gone = opened.as_ref().err() == Some(&OpenError::Gone);
            note_opening(input, follow, opened);
        }
        let Some(file) = follow.handle.take() else {
            if is_gone {
                self.look_soon();
            }
            return;
        };
        if follow.is_packed {
            if let Ok(stat) = Stat::of(&file) {
                follow.look(&stat, now);
            }
            input.keep(follow, file);
            self.lively.insert(key);
            return self.take_packed_turn(key);
        }
        let tail = follow.tail(&input.config, now);
        let (before, size) = (follow.progress, follow.size);
        let turned = turn(follow, &file, &input.framing, &mut self.window, tail);
        input.keep(follow, file);
        self.lively.insert(key);
        match turned {
            Ok(Turned::Nothing) => self.ended(key, tail),
            Ok(Turned::Rewritten) => self.rewritten(key),
            Ok(Turned::Read(reading)) => self.read(key, reading),
            Err(error) => {
                (follow.progress, follow.size) = (before, size);
                input.stats.errors.fetch_add(1, Relaxed);
                warn!(path = %follow.at.display(), %error, "cannot read; trying again");
                follow.error = Some(format!("cannot be read: {error}"));
                input.close(follow);
            }
        }
    }

    pub(super) fn read(&mut self, key: u64, reading: Reading) {
        let Some(follow) = self.files.get_mut(key) else {
            return;
        };
        follow.error = None;
        let Some(input) = self.inputs.get(follow.input) else {
            return;
        };
        input.stats.read(&reading.portions, reading.left_out);
        for portion in reading.portions {
            let (consumed, skipping) = (portion.consumed, portion.skipping);
            let want = follow.want_for(&input.config, &self.outbox);
            self.outbox.read(
                FileRead {
                    checkpoint: follow.checkpoint_at(consumed, skipping, portion.mark),
                    events: portion.events,
                    source: follow.source.clone(),
                    received: unix_ms(),
                    runs: vec![portion.run],
                },
                want,
            );
            self.dirty.remove(&key);
        }
        if reading.rewritten {
            self.rewritten(key);
        } else if reading.more {
            self.queue(key);
        }
    }

    /// Nothing is left to read: a file that is gone for good is let go.
    fn ended(&mut self, key: u64, tail: Tail) {
        let Some(follow) = self.files.get_mut(key) else {
            return;
        };
        if tail != Tail::Ended || follow.unread() > 0 {
            return;
        }
        if follow.presence == Presence::Deleted {
            self.let_go(key);
        } else if let Some(input) = self.inputs.get_mut(follow.input)
            && input.config.read_once
        {
            follow.finished = true;
            input.close(follow);
            self.lively.remove(&key);
            self.dirty.insert(key);
        }
    }

    pub(super) fn let_go(&mut self, key: u64) {
        let Some(mut follow) = self.files.remove(key) else {
            return;
        };
        if let Some(input) = self.inputs.get_mut(follow.input) {
            input.close(&mut follow);
        }
        self.lively.remove(&key);
        self.dirty.insert(key);
    }
}

/// Notes how an opening went. A file that is gone is left to the next look.
fn note_opening(input: &Input, follow: &mut Follow, opened: Result<(), OpenError>) {
    let failed = opened.err().filter(|error| *error != OpenError::Gone);
    let text = failed.as_ref().map(ToString::to_string);
    if let Some(error) = failed.filter(|_| follow.error != text) {
        warn!(input = %input.name, path = %follow.at.display(), %error, "not read");
        input.stats.errors.fetch_add(1, Relaxed);
    }
    follow.error = text;
}
