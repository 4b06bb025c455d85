//! Transactions: the drain in runs, each committed with its end before the next begins.
//!
//! A run is a contiguous stretch of the spool: every event of it is in a batch, a dead letter
//! on disk, or dropped by a route. So one number, its end, says after a crash what has been
//! delivered. The price: an event whose partition cannot take it holds up those behind it.
//!
//! The events of an aborted run are read again from the spool. Which outcome a run has is
//! decided in `kafka`; here it is filled, closed, and settled. What was committed before the
//! start is in `recovered`.

mod recovered;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::error;

use recovered::fingerprint;

use super::event::{GivenUp, Placing};
use super::run::State;
use super::status::RunStatus;
use super::topic::Pass;
use super::unplaced::Unplaced;
use crate::kafka::{AbortCause, Batch, Position, Recovered, RunReport};
use crate::proof::Seq;
use crate::spool::{Block, ReadError};

/// Shortest time that a run is filled, which bounds what transactions cost the cluster when
/// there is little to send. Kafka Streams commits as often by default.
pub(super) const RUN_INTERVAL: Duration = Duration::from_millis(100);

/// Bytes of events in a run: to begin with, and the least and most that time-outs and commits
/// make of it. A run has to fit `transaction.timeout.ms` whatever the link.
const RUN_BYTES: usize = 1 << 20;
const RUN_BYTES_MIN: usize = 64 << 10;
const RUN_BYTES_MAX: usize = 32 << 20;

/// An event of several routes, not all of which have a place for it, keeps the run open for
/// so long.
const PARTIAL_PATIENCE: Duration = Duration::from_secs(2);

/// A commit faster than this has room for a larger run.
const QUICK: Duration = Duration::from_secs(2);

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing may be sent: the Kafka side is finding out what is committed.
    Waiting,
    /// Events are added.
    Filling,
    /// No more events; its batches are on their way to the producer.
    Closing,
    /// The producer has all of it.
    Closed,
}

/// The run in hand.
#[derive(Debug)]
pub(super) struct Run {
    number: u32,
    stage: Stage,
    recovered: Option<Recovered>,
    /// The first event that an abort goes back to.
    first: Seq,
    end: Position,
    began: Option<Instant>,
    bytes: usize,
    limit: usize,
    /// Batches given to the producer.
    batches: u64,
    /// A block of which events from `end` on are still to be placed.
    block: Option<Arc<Block>>,
    /// An event that found no place.
    blocked: Option<Seq>,
    /// An event of which a part was placed and the rest was not, for too long: the run ends
    /// before it, so that it is delivered whole.
    stop_before: Option<Seq>,
}

impl Run {
    /// Before anything is known of the Kafka side.
    pub(super) fn new(first: Seq) -> Self {
        Self {
            number: 0,
            stage: Stage::Waiting,
            recovered: None,
            first,
            end: Position {
                end: first,
                check: 0,
            },
            began: None,
            bytes: 0,
            limit: RUN_BYTES,
            batches: 0,
            block: None,
            blocked: None,
            stop_before: None,
        }
    }

    /// A batch goes to the producer.
    pub(super) fn sends(&mut self, batch: &mut Batch) {
        batch.term = self.number;
        self.batches += 1;
    }

    /// Whether all its batches are to be sent without waiting for more.
    pub(super) fn is_closing(&self) -> bool {
        self.stage == Stage::Closing
    }

    /// Whether events of it are in batches, or on their way.
    pub(super) fn is_open(&self) -> bool {
        self.stage != Stage::Waiting && self.began.is_some()
    }

    /// No more events: the daemon stops.
    pub(super) fn stop_filling(&mut self) {
        if self.stage == Stage::Filling && self.began.is_some() {
            self.stage = Stage::Closing;
        }
    }

    /// When it closes by itself.
    pub(super) fn due(&self, interval: Duration) -> Option<Instant> {
        let filling = self.stage == Stage::Filling;
        self.began.filter(|_| filling).map(|began| began + interval)
    }

