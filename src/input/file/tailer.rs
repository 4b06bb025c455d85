//! The loop that looks after all followed files: when to look around, and whose turn it is.
//! What a turn does is in `reading`.
//!
//! Fair: each file with something to read gets one turn, then the next file. Never waits for
//! the spool with its eyes shut; see `outbox`.

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tracing::{info, warn};

use super::commands::Command;
use super::files::Files;
use super::follow::{Follow, Presence};
use super::framing::Tail;
use super::identity::Stat;
use super::input::Input;
use super::outbox::{Delivered, Outbox};
use super::packed::Unpacking;
use super::scan::Scan;
use super::turn::Window;
use super::wake::Wake;
use crate::event::Checkpoint;
use crate::input::stop::Stop;

/// Time between two looks at files that were written to lately, in case that nothing tells.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// A file is looked at in that way until it has not grown for this long.
const POLLED_FOR: Duration = Duration::from_secs(30);

/// Checkpoints that change without events are gathered for this long: each hand-over of
/// them costs the spool two syncs.
const NOTE_INTERVAL: Duration = Duration::from_secs(1);

/// Shortest time between two looks around, however many names change.
const SCAN_PAUSE: Duration = Duration::from_millis(20);

/// Between two looks around lie as many times as long as one took: with many files, names
/// that change all the time must not take all of the thread.
const SCAN_SHARE: u32 = 5;

/// Time between two hearings of notifications while there is much to read.
const HEAR_INTERVAL: Duration = Duration::from_millis(5);

/// A file that grows by single lines is read at most this often.
const SETTLE: Duration = Duration::from_millis(2);

/// What the loop hears, besides inotify.
pub(super) struct Mail {
    pub(super) stop: Stop,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) deliveries: mpsc::UnboundedReceiver<Delivered>,
}

/// Everything of the thread "tail".
pub(super) struct Tailer {
    pub(super) inputs: Vec<Input>,
    pub(super) files: Files,
    pub(super) outbox: Outbox,
    wake: Option<Wake>,
    pub(super) window: Window,
    /// The compressed file whose turn it is.
    pub(super) unpacking: Option<Unpacking>,
    ready: VecDeque<u64>,
    /// Files that are looked at often.
    pub(super) lively: BTreeSet<u64>,
    /// Files whose checkpoint has changed without events, or that are to be forgotten.
    pub(super) dirty: BTreeSet<u64>,
    /// Files of which an earlier run left events in the spool.
    pub(super) doubts: Vec<u64>,
    next_note: Instant,
    next_scan: Instant,
    next_poll: Instant,
    next_hearing: Instant,
    last_scan: Instant,
    scan_took: Duration,
    is_first: bool,
}

impl Tailer {
    pub(super) fn new(
        inputs: Vec<Input>,
        files: Files,
        dirty: BTreeSet<u64>,
        outbox: Outbox,
    ) -> Self {
        let wake = Wake::new().inspect_err(|error| {
            warn!(%error, "inotify is not available; files are looked at every scan_interval");
        });
        let now = Instant::now();
        let in_doubt = files.iter().filter(|follow| follow.in_doubt);
        let doubts = in_doubt.map(|follow| follow.key).collect();
        Self {
            doubts,
            inputs,
            files,
            outbox,
            wake: wake.ok(),
            window: Window::default(),
            unpacking: None,
            ready: VecDeque::new(),
            lively: BTreeSet::new(),
            dirty,
            next_note: now,
            next_scan: now,
            next_poll: now,
            next_hearing: now,
            last_scan: now,
            scan_took: Duration::ZERO,
            is_first: true,
        }
    }

    /// Follows files until `stop` is asked for or the spool closes.
    pub(super) async fn run(mut self, mut mail: Mail, looked: std::sync::mpsc::Sender<()>) {
        self.scan(Instant::now()).await;
        // Whoever waited may have gone on.
        let _ = looked.send(());
        loop {
            let now = Instant::now();
            self.hear(now);
            if now >= self.next_scan {
                self.scan(now).await;
            }
            if now >= self.next_poll {
                self.poll(now);
            }
            if now >= self.next_note && !self.dirty.is_empty() {
                self.note_dirty(now, Vec::new());
            }
            if self.outbox.is_closed() {
                break;
            }
            while let Ok(delivered) = mail.deliveries.try_recv() {
                self.delivered(delivered);
            }
            while let Ok(command) = mail.commands.try_recv() {
                self.serve(command).await;
            }
            if self.outbox.has_room()
                && let Some(key) = self.ready.pop_front()
            {
                self.take_turn(key, now);
                // The outbox and the notifications get their turn as well.
                tokio::task::yield_now().await;
                if !mail.stop.is_asked() {
                    continue;
                }
            }
            tokio::select! {
                biased;
                () = mail.stop.asked() => break,
                Some(command) = mail.commands.recv() => self.serve(command).await,
                Some(delivered) = mail.deliveries.recv() => self.delivered(delivered),
                () = self.outbox.taken(), if !self.outbox.has_room() => {}
                () = heard(self.wake.as_ref()), if self.outbox.has_room() => {
                    self.next_hearing = now;
                    tokio::time::sleep(SETTLE).await;
                }
                () = tokio::time::sleep_until(self.next_look().into()) => {}
            }
        }
        self.read_deleted().await;
        self.note_dirty(Instant::now(), Vec::new());
        if !self.outbox.flush().await {
            info!("the spool closed before the last lines read were on disk; they are read again");
        }
    }

    /// When there is something to do although nothing happens.
    fn next_look(&self) -> Instant {
        let poll = (!self.lively.is_empty()).then_some(self.next_poll);
        let note = (!self.dirty.is_empty()).then_some(self.next_note);
        let others = poll.into_iter().chain(note);
        others.fold(self.next_scan, Instant::min)
    }

