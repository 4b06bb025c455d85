//! The spool as its users see it: threads, files and all.

use std::path::Path;
use std::sync::Arc;

use spoolway::event::{FileSource, Source};
use spoolway::proof::{self, SeqRange};
use spoolway::spool::{DeadLetter, OpenError, Spool};

use crate::spool_rig::{Rig, config, noise};

#[test]
fn what_was_appended_is_read_in_order_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Rig::open(&config(dir.path()));
    let big = noise(1, 3_000_000);
    assert_eq!(
        spool.append(&[&b"one"[..], b"", b"\0\xff"]),
        SeqRange { first: 1, count: 3 }
    );
    assert_eq!(
        spool.append(&[&big[..], b"after"]),
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
    let config = config(&dir.path().join("spool"));
    let mut spool = Rig::open(&config);
    spool.append(&[b"a", b"b", b"c", b"d"]);
    assert_eq!(spool.read_all().len(), 4);
    spool.ack(1..2);
    spool.ack(3..4);
    spool.close();

    let mut spool = Rig::open(&config);
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
    let mut config = config(&dir.path().join("spool"));
    config.generation_bytes = 2 << 20;
    let mut spool = Rig::open(&config);
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
    spool.ack(1..13);
    spool.wait_until("all generations but the newest are deleted", |spool| {
        spool.opened.status.snapshot().generations == 1
    });
    assert_eq!(spool.opened.status.snapshot().ledger.delivered, 12);
    spool.close();
    let spool = Rig::open(&config);
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
    let config = config(&dir.path().join("spool"));
    let spool = Rig::open(&config);
    let refused = Spool::open(&config, proof::issue().0);
    let pid = Some(std::process::id());
    assert!(matches!(refused, Err(OpenError::Locked { pid: found, .. }) if found == pid));
    spool.close();
}

#[test]
fn a_dead_letter_knows_the_file_it_came_from() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Rig::open(&config(dir.path()));
    let file = FileSource {
        inode: 5,
        device: 6,
        path: Path::new("/var/log/app.log").into(),
        captures: [("app".into(), "shop".into())].into(),
    };
    let letter = DeadLetter {
        seq: spool.append(&[b"refused"]).first,
        source: Source {
            file: Some(Arc::new(file)),
            ..Source::of_input("logs")
        },
        received: 1,
        topic: "topic".into(),
        partition: None,
        reason: "no route".into(),
        at: 2,
        bytes: b"refused".to_vec(),
    };
    let letters = &spool.opened.dead_letters;
    letters.put(vec![letter.clone()]).unwrap();
    assert_eq!(letters.get(letter.seq).unwrap(), Some(letter));
    spool.close();
}
