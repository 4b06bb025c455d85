//! The machine by scripted sequences: when it proves, when it gives up, when it stops.

use std::time::{Duration, Instant};

use super::coordinator::{Ask, News};
use super::machine::{Machine, Step};
use super::report::{AbortCause, RunReport};
use crate::config::{Compression, TransactionConfig};
use crate::kafka::core::{Identity, Now};
use crate::kafka::position::Position;
use crate::kafka::position::reader::Located;
use crate::kafka::{Batch, BatchBuilder, RecordRef, Report, TopicPartition};
use crate::proof::{self, Seq, SeqRange, SeqRanges};

const TIMEOUT: Duration = Duration::from_secs(60);

struct World {
    machine: Machine,
    now: Now,
}

fn partition(topic: &str) -> TopicPartition {
    TopicPartition {
        topic: topic.into(),
        partition: 0,
    }
}

fn identity(epoch: i16) -> Identity {
    Identity { id: 7, epoch }
}

fn end(end: Seq) -> Position {
    Position { end, check: 1 }
}

fn ranges(first: Seq, count: u32) -> SeqRanges {
    SeqRanges::from(SeqRange { first, count })
}

fn batch(topic: &str, run: u32, events: SeqRanges) -> Batch {
    let mut builder = BatchBuilder::new();
    builder.push(&RecordRef {
        key: None,
        value: Some(b"x"),
        timestamp: None,
        headers: &[],
    });
    Batch {
        to: partition(topic),
        encoded: builder.seal(Compression::None).unwrap(),
        ranges: events,
        term: run,
        expires: None,
    }
}

/// Steps as words, so that a test reads as what happened.
fn words(step: &Step) -> String {
    match step {
        Step::Ask(Ask::Recover { abort, .. }) => {
            format!("recover, abort {:?}", abort.map(|identity| identity.epoch))
        }
        Step::Ask(Ask::Add { partitions, .. }) => {
            let names = partitions.iter().map(|to| to.topic.to_string());
            format!("add {}", names.collect::<Vec<_>>().join(" "))
        }
        Step::Ask(Ask::Commit { identity }) => format!("commit {}", identity.epoch),
        Step::Send(batch) => format!("send {}", batch.to.topic),
        Step::Forget => "forget".to_owned(),
        Step::Renew(identity, _) => format!("renew {}", identity.epoch),
        Step::Publish => "publish".to_owned(),
        Step::Denied { topic, .. } => format!("denied {topic}"),
        Step::Report(Report::Run(report)) => match report {
            RunReport::Ready { run, recovered } => {
                let proven = recovered.as_ref().map_or(0, |r| r.proof.ranges().len());
                format!("ready {run}, {proven} proven")
            }
            RunReport::Stored { run, to, .. } => format!("stored {run} {}", to.topic),
            RunReport::Committed { run, proofs } => {
                let proven: u64 = proofs.iter().map(|proof| proof.ranges().len()).sum();
                format!("committed {run}, {proven} proven")
            }
            RunReport::Aborted { run, .. } => format!("aborted {run}"),
        },
        Step::Report(other) => format!("{other:?}"),
    }
}

impl World {
    fn new() -> Self {
        let (_, authority) = proof::issue();
        let config = TransactionConfig {
            id: "id".into(),
            timeout: TIMEOUT,
            position_topic: "positions".into(),
        };
        let mut world = Self {
            machine: Machine::new(authority, &config, Duration::ZERO),
            now: Now {
                mono: Instant::now(),
                unix_ms: 1_000_000,
            },
        };
        world.machine.begin(1);
        assert_eq!(world.steps(), ["recover, abort None"]);
        world
    }

    /// Ready for run 0.
    fn ready(implicit: bool) -> Self {
        let mut world = Self::new();
        world.recovered(implicit, 0, None);
        assert_eq!(world.steps(), ["renew 0", "ready 0, 0 proven"]);
        world
    }

    /// Run 0 with one batch, which is on the wire.
    fn filled() -> Self {
        let mut world = Self::ready(true);
        let now = world.now;
        world.machine.batch(batch("a", 0, ranges(1, 2)), now);
        assert_eq!(world.steps(), ["send a"]);
        world
    }

    /// Run 0 complete, and being committed.
    fn committing() -> Self {
        let mut world = Self::filled();
        world.machine.close(0, end(3), world.now);
        assert_eq!(world.steps(), ["send positions"]);
        world.machine.stored(partition("a"), ranges(1, 2), 10);
        assert_eq!(world.steps(), ["stored 0 a"]);
        world
            .machine
            .stored(partition("positions"), SeqRanges::default(), 10);
        assert_eq!(world.steps(), ["commit 0"]);
        world
    }