    /// The next run begins where this one ends.
    fn next(&mut self, number: u32) {
        self.number = number;
        self.stage = Stage::Filling;
        self.first = self.end.end;
        self.began = None;
        self.bytes = 0;
        self.batches = 0;
    }

    pub(super) fn status(&self, now: Instant) -> RunStatus {
        let open = self.began.map(|began| now.saturating_duration_since(began));
        RunStatus {
            number: self.number,
            stage: match self.stage {
                Stage::Waiting => "waiting",
                Stage::Filling => "filling",
                Stage::Closing => "closing",
                Stage::Closed => "committing",
            },
            first: self.first,
            end: self.end.end,
            open_ms: open.map(|open| u64::try_from(open.as_millis()).unwrap_or(u64::MAX)),
            blocked_at: self.blocked,
        }
    }
}

impl State {
    /// Adds events to the run, if it takes any. True when something was done.
    pub(super) fn fill(&mut self, now: Instant) -> bool {
        let Some(mut run) = self.run.take() else {
            return false;
        };
        let worked = self.settle_recovered(&mut run) && self.fill_run(&mut run, now);
        self.run = Some(run);
        worked
    }

    fn fill_run(&mut self, run: &mut Run, now: Instant) -> bool {
        if run.stage != Stage::Filling {
            return false;
        }
        let due = run.due(self.settings.limits.linger);
        if due.is_some_and(|due| due <= now) || run.bytes >= run.limit {
            if let Some(seq) = self.in_part(run) {
                if due.is_some_and(|due| now >= due + PARTIAL_PATIENCE) {
                    run.stop_before = Some(seq);
                    run.stage = Stage::Closed;
                    let words = format!("event {seq} waits for one of its topics");
                    self.producer.abort_run(run.number, words);
                }
                // Until then it is tried again below.
            } else {
                run.stage = Stage::Closing;
                return true;
            }
        }
        if run.stage != Stage::Filling || self.buffered() >= self.settings.buffer_memory {
            return false;
        }
        let block = match run.block.take() {
            Some(block) => Ok(Some(block)),
            None => self.cursor.next(),
        };
        match block {
            Ok(Some(block)) => self.fill_from(run, block, now),
            Ok(None) => false,
            Err(failure) => self.unreadable(&failure),
        }
    }

    /// The event that holds the run up with a part of it in a batch of the run.
    fn in_part(&self, run: &Run) -> Option<Seq> {
        run.blocked.filter(|seq| self.copies.has_begun(*seq))
    }

    fn unreadable(&mut self, failure: &ReadError) -> bool {
        error!(error = %failure, "cannot read the spool; trying again");
        self.status.last_error = Some(failure.to_string());
        false
    }

    /// Places the events of `block` from the run's end on, until one finds no place or the
    /// run is full. True when any was placed.
    fn fill_from(&mut self, run: &mut Run, block: Arc<Block>, now: Instant) -> bool {
        let cluster = self.producer.cluster();
        let untouched = self.cursor.is_untouched(&block);
        // A lane that lags is passed over by the main pass. Here nothing is passed over: what
        // has no place now is tried again, as by the lagging pass.
        let topics = self.settings.router.topics();
        let placing = Placing::new(Pass::Lagging, block.range(), topics, &cluster, None, now);
        let from = run.end.end;
        let mut given_up = GivenUp::default();
        run.blocked = None;
        for event in block.events().filter(|event| event.seq >= from) {
            if untouched || self.cursor.is_unresolved(event.seq) {
                if run.stop_before == Some(event.seq) && run.began.is_some() {
                    run.stage = Stage::Closing;
                    break;
                }
                if !self.place_event(&event, &placing, &mut given_up) {
                    run.blocked = Some(event.seq);
                    break;
                }
                run.began.get_or_insert(now);
                run.bytes += event.bytes.len();
            } else {
                self.copies.forget(event.seq);
            }
            run.end = Position {
                end: event.seq + 1,
                check: fingerprint(&event),
            };
            if run.bytes >= run.limit {
                break;
            }
        }
        if !self.give_up(given_up, now) {
            run.stage = Stage::Closed;
            let words = "dead letters could not be stored".to_owned();
            self.producer.abort_run(run.number, words);
            return true;
        }
        let placed = run.end.end > from;
        if run.began.is_none() && self.in_part(run).is_some() {
            // Nothing else is in the lanes, so that it can be taken back as if never tried.
            self.empty_lanes();
        }
        if run.end.end < block.end() {
            run.block = Some(block);
        }
        placed
    }

