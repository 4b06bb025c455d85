//! The keeper, when the disk does not take what it writes down.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::{SpoolCodec, SpoolConfig, WhenFull};
use crate::event::{EventBuf, Source};
use crate::proof::{self, SeqRange};
use crate::spool::generations::State;
use crate::spool::ledger::Ending;
use crate::spool::shared::lock;
use crate::spool::{Opened, Spool, Want};

/// So many events in one span, resolved one by one, make a record that no store takes.
const EVENTS: u64 = 60_000;

async fn filled(dir: &std::path::Path) -> Opened {
    let config = SpoolConfig {
        dir: dir.to_owned(),
        max_bytes: 1 << 30,
        min_free: 0,
        max_event_bytes: 1 << 20,
        when_full: WhenFull::Reject,
        commit_interval: Duration::ZERO,
        compression: SpoolCodec::Lz4,
        generation_bytes: 1 << 30,
        intake_memory: 8 << 20,
        cache_bytes: 1 << 20,
        dead_letter_max_bytes: 64 << 20,
    };
    let opened = Spool::open(&config, proof::issue().0).unwrap();
    let mut events = EventBuf::default();
    (0..EVENTS).for_each(|_| events.push(b"x"));
    let source = Arc::new(Source::of_input("test"));
    let append = opened.appender.append(events, source, 1, Want::Durable);
    append.await.unwrap().receipt().await.unwrap();
    opened
}

#[tokio::test]
async fn what_a_closed_generation_could_not_write_down_is_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = filled(dir.path()).await;
    let shared = opened.handle.shared.clone();
    opened.handle.mailbox.rotate();
    let deadline = Instant::now() + Duration::from_secs(20);
    let wait = |what: &str, is_so: &dyn Fn() -> bool| {
        while !is_so() {
            assert!(Instant::now() < deadline, "waited in vain: {what}");
            std::thread::park_timeout(Duration::from_millis(5));
        }
    };
    wait("a new generation", &|| {
        lock(&shared.table).generations.len() == 2
    });
    {
        let mut table = lock(&shared.table);
        let Some(State::Open(open)) = table.generations.get_mut(&1).map(|g| &mut g.state) else {
            panic!("the first generation is open");
        };
        open.tracker.saw(1, EVENTS, 1);
        for first in (1..=EVENTS).step_by(2) {
            let one = SeqRange { first, count: 1 };
            table.resolve(one, Ending::Delivered, |_, _| {});
        }
    }
    shared.changed.notify_all();
    wait("the generation is closed", &|| {
        let table = lock(&shared.table);
        let first = table.generations.get(&1);
        first.is_some_and(|g| matches!(g.state, State::Closed(_)))
    });
    opened.cursor.reread(2).unwrap().unwrap();
    for seq in [1, 2, 31, 32, EVENTS - 1, EVENTS] {
        assert_eq!(opened.cursor.is_unresolved(seq), seq % 2 == 0, "{seq}");
    }
}

#[tokio::test]
async fn a_thread_of_the_spool_that_has_ended_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let opened = filled(dir.path()).await;
    assert_eq!(opened.handle.ended(), None);
    // To be told what is not so makes it end, as a panic would.
    opened.handle.mailbox.close(Instant::now());
    let deadline = Instant::now() + Duration::from_secs(20);
    while opened.handle.ended() != Some("the spool's committer") {
        assert!(Instant::now() < deadline, "it is not noticed");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}