    fn recovered(&mut self, implicit: bool, epoch: i16, position: Option<Position>) {
        let located = Located {
            to: partition("positions"),
            position,
        };
        self.news(News::Recovered {
            identity: identity(epoch),
            implicit,
            located,
        });
    }

    fn news(&mut self, news: News) {
        self.machine.news(news, self.now);
    }

    fn fenced(&mut self, recovering: bool) {
        let words = "another".into();
        self.news(News::Fenced { words, recovering });
    }

    /// Time goes by on both clocks.
    fn later(&mut self, by: Duration) {
        self.now.mono += by;
        self.now.unix_ms += i64::try_from(by.as_millis()).unwrap();
    }

    fn abort(&mut self) {
        let words = "in doubt".into();
        self.machine.abort(AbortCause::Passing { words }, self.now);
    }

    fn steps(&mut self) -> Vec<String> {
        self.machine.take_steps().iter().map(words).collect()
    }
}

#[test]
fn nothing_is_proven_before_the_commit_is_answered() {
    let mut world = World::committing();
    let next = Some(identity(1));
    world.news(News::Committed { next });
    assert_eq!(world.steps(), ["renew 1", "committed 0, 2 proven"]);
    world.machine.batch(batch("a", 1, ranges(3, 1)), world.now);
    assert_eq!(world.steps(), ["send a"], "the next run is open at once");
}

#[test]
fn without_version_two_a_partition_joins_before_its_batches_go() {
    let mut world = World::ready(false);
    world.machine.batch(batch("a", 0, ranges(1, 1)), world.now);
    assert_eq!(world.steps(), ["add a positions"]);
    world.machine.batch(batch("a", 0, ranges(2, 1)), world.now);
    world.machine.batch(batch("b", 0, ranges(3, 1)), world.now);
    assert_eq!(world.steps(), [""; 0]);
    world.news(News::Added);
    assert_eq!(world.steps(), ["send a", "send a", "add b"]);
    world.machine.close(0, end(4), world.now);
    assert_eq!(world.steps(), ["send positions"], "it has joined");
    for topic in ["a", "a", "positions"] {
        world
            .machine
            .stored(partition(topic), SeqRanges::default(), 1);
    }
    assert_eq!(world.steps(), [""; 0], "b is still to come");
    world.news(News::Added);
    world
        .machine
        .stored(partition("b"), SeqRanges::default(), 1);
    assert_eq!(world.steps(), ["send b", "commit 0"]);
    world.news(News::Committed { next: None });
    assert_eq!(world.steps(), ["committed 0, 0 proven"]);
    world.machine.batch(batch("a", 1, ranges(4, 1)), world.now);
    assert_eq!(world.steps(), ["add a positions"], "each transaction anew");
}

#[test]
fn an_abort_forgets_waits_for_the_wire_and_begins_behind_the_position() {
    let mut world = World::filled();
    world.abort();
    assert_eq!(world.steps(), ["forget", "aborted 0"]);
    world.machine.batch(batch("a", 0, ranges(3, 1)), world.now);
    assert_eq!(world.steps(), [""; 0], "a late batch of the run is dropped");
    assert!(world.machine.wants_quiet());
    world.machine.quiet();
    assert_eq!(world.steps(), ["recover, abort Some(0)"]);
    world.recovered(true, 1, Some(end(11)));
    assert_eq!(world.steps(), ["renew 1", "ready 1, 10 proven"]);
    world.machine.batch(batch("a", 0, ranges(3, 1)), world.now);
    assert_eq!(world.steps(), [""; 0], "and so is a later one");
}

#[test]
fn a_commit_without_success_proves_nothing_and_asks_the_position() {
    let mut world = World::committing();
    world.abort();
    assert_eq!(world.steps(), [""; 0], "its fate is the coordinator's");
    world.news(News::NotCommitted {
        words: "no such state".into(),
    });
    assert_eq!(world.steps(), ["forget", "aborted 0"]);
    world.machine.quiet();
    world.recovered(true, 2, Some(end(3)));
    let steps = world.steps();
    assert_eq!(steps[2], "ready 1, 2 proven", "the commit had happened");
}

#[test]
fn a_newer_epoch_before_the_time_is_up_is_another_instance() {
    let mut world = World::committing();
    world.later(TIMEOUT - Duration::from_millis(1));
    world.fenced(false);
    assert_eq!(world.steps(), ["forget", "aborted 0"]);
    assert!(!world.machine.wants_quiet(), "nothing more is asked");
    assert_eq!(world.machine.halted().as_deref(), Some("another"));
    assert_eq!(world.machine.status(world.now.mono).phase, "fenced");
    world.machine.batch(batch("a", 1, ranges(3, 1)), world.now);
    world.machine.begin(1);
    assert_eq!(world.steps(), [""; 0]);
}

