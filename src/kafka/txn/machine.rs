//! The rules of a run, without I/O: calls with the time in, [`Step`]s out.
//!
//! Does not encode, send or wait; the actor carries the steps out. Which batch is stored is
//! the core's knowledge, what the coordinator answered is the coordinator task's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::core::{Identity, Now};
use super::super::position::reader::Located;
use super::super::position::{self, Position};
use super::super::{Batch, Report, TopicPartition};
use super::age::Age;
use super::coordinator::{Ask, News};
use super::open::Open;
use super::report::{AbortCause, Recovered, RunReport, TransactionStatus};
use crate::config::TransactionConfig;
use crate::proof::{BrokerAuthority, Seq, SeqRange, SeqRanges};

/// Ranges of one proof: 2^42 events.
const RANGES_MAX: usize = 1024;

/// What the actor has to do.
#[derive(Debug)]
pub(in super::super) enum Step {
    /// Ask the coordinator; answer with [`Machine::news`].
    Ask(Ask),
    /// Give it to the core; answer with [`Machine::stored`] or [`Machine::abort`].
    Send(Batch),
    /// Have the core forget every batch.
    Forget,
    /// Have the core start anew under this identity. True: partitions join by being written.
    Renew(Identity, bool),
    /// The topic may not be written.
    Denied { topic: Arc<str>, words: String },
    /// Tell the owner.
    Report(Report),
    /// The status has something to say that cannot wait for the next event.
    Publish,
}

/// Where the run stands.
#[derive(Debug)]
enum Phase {
    /// Nobody has asked for a run yet.
    Idle,
    /// Nothing new goes; waiting for answers to what is on the wire.
    Quieting { abort: Option<Identity> },
    /// The coordinator task is at work until a new run may begin.
    Recovering,
    /// A run may be filled, or is.
    Open(Open),
    /// Another instance has taken over. For good.
    Fenced,
}

/// See the module.
#[derive(Debug)]
pub(in super::super) struct Machine {
    authority: BrokerAuthority,
    id: Arc<str>,
    age: Age,
    spool_id: u64,
    run: u32,
    phase: Phase,
    steps: Vec<Step>,
    status: TransactionStatus,
    needs_person: bool,
}

impl Machine {
    pub(in super::super) fn new(
        authority: BrokerAuthority,
        config: &TransactionConfig,
        linger: Duration,
    ) -> Self {
        Self {
            authority,
            id: config.id.clone(),
            age: Age::new(config.timeout, linger),
            spool_id: 0,
            run: 0,
            phase: Phase::Idle,
            steps: Vec::new(),
            status: TransactionStatus::default(),
            needs_person: false,
        }
    }

    /// What is to be done since the last call, in order.
    pub(in super::super) fn take_steps(&mut self) -> Vec<Step> {
        std::mem::take(&mut self.steps)
    }

    /// Someone wants to deliver this spool.
    pub(in super::super) fn begin(&mut self, spool_id: u64) {
        self.spool_id = spool_id;
        if let Phase::Idle = self.phase {
            self.recover(None);
        }
    }

    fn recover(&mut self, abort: Option<Identity>) {
        self.phase = Phase::Recovering;
        self.steps.push(Step::Ask(Ask::Recover {
            spool_id: self.spool_id,
            abort,
        }));
    }

    /// Takes a batch of a run. One of an earlier run is dropped: its owner knows, or will.
    pub(in super::super) fn batch(&mut self, batch: Batch, now: Now) {
        let run = self.run;
        let Phase::Open(open) = &mut self.phase else {
            return;
        };
        if batch.term != run || open.is_closed() {
            return;
        }
        self.age.writes(Some(&batch.to), now);
        open.launch(batch, &mut self.steps);
    }

    /// The run is complete: its position follows, and then the commit.
    pub(in super::super) fn close(&mut self, run: u32, end: Position, now: Now) {
        if run != self.run {
            return;
        }
        let Phase::Open(open) = &mut self.phase else {
            return;
        };
        if open.is_closed() {
            return;
        }
        let encoded = match position::encode(self.spool_id, end, &self.id, now.unix_ms) {
            Ok(encoded) => encoded,
            Err(error) => {
                let words = format!("cannot encode the position: {error}");
                return self.abort(AbortCause::Passing { words }, now);
            }
        };
        self.age.writes(None, now);
        open.close(end, encoded, run, &mut self.steps);
    }