    /// Takes every event of the run out of the batches.
    fn empty_lanes(&mut self) {
        for topic in self.lanes.topics_mut() {
            for lane in topic.lanes_mut() {
                lane.recall();
                lane.came_back(lane.in_flight());
            }
        }
        self.sealed_bytes = 0;
        self.copies.all_came_back();
    }

    /// What belongs to the run in hand cannot be sent: it is aborted. Without transactions
    /// there is none.
    pub(super) fn give_up_run(&mut self, words: &str) {
        if let Some(run) = &mut self.run {
            run.stage = Stage::Closed;
            self.producer.abort_run(run.number, words.to_owned());
        }
    }

    /// Hands the end of a closing run over once all its batches are with the producer.
    pub(super) fn close_run(&mut self) {
        let Some(run) = self.run.as_mut().filter(|run| run.is_closing()) else {
            return;
        };
        let lanes = self.lanes.topics().iter().flat_map(|topic| topic.lanes());
        if lanes.map(|lane| lane.waiting()).sum::<usize>() > 0 {
            return;
        }
        if run.batches == 0 {
            // Nothing to commit: all of it is in the dead letters or was dropped.
            let number = run.number;
            return run.next(number);
        }
        run.stage = Stage::Closed;
        self.producer.close_run(run.number, run.end);
    }

    /// Takes news of a run.
    pub(super) fn run_report(&mut self, report: RunReport, now: Instant) {
        let Some(mut run) = self.run.take() else {
            return;
        };
        match report {
            RunReport::Ready {
                run: number,
                recovered,
            } => {
                run.next(number);
                run.recovered = recovered;
            }
            RunReport::Stored {
                run: number,
                to,
                bytes,
            } if number == run.number => {
                self.came_back(&to, 1, bytes);
            }
            RunReport::Stored { .. } => {}
            RunReport::Committed {
                run: number,
                proofs,
            } => {
                proofs.into_iter().for_each(|proof| self.acked(proof));
                self.unsaved = true;
                let took = run.began.map(|began| now.saturating_duration_since(began));
                if took.is_some_and(|took| took < QUICK) {
                    run.limit = (run.limit * 2).min(RUN_BYTES_MAX);
                }
                run.next(number.wrapping_add(1));
            }
            RunReport::Aborted { cause, .. } => self.run_aborted(&mut run, &cause, now),
        }
        self.run = Some(run);
    }

    /// Takes all events of the run out of the batches and goes back to its first.
    fn run_aborted(&mut self, run: &mut Run, cause: &AbortCause, now: Instant) {
        self.empty_lanes();
        match cause {
            AbortCause::Refused {
                to,
                refused,
                verdict,
            } => self.refused(to, refused, verdict, now),
            AbortCause::TimedOut { .. } => run.limit = (run.limit / 4).max(RUN_BYTES_MIN),
            AbortCause::Passing { .. } => {}
        }
        self.status.last_error = Some(cause.to_string());
        // The run goes again as a whole.
        self.unplaced = Unplaced::default();
        self.cursor.go_back(run.first);
        run.stage = Stage::Waiting;
        run.block = None;
        run.began = None;
        run.end.end = run.first;
    }
}