#[test]
fn a_newer_epoch_after_the_time_was_up_may_be_the_coordinators_own() {
    let mut world = World::committing();
    world.later(TIMEOUT);
    world.fenced(false);
    assert_eq!(world.steps(), ["forget", "aborted 0"]);
    world.machine.quiet();
    // Without the old epoch: it is not ours any more, and would be refused for ever.
    assert_eq!(world.steps(), ["recover, abort None"]);
    assert_eq!(world.machine.halted(), None);
}

#[test]
fn a_link_that_was_down_for_longer_than_the_timeout_is_no_second_instance() {
    let mut world = World::filled();
    world.abort();
    world.machine.quiet();
    assert_eq!(
        world.steps(),
        ["forget", "aborted 0", "recover, abort Some(0)"]
    );
    // Asked in time, and answered when the coordinator had aborted by itself.
    world.later(TIMEOUT);
    world.fenced(true);
    assert_eq!(world.steps(), ["recover, abort None"]);
    world.recovered(true, 2, None);
    assert_eq!(world.steps(), ["renew 2", "ready 1, 0 proven"]);
}

#[test]
fn a_host_that_slept_through_the_timeout_is_no_second_instance() {
    let mut world = World::committing();
    world.now.unix_ms += i64::try_from(TIMEOUT.as_millis()).unwrap();
    world.fenced(false);
    assert!(world.machine.wants_quiet());
}

#[test]
fn an_answer_to_an_earlier_question_does_not_end_the_recovery() {
    let mut world = World::filled();
    world.abort();
    world.machine.quiet();
    world.fenced(false);
    assert_eq!(world.machine.halted(), None, "the recovery will tell");
    world.fenced(true);
    assert_eq!(world.machine.halted().as_deref(), Some("another"));
}

#[test]
fn readers_that_wait_are_told_of_and_a_run_is_given_up_before_the_coordinator_does() {
    let mut world = World::filled();
    let warned = world.machine.next_wakeup().unwrap();
    assert_eq!(world.machine.status(world.now.mono).readers_wait, None);
    world.later(warned - world.now.mono);
    world.machine.tick(world.now);
    assert_eq!(world.steps(), ["publish"]);
    let words = world.machine.status(warned).readers_wait.unwrap();
    assert!(words.contains("see nothing new in a-0"), "{words}");
    let due = world.machine.next_wakeup().unwrap();
    let early = due - world.now.mono;
    assert!(early < TIMEOUT, "before transaction.timeout.ms");
    world.later(early - Duration::from_millis(1));
    world.machine.tick(world.now);
    assert_eq!(world.steps(), [""; 0]);
    world.later(Duration::from_millis(1));
    world.machine.tick(world.now);
    assert_eq!(world.steps(), ["forget", "aborted 0"]);
    let status = world.machine.status(due);
    assert!(
        status
            .last_abort
            .unwrap()
            .contains("transaction.timeout.ms")
    );
}

#[test]
fn a_run_that_is_being_committed_is_waited_for() {
    let mut world = World::committing();
    world.later(TIMEOUT);
    world.machine.tick(world.now);
    assert_eq!(world.steps(), ["publish"], "readers wait as well");
    assert_eq!(world.machine.next_wakeup(), None);
    world.later(10 * TIMEOUT);
    world.machine.tick(world.now);
    assert_eq!(world.steps(), [""; 0]);
}

#[test]
fn a_forbidden_topic_is_told_apart_from_the_run() {
    let mut world = World::ready(false);
    world.machine.batch(batch("a", 0, ranges(1, 1)), world.now);
    world.steps();
    world.news(News::NotAdded {
        denied: Some("a".into()),
        words: "no right".into(),
    });
    assert_eq!(world.steps(), ["denied a", "forget", "aborted 0"]);
}

#[test]
fn a_position_beyond_all_reason_takes_no_memory() {
    let mut world = World::new();
    world.recovered(true, 0, Some(end(Seq::MAX)));
    let steps = world.machine.take_steps();
    let found = steps.iter().find_map(|step| match step {
        Step::Report(Report::Run(RunReport::Ready { recovered, .. })) => recovered.as_ref(),
        _ => None,
    });
    assert!(found.unwrap().proof.ranges().ranges().count() <= 1024);
}