    /// The core has a proof that a batch is in the log. It is not committed yet.
    pub(in super::super) fn stored(&mut self, to: TopicPartition, ranges: SeqRanges, bytes: usize) {
        let run = self.run;
        let Phase::Open(open) = &mut self.phase else {
            return;
        };
        if !ranges.is_empty() {
            let report = RunReport::Stored { run, to, bytes };
            self.steps.push(Step::Report(Report::Run(report)));
        }
        open.stored(ranges, &mut self.steps);
    }

    /// Gives the run up, unless its fate is the coordinator's already.
    pub(in super::super) fn abort(&mut self, cause: AbortCause, now: Now) {
        match &self.phase {
            Phase::Open(open) if !open.is_committing() => self.give_up(cause, now),
            _ => {}
        }
    }

    /// The owner of the run cannot complete it.
    pub(in super::super) fn abort_run(&mut self, run: u32, words: String, now: Now) {
        if run == self.run {
            self.abort(AbortCause::Passing { words }, now);
        }
    }

    fn give_up(&mut self, cause: AbortCause, now: Now) {
        let Phase::Open(open) = &self.phase else {
            return;
        };
        // Later than that the coordinator may have aborted by itself and raised the epoch, so
        // that "fenced" would prove nothing. An open transaction is ended by the next
        // producer id as well.
        let in_time = self.age.is_open() && !self.age.is_expired(now);
        let abort = in_time.then_some(open.identity());
        tracing::warn!(transactional_id = &*self.id, %cause,
            "transaction aborted; its events go again");
        self.status.aborted += 1;
        self.status.last_abort = Some(cause.to_string());
        let run = self.run;
        self.run = run.wrapping_add(1);
        self.phase = Phase::Quieting { abort };
        self.steps.push(Step::Forget);
        let report = RunReport::Aborted { run, cause };
        self.steps.push(Step::Report(Report::Run(report)));
    }

    /// Nothing is on the wire.
    pub(in super::super) fn quiet(&mut self) {
        if let Phase::Quieting { abort } = self.phase {
            self.recover(abort);
        }
    }

    /// Whether [`Machine::quiet`] is waited for.
    pub(in super::super) fn wants_quiet(&self) -> bool {
        matches!(self.phase, Phase::Quieting { .. })
    }

    /// When [`Machine::tick`] has something to do.
    pub(in super::super) fn next_wakeup(&self) -> Option<Instant> {
        [self.gives_up_at(), self.age.warns_at()]
            .into_iter()
            .flatten()
            .min()
    }

