//! The actor's side of transactions: carries out what the machine of `txn` wants done.
//!
//! Decides nothing about runs; that is the machine's part, as batches are the core's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::super::core::{Action, Now};
use super::super::txn::{Ask, CoordinatorTask, Machine, Step};
use super::super::{AbortCause, Batch, Report, TransactionStatus};
use super::{Actor, Event};
use crate::config::TransactionConfig;
use crate::proof::BrokerAuthority;

/// The machine, and what the actor needs beside it.
#[derive(Debug)]
pub(super) struct Transact {
    machine: Machine,
    config: TransactionConfig,
    asks: Option<mpsc::UnboundedSender<Ask>>,
    implicit: bool,
}

impl Transact {
    pub(super) fn new(
        authority: BrokerAuthority,
        config: &TransactionConfig,
        linger: Duration,
    ) -> Self {
        Self {
            machine: Machine::new(authority, config, linger),
            config: config.clone(),
            asks: None,
            implicit: false,
        }
    }

    /// `transactional.id`
    pub(super) fn id(&self) -> &Arc<str> {
        &self.config.id
    }

    /// Whether partitions join the transaction by being written.
    pub(super) fn is_implicit(&self) -> bool {
        self.implicit
    }

    pub(super) fn next_wakeup(&self) -> Option<Instant> {
        self.machine.next_wakeup()
    }

    pub(super) fn status(&self, now: Instant) -> TransactionStatus {
        self.machine.status(now)
    }

    /// What only a person can mend.
    pub(super) fn halted(&self) -> Option<String> {
        self.machine.halted()
    }

    /// The producer is closed: an open transaction is aborted, so that it pins nobody.
    pub(super) fn close(&mut self, now: Now) {
        let words = "the producer was closed".to_owned();
        self.machine.abort(AbortCause::Passing { words }, now);
    }

    /// Whether a transaction is on its way to its end.
    pub(super) fn is_ending(&self) -> bool {
        self.machine.is_ending()
    }

    pub(super) fn batch(&mut self, batch: Batch, now: Now) {
        self.machine.batch(batch, now);
    }

    pub(super) fn handle(&mut self, event: Event, now: Now) {
        match event {
            Event::Begin { spool_id } => self.machine.begin(spool_id),
            Event::CloseRun { run, end } => self.machine.close(run, end, now),
            Event::AbortRun { run, words } => self.machine.abort_run(run, words, now),
            Event::Coordinator(news) => self.machine.news(news, now),
            _ => {}
        }
    }

    /// Takes what the core says about the run; gives back what is not about it.
    pub(super) fn take(&mut self, action: Action, now: Now) -> Option<Action> {
        let cause = match action {
            Action::Stored { to, ranges, bytes } => {
                self.machine.stored(to, ranges, bytes);
                return None;
            }
            Action::Report(Report::Refused {
                refused,
                verdict,
                returned,
            }) => AbortCause::Refused {
                to: returned.to,
                refused,
                verdict,
            },
            Action::Report(Report::Returned { returned, reason }) => AbortCause::Passing {
                words: format!("{}: {reason}", returned.to),
            },
            // The core would go on under another epoch, which is not its to choose here.
            Action::WantIdentity => AbortCause::Passing {
                words: "a broker does not take the transaction's batches as they are".into(),
            },
            other => return Some(other),
        };
        self.machine.abort(cause, now);
        None
    }
}

impl Actor {
    pub(super) fn start_coordinator(&mut self) {
        if self.transact.is_none() {
            return;
        }
        let (asks, wiring) = self.wire(Event::Coordinator);
        if let Some(transact) = &mut self.transact {
            transact.asks = Some(asks);
            let task = CoordinatorTask::new(wiring, transact.config.clone());
            super::fleet::start_vital(self.events.clone(), task.run());
        }
    }

    /// Carries out what the machine wants done, and what follows from it.
    pub(super) fn transact(&mut self, now: Now) {
        loop {
            let Some(transact) = &mut self.transact else {
                return;
            };
            transact.machine.tick(now);
            if transact.machine.wants_quiet() && self.core.requests() == 0 {
                transact.machine.quiet();
            }
            let steps = transact.machine.take_steps();
            if steps.is_empty() {
                return;
            }
            for step in steps {
                self.take_step(step, now);
            }
            self.act(now);
        }
    }

    fn take_step(&mut self, step: Step, now: Now) {
        match step {
            Step::Ask(ask) => {
                if let Some(asks) = self.transact.as_ref().and_then(|t| t.asks.as_ref()) {
                    let _ = asks.send(ask);
                }
            }
            Step::Send(mut batch) => {
                self.want(&batch.to.topic, now);
                batch.term = self.core.term_of(&batch.to);
                self.core.send(batch, now);
            }
            Step::Forget => self.core.forget(),
            Step::Renew(identity, implicit) => {
                if let Some(transact) = &mut self.transact {
                    transact.implicit = implicit;
                }
                self.core.renew(identity, now);
            }
            Step::Denied { topic, words } => self.denied(&topic, words, now),
            Step::Report(report) => (self.reports)(report),
            Step::Publish => {
                self.status_stale = true;
                self.status_due = now.mono;
            }
        }
    }
}
