//! The spool as its users see it: threads, files and all.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::config::{SpoolCodec, SpoolConfig, WhenFull};
use crate::event::{EventBuf, Source};
use crate::proof::{self, BrokerAuthority, Seq, SeqRange};

fn config(dir: &Path) -> SpoolConfig {
    SpoolConfig {
        dir: dir.join("spool"),
        max_bytes: 1 << 30,
        min_free: 0,
        max_event_bytes: 16 << 20,
        when_full: WhenFull::Reject,
        commit_interval: Duration::ZERO,
        compression: SpoolCodec::Lz4,
        generation_bytes: 32 << 20,
        intake_memory: 8 << 20,
        cache_bytes: 1 << 20,
        dead_letter_max_bytes: 1 << 20,
    }
}

struct Fixture {
    opened: Opened,
    broker: BrokerAuthority,
    runtime: tokio::runtime::Runtime,
}

impl Fixture {
    fn open(config: &SpoolConfig) -> Self {
        let (disk, broker) = proof::issue();
        let opened = Spool::open(config, disk).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        Self {
            opened,
            broker,
            runtime,
        }
    }

    fn append(&self, events: &[&[u8]]) -> SeqRange {
        let mut buf = EventBuf::default();
        events.iter().for_each(|event| buf.push(event));
        let source = Arc::new(Source::of_input("test"));
        self.runtime.block_on(async {
            let append = self
                .opened
                .appender
                .append(buf, source, 1234, Want::Durable);
            append.await.unwrap().receipt().await.unwrap().range()
        })
    }

    fn read_all(&mut self) -> Vec<(Seq, Vec<u8>)> {
        let mut all = Vec::new();
        while let Some(block) = self.opened.cursor.next().unwrap() {
            for event in block.events() {
                if self.opened.cursor.is_unresolved(event.seq) {
                    all.push((event.seq, event.bytes.to_vec()));
                }
            }
        }
        all
    }

    fn ack(&mut self, first: Seq, count: u32) {
        let proof = self.broker.acked(SeqRange { first, count }.into());
        self.opened.cursor.acked(proof);
        self.opened.cursor.checkpoint();
    }

    fn close(self) {
        assert!(
            self.opened
                .handle
                .close(Instant::now() + Duration::from_secs(20))
        );
    }
}

/// Random bytes: a block of them does not shrink.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| rng.u8(..)).take(len).collect()
}

#[test]
fn what_was_appended_is_read_in_order_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Fixture::open(&config(dir.path()));
    let big = noise(1, 3_000_000);
    assert_eq!(
        spool.append(&[b"one", b"", b"\0\xff"]),
        SeqRange { first: 1, count: 3 }
    );
    assert_eq!(
        spool.append(&[&big, b"after"]),
        SeqRange { first: 4, count: 2 }
    );
    let expected: Vec<&[u8]> = vec![b"one", b"", b"\0\xff", &big, b"after"];
    let read = spool.read_all();
    assert_eq!(
        read.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(),
        [1, 2, 3, 4, 5]
    );
    assert!(read.iter().map(|(_, bytes)| bytes.as_slice()).eq(expected));
    spool.close();
}

#[test]
fn unresolved_events_survive_a_restart_and_resolved_ones_do_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let mut spool = Fixture::open(&config);
    spool.append(&[b"a", b"b", b"c", b"d"]);
    assert_eq!(spool.read_all().len(), 4);
    spool.ack(1, 1);
    spool.ack(3, 1);
    spool.close();

    let mut spool = Fixture::open(&config);
    assert_eq!(spool.opened.recovery.in_spool, 2);
    assert_eq!(spool.read_all(), [(2, b"b".to_vec()), (4, b"d".to_vec())]);
    let ledger = spool.opened.status.snapshot().ledger;
    assert_eq!(
        (ledger.accepted, ledger.delivered, ledger.in_spool),
        (4, 2, 2)
    );
    assert_eq!(spool.append(&[b"e"]), SeqRange { first: 5, count: 1 });
    spool.close();
}

#[test]
fn drained_generations_give_their_space_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.generation_bytes = 2 << 20;
    let mut spool = Fixture::open(&config);
    for round in 0..12 {
        spool.append(&[&noise(round, 1_000_000)]);
    }
    let full = spool.opened.status.snapshot();
    assert!(full.generations >= 4, "{full:?}");
    let read = spool.read_all();
    assert_eq!(read.len(), 12);
    assert!(
        read.iter()
            .zip(0..)
            .all(|((_, bytes), round)| *bytes == noise(round, 1_000_000))
    );
    spool.ack(1, 12);
    let deadline = Instant::now() + Duration::from_secs(20);
    while spool.opened.status.snapshot().generations > 1 {
        assert!(
            Instant::now() < deadline,
            "{:?}",
            spool.opened.status.snapshot()
        );
        std::thread::yield_now();
    }
    assert_eq!(spool.opened.status.snapshot().ledger.delivered, 12);
    spool.close();
    let spool = Fixture::open(&config);
    let ledger = spool.opened.status.snapshot().ledger;
    assert_eq!(
        (
            ledger.accepted,
            ledger.delivered,
            ledger.in_spool,
            ledger.lost
        ),
        (12, 12, 0, 0)
    );
    spool.close();
}

#[test]
fn a_second_opener_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let spool = Fixture::open(&config);
    let refused = Spool::open(&config, proof::issue().0);
    let pid = Some(std::process::id());
    assert!(matches!(refused, Err(OpenError::Locked { pid: found, .. }) if found == pid));
    spool.close();
}