    fn gives_up_at(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Open(open) if !open.is_committing() => self.age.gives_up_at(),
            _ => None,
        }
    }

    /// Gives up a run whose time is up, and warns of one that readers wait for.
    pub(in super::super) fn tick(&mut self, now: Now) {
        if let Some(words) = self.age.warning(now.mono) {
            tracing::warn!(transactional_id = &*self.id, "{words}");
            self.steps.push(Step::Publish);
        }
        if self.gives_up_at().is_some_and(|at| at <= now.mono) {
            let words = self.age.given_up_words();
            self.abort(AbortCause::TimedOut { words }, now);
        }
    }

    /// The coordinator task has an answer.
    pub(in super::super) fn news(&mut self, news: News, now: Now) {
        if !matches!(news, News::Trouble { .. }) {
            self.status.error = None;
            self.needs_person = false;
        }
        match news {
            News::Recovered {
                identity,
                implicit,
                located,
            } => self.recovered(identity, implicit, located),
            News::Added => {
                if let Phase::Open(open) = &mut self.phase {
                    open.added(&mut self.steps);
                }
            }
            News::NotAdded { denied, words } => {
                if let Some(topic) = denied {
                    let words = words.clone();
                    self.steps.push(Step::Denied { topic, words });
                }
                self.abort(AbortCause::Passing { words }, now);
            }
            News::Committed { next } => self.committed(next),
            News::NotCommitted { words } => self.give_up(AbortCause::Passing { words }, now),
            News::Fenced { words, recovering } => self.fenced(words, recovering, now),
            News::Trouble {
                words,
                needs_person,
            } => {
                self.status.error = Some(words);
                self.needs_person = needs_person;
            }
        }
    }

    fn recovered(&mut self, identity: Identity, implicit: bool, located: Located) {
        let Phase::Recovering = self.phase else {
            return;
        };
        let Located { to, position } = located;
        self.age.over();
        self.status.position = position.map(|position| position.end);
        tracing::info!(
            transactional_id = &*self.id,
            producer_id = identity.id,
            epoch = identity.epoch,
            position = self.status.position,
            "ready for transactions"
        );
        self.phase = Phase::Open(Open::new(identity, implicit, to));
        self.steps.push(Step::Renew(identity, implicit));
        let recovered = position.map(|position| Recovered {
            position,
            proof: self.authority.acked(all_before(position.end)),
        });
        self.steps.push(Step::Report(Report::Run(RunReport::Ready {
            run: self.run,
            recovered,
        })));
    }

    fn committed(&mut self, next: Option<Identity>) {
        let Phase::Open(open) = &mut self.phase else {
            return;
        };
        if !open.is_committing() {
            return;
        }
        let over = open.begin_anew(next, &mut self.steps);
        let proofs = over.stored.into_iter();
        let proofs = proofs.map(|ranges| self.authority.acked(ranges)).collect();
        self.status.committed += 1;
        self.status.last_abort = None;
        self.status.position = over.end.map(|end| end.end).or(self.status.position);
        self.age.over();
        let run = self.run;
        self.run = run.wrapping_add(1);
        let report = RunReport::Committed { run, proofs };
        self.steps.push(Step::Report(Report::Run(report)));
    }

    /// The coordinator knows a newer epoch than ours: another instance, unless our
    /// transaction may have been ended for its age.
    fn fenced(&mut self, words: String, recovering: bool, now: Now) {
        let aged = self.age.is_expired(now);
        match &self.phase {
            Phase::Open(_) if aged => return self.give_up(AbortCause::TimedOut { words }, now),
            Phase::Open(_) => {
                let words = words.clone();
                self.give_up(AbortCause::Passing { words }, now);
            }
            Phase::Recovering if recovering && aged => return self.recover(None),
            Phase::Recovering if recovering => {}
            // What was asked in the meantime will tell.
            _ => return,
        }
        tracing::error!(
            transactional_id = &*self.id,
            words,
            "fenced; nothing is delivered"
        );
        self.phase = Phase::Fenced;
        // The one that took over has ended what was open.
        self.age.over();
        self.status.error = Some(words);
        self.needs_person = true;
    }

    /// Whether a transaction may be open that is on its way to an end.
    pub(in super::super) fn is_ending(&self) -> bool {
        let on_its_way = match &self.phase {
            Phase::Quieting { .. } | Phase::Recovering => true,
            Phase::Open(open) => open.is_committing(),
            _ => false,
        };
        self.age.is_open() && on_its_way
    }

    /// For `status`.
    pub(in super::super) fn status(&self, now: Instant) -> TransactionStatus {
        let mut status = self.status.clone();
        status.phase = match &self.phase {
            Phase::Idle => "not begun",
            Phase::Quieting { .. } => "aborting",
            Phase::Recovering => "asking the coordinator and the position topic",
            Phase::Open(open) if open.is_committing() => "committing",
            Phase::Open(_) if self.age.is_open() => "open",
            Phase::Open(_) => "ready",
            Phase::Fenced => "fenced",
        };
        status.open_ms = self.age.open_ms(now);
        status.readers_wait = self.age.readers_wait(now);
        status
    }

    /// What only a person can mend, in words.
    pub(in super::super) fn halted(&self) -> Option<String> {
        self.status.error.clone().filter(|_| self.needs_person)
    }
}

/// Every event before `end`; sequence numbers begin at 1. A number beyond all that a spool can
/// have reached comes from a damaged record, and the drain refuses it.
fn all_before(end: Seq) -> SeqRanges {
    let mut ranges = SeqRanges::default();
    let mut first = 1;
    for _ in 0..RANGES_MAX {
        let count = u32::try_from(end.saturating_sub(first)).unwrap_or(u32::MAX);
        if count == 0 {
            break;
        }
        ranges.add(SeqRange { first, count });
        first += Seq::from(count);
    }
    ranges
}
