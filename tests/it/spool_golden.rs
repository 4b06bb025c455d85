//! Spool directories as earlier builds left them, open and complete in this one.
//!
//! `SPOOLWAY_WRITE_FIXTURES=1` writes the sample of this build; a sample that was released is
//! never written again.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use spoolway::event::{Checkpoint, EventBuf, FilePlace, FileRun, FileSource, Peer, Source};
use spoolway::spool::{Counts, FileRead, Want};

use crate::spool_rig::{Rig, config};

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/spool_v1/spool.tar.gz")
}

fn checkpoint() -> Checkpoint {
    Checkpoint {
        key: 77,
        value: Some(b"app.log, 23 bytes".as_slice().into()),
    }
}

fn file_source() -> Source {
    Source {
        file: Some(Arc::new(FileSource {
            inode: 1234,
            device: 2049,
            path: Path::new("/var/log/shop/app.log").into(),
            captures: [("app".into(), "shop".into())].into(),
        })),
        ..Source::of_input("logs")
    }
}

fn tar(args: &[&str], archive: &Path, dir: &Path) {
    let mut command = Command::new("tar");
    command.args(args).arg(archive).arg("-C").arg(dir);
    if args.first() == Some(&"-cz") {
        command.arg(".");
    }
    let status = command.status();
    assert!(status.unwrap().success());
}

/// A spool with a little of everything, closed in order.
fn write(archive: &Path) {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(&config(dir.path()));
    let lines: Vec<String> = (1..=20).map(|n| format!("{{\"n\":{n}}}")).collect();
    rig.append(&lines);
    let peer = Some(Peer {
        uid: 1000,
        gid: 100,
        pid: 42,
    });
    let socket = Source {
        peer,
        ..Source::of_input("socket")
    };
    rig.block_on(async {
        let appender = &rig.opened.appender;
        let mut events = EventBuf::default();
        events.push(b"from a socket\0\xff");
        let pending = appender.append(events, Arc::new(socket), 1_795_000_000_000, Want::Durable);
        pending.await.unwrap().receipt().await.unwrap();
        let mut events = EventBuf::default();
        events.push(b"first line");
        events.push(b"second line");
        let read = FileRead {
            events,
            source: Arc::new(file_source()),
            received: 1_795_000_000_001,
            runs: vec![FileRun {
                count: 2,
                offset: 0,
                gap: 1,
                is_cut: false,
            }],
            checkpoint: checkpoint(),
        };
        let mut pending = appender.append_file(read, Want::Durable).await.unwrap();
        pending.receipt().await.unwrap();
    });
    rig.read_all();
    rig.ack([1, 2, 3, 5]);
    rig.dead_letter(&[4]);
    rig.close();
    let except = [
        "-cz",
        "--exclude=./LOCK",
        "--exclude=./reserve",
        "--sort=name",
        "-f",
    ];
    tar(&except, archive, dir.path());
}

#[test]
fn a_spool_of_format_1_is_opened_and_read_for_ever() {
    if std::env::var_os("SPOOLWAY_WRITE_FIXTURES").is_some() {
        write(&fixture());
    }
    let dir = tempfile::tempdir().unwrap();
    tar(&["-xzf"], &fixture(), dir.path());
    let mut rig = Rig::open(&config(dir.path()));
    assert!(rig.opened.recovery.missing.is_empty());
    assert_eq!(rig.opened.recovery.in_spool, 18);
    let expected = [(checkpoint().key, checkpoint().value.unwrap())].into();
    assert_eq!(rig.opened.checkpoints.entries, expected);
    assert!(rig.opened.checkpoints.is_complete());

    let ledger = rig.ledger();
    let counts = Counts {
        delivered: ledger.delivered,
        dead_lettered: ledger.dead_lettered,
        dropped: ledger.dropped,
        lost: ledger.lost,
    };
    assert_eq!((ledger.accepted, counts.total()), (23, 5));
    assert_eq!((counts.delivered, counts.dead_lettered), (4, 1));
    let letter = rig.opened.dead_letters.get(4).unwrap().unwrap();
    assert_eq!(
        (letter.bytes, letter.topic),
        (b"4".to_vec(), "topic".to_owned())
    );

    let mut seqs = Vec::new();
    while let Some(block) = rig.opened.cursor.next().unwrap() {
        for event in block
            .events()
            .filter(|e| rig.opened.cursor.is_unresolved(e.seq))
        {
            seqs.push(event.seq);
            match event.seq {
                21 => {
                    assert_eq!(event.bytes, b"from a socket\0\xff");
                    assert_eq!(event.source.peer.unwrap().pid, 42);
                    assert_eq!((event.received, event.place), (1_795_000_000_000, None));
                }
                22 | 23 => {
                    assert_eq!(event.source, &file_source());
                    let offset = if event.seq == 22 { 0 } else { 11 };
                    let place = FilePlace {
                        offset,
                        is_cut: false,
                    };
                    assert_eq!(event.place, Some(place));
                }
                n => assert_eq!(event.bytes, format!("{{\"n\":{n}}}").as_bytes()),
            }
        }
    }
    assert_eq!(seqs, Vec::from_iter(6..=23));
    assert_eq!(rig.append(&[b"goes on"]).first, 24);
    rig.close();
}