    /// Looks around as soon as may be.
    pub(super) fn look_soon(&mut self) {
        let soon = self.last_scan + pause(SCAN_PAUSE, self.scan_took);
        self.next_scan = self.next_scan.min(soon);
    }

    /// Takes what inotify has to say.
    fn hear(&mut self, now: Instant) {
        let Some(wake) = self.wake.as_mut().filter(|_| now >= self.next_hearing) else {
            return;
        };
        self.next_hearing = now + HEAR_INTERVAL;
        let changes = wake.take();
        if changes.names {
            self.look_soon();
        }
        for path in changes.written {
            for input in 0..self.inputs.len() {
                if let Some(key) = self.files.with_path(input, &path) {
                    self.queue(key);
                }
            }
        }
    }

    /// Looks around for all inputs.
    pub(super) async fn scan(&mut self, now: Instant) {
        let mut folders = BTreeSet::<PathBuf>::new();
        let mut ready = Vec::new();
        let mut notes = Vec::new();
        for input in &mut self.inputs {
            let mut outcome = Scan::run(input, &mut self.files, now, self.is_first);
            folders.append(&mut outcome.folders);
            ready.append(&mut outcome.ready);
            self.dirty.append(&mut outcome.dirty);
            notes.extend(outcome.patterns);
        }
        if let Some(wake) = &mut self.wake {
            wake.watch(&folders);
        }
        // The patterns are known only once each file that they found has its checkpoint.
        if self.is_first || !notes.is_empty() {
            self.note_dirty(now, notes);
            // What is left out for good has to be on disk before anything is read.
            self.outbox.flush().await;
        }
        self.is_first = false;
        for key in ready {
            self.hold(key);
            self.queue(key);
        }
        self.limit_deleted();
        self.remove_delivered(now);
        self.count();
        let longest = Duration::from_secs(3600);
        let intervals = self.inputs.iter().map(|input| input.config.scan_interval);
        self.last_scan = Instant::now();
        self.scan_took = self.last_scan.saturating_duration_since(now);
        let interval = intervals.min().unwrap_or(longest);
        self.next_scan = self.last_scan + pause(interval, self.scan_took);
    }

    /// Looks at files that were written to lately, and at those that wait for a time to pass.
    fn poll(&mut self, now: Instant) {
        self.next_poll = now + POLL_INTERVAL;
        for key in std::mem::take(&mut self.lively) {
            let Some(follow) = self.files.get_mut(key) else {
                continue;
            };
            let Some(input) = self.inputs.get(follow.input) else {
                continue;
            };
            if !needs_polling(follow, now) {
                continue;
            }
            self.lively.insert(key);
            // A file that is not open is not opened only to find it unchanged.
            let stat = match &follow.handle {
                Some(file) => Stat::of(file),
                None => Stat::at(&follow.at),
            };
            let is_changed = stat.is_ok_and(|stat| stat.id == follow.id && follow.look(&stat, now));
            if is_changed || follow.tail(&input.config, now) != Tail::MayGrow {
                self.queue(key);
            }
        }
    }

    /// Hands over the checkpoints that changed without events, and `more` behind them.
    pub(super) fn note_dirty(&mut self, now: Instant, more: Vec<Checkpoint>) {
        self.next_note = now + NOTE_INTERVAL;
        let dirty = std::mem::take(&mut self.dirty);
        let of_files = dirty.into_iter().map(|key| match self.files.get(key) {
            Some(follow) => follow.checkpoint(),
            None => Checkpoint { key, value: None },
        });
        self.outbox
            .note(of_files.chain(more).collect(), self.is_first);
    }

    pub(super) fn queue(&mut self, key: u64) {
        if let Some(follow) = self.files.get_mut(key)
            && !follow.is_queued
            && !follow.finished
        {
            follow.is_queued = true;
            self.ready.push_back(key);
        }
    }

    /// Brings the counters that are not counted one by one up to date.
    fn count(&self) {
        for input in &self.inputs {
            let of_input = self
                .files
                .iter()
                .filter(|follow| follow.input == input.index);
            let (files, lag) = of_input.fold((0, 0), |(files, lag), follow| {
                (files + 1, lag + follow.unread())
            });
            input.stats.files.store(files, Relaxed);
            input.stats.lag_bytes.store(lag, Relaxed);
        }
    }
}

/// Time between two looks around, `wanted` or more, when the last one took `took`.
fn pause(wanted: Duration, took: Duration) -> Duration {
    wanted.max(took * SCAN_SHARE)
}

/// Whether a file is to be looked at although nothing tells of it.
fn needs_polling(follow: &Follow, now: Instant) -> bool {
    let is_fresh = now.saturating_duration_since(follow.grown) < POLLED_FOR;
    let waits = follow.lag() > 0 || follow.progress.is_open();
    match follow.presence {
        Presence::Listed => is_fresh || waits,
        Presence::Moved => is_fresh || follow.unread() > 0,
        Presence::Deleted => true,
        Presence::Missing(_) => false,
    }
}

async fn heard(wake: Option<&Wake>) {
    match wake {
        Some(wake) => wake.ready().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_around_leave_time_for_reading_however_long_they_take() {
        let (interval, quick) = (Duration::from_millis(100), Duration::from_millis(1));
        assert_eq!(pause(interval, quick), interval);
        // Many files on a busy host: the interval alone would leave a twentieth of the time.
        let took = Duration::from_secs(2);
        assert_eq!(pause(interval, took), Duration::from_secs(10));
    }
}
