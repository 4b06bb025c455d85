//! Checkpoints on an undamaged spool: without events, with a file's, over the limits, on a full
//! disk.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use spoolway::event::{Checkpoint, EventBuf, FilePlace, FileRun};
use spoolway::spool::{
    AppendError, CHECKPOINT_VALUE_MAX, CHECKPOINTS_MAX, FILE_READ_BYTES, FILE_READ_EVENTS,
    FileRead, Want,
};

use crate::spool_checkpoints::{
    Files, check_agreement, checkpoint, checkpoints, config, image, source,
};
use crate::spool_rig::{Rig, SmallDisk, generations, noise, skipped_mount, take_all_space};

#[test]
fn checkpoints_without_events_are_durable_and_forgotten_on_request() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("live");
    let rig = Rig::open(&config(&place));
    let appender = &rig.opened.appender;
    let forget = Checkpoint {
        key: 2,
        value: None,
    };
    rig.block_on(async {
        let noted = appender
            .note(vec![checkpoint(1, 10), checkpoint(2, 20)])
            .await;
        noted.unwrap().durable().await.unwrap();
        let mut files = Files::new(7);
        files.lines.insert(1, 10);
        let read = files.read(1, 5);
        let mut pending = appender.append_file(read, Want::Durable).await.unwrap();
        // Sent before the events are durable, and yet the later one holds.
        let noted = appender
            .note(vec![checkpoint(1, 100), forget])
            .await
            .unwrap();
        pending.receipt().await.unwrap();
        noted.durable().await.unwrap();
    });
    let copied = dir.path().join("image");
    image(&rig, &place, &copied);
    rig.close();
    let found = Rig::open(&config(&copied));
    assert_eq!(checkpoints(&found), BTreeMap::from([(1, 100)]));
    found.close();
}

#[test]
fn a_spool_that_no_file_input_ever_used_has_no_checkpoint_file() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::open(&config(dir.path()));
    for seed in 0..100 {
        rig.append(&[noise(seed, 60_000)]);
    }
    rig.close();
    assert!(generations(dir.path()).len() > 1);
    assert!(!dir.path().join("checkpoints").exists());
    let rig = Rig::open(&config(dir.path()));
    assert_eq!(rig.opened.checkpoints, Default::default());
    rig.close();
}

#[test]
fn what_has_one_checkpoint_is_never_split_and_knows_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(&config(dir.path()));
    let full = |events: usize, bytes: usize| {
        let mut buf = EventBuf::default();
        (0..events).for_each(|n| buf.push(&noise(n as u64, bytes)));
        FileRead {
            events: buf,
            source: source(8),
            received: 1,
            runs: vec![
                FileRun {
                    count: 1,
                    offset: 100,
                    gap: 1,
                    is_cut: true,
                },
                FileRun {
                    count: events as u32 - 1,
                    offset: 5000,
                    gap: 2,
                    is_cut: false,
                },
            ],
            checkpoint: checkpoint(8, 1),
        }
    };
    // The large one keeps the committer busy, so that the others meet in one commit.
    let mut reads = vec![
        (1, 3_000_000),
        (10, 10),
        (4, FILE_READ_BYTES / 4),
        (FILE_READ_EVENTS, 8),
        (3, 1000),
        (2, FILE_READ_BYTES / 2),
    ];
    reads.extend([(5, 30_000); 24]);
    let ranges: Vec<_> = rig.block_on(async {
        let mut pending = Vec::new();
        for (events, bytes) in reads {
            let read = full(events, bytes);
            pending.push(
                rig.opened
                    .appender
                    .append_file(read, Want::Durable)
                    .await
                    .unwrap(),
            );
        }
        let mut ranges = Vec::new();
        for one in &mut pending {
            ranges.push(one.receipt().await.unwrap().range());
        }
        for (events, bytes) in [(FILE_READ_EVENTS + 1, 1), (2, FILE_READ_BYTES)] {
            let read = full(events, bytes);
            let refused = rig.opened.appender.append_file(read, Want::Durable).await;
            assert!(
                matches!(refused, Err(AppendError::TooMuchAtOnce { .. })),
                "{refused:?}"
            );
        }
        ranges
    });
    rig.close();
    rig = Rig::open(&config(dir.path()));
    let mut blocks = Vec::new();
    while let Some(block) = rig.opened.cursor.next().unwrap() {
        for event in block.events() {
            assert_eq!(event.source, &*source(8));
            let range = ranges
                .iter()
                .find(|r| (r.first..r.end()).contains(&event.seq))
                .unwrap();
            let bytes = event.bytes.len() as u64;
            let expected = match event.seq - range.first {
                0 => FilePlace {
                    offset: 100,
                    is_cut: true,
                },
                n => FilePlace {
                    offset: 5000 + (n - 1) * (bytes + 2),
                    is_cut: false,
                },
            };
            assert_eq!(event.place, Some(expected));
        }
        blocks.push(block.range());
    }
    for range in ranges {
        let holds = |block: &&spoolway::proof::SeqRange| {
            block.first <= range.first && range.end() <= block.end()
        };
        assert!(
            blocks.iter().any(|block| holds(&block)),
            "{range:?} was split"
        );
    }
    rig.close();
}

#[test]
fn checkpoints_over_a_limit_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::open(&config(dir.path()));
    let appender = &rig.opened.appender;
    rig.block_on(async {
        let long = Checkpoint {
            key: 1,
            value: Some(vec![0; CHECKPOINT_VALUE_MAX + 1].into()),
        };
        let refused = appender.note(vec![long]).await.unwrap_err();
        assert!(
            matches!(refused, AppendError::CheckpointTooLong { .. }),
            "{refused}"
        );
        let all = (0..CHECKPOINTS_MAX as u64)
            .map(|key| checkpoint(key, 0))
            .collect();
        appender.note(all).await.unwrap().durable().await.unwrap();
        let refused = appender
            .note(vec![checkpoint(u64::MAX, 0)])
            .await
            .unwrap_err();
        assert_eq!(refused, AppendError::TooManyCheckpoints);
        let forget = Checkpoint {
            key: 5,
            value: None,
        };
        let changes = vec![forget, checkpoint(u64::MAX, 0), checkpoint(6, 1)];
        appender
            .note(changes)
            .await
            .unwrap()
            .durable()
            .await
            .unwrap();
    });
    rig.close();
    let rig = Rig::open(&config(dir.path()));
    assert_eq!(rig.opened.checkpoints.entries.len(), CHECKPOINTS_MAX);
    rig.close();
}

#[test]
fn on_a_full_disk_checkpoints_wait_with_their_events() {
    let Some(disk) = SmallDisk::new() else {
        return skipped_mount("on_a_full_disk_checkpoints_wait_with_their_events");
    };
    let rig = Rig::open(&disk.config);
    let mut files = Files::new(8);
    let thief = disk.thief();
    take_all_space(&thief);
    rig.block_on(async {
        let appender = &rig.opened.appender;
        let many = (100..2000).map(|key| checkpoint(key, 0)).collect();
        let refused = appender.note(many).await.unwrap().durable().await;
        assert_eq!(refused, Err(AppendError::NotWritten));
        let read = files.read(1, 300);
        let mut pending = appender.append_file(read, Want::Durable).await.unwrap();
        let early = tokio::time::timeout(Duration::from_millis(300), pending.receipt()).await;
        assert!(early.is_err(), "no receipt while nothing can be written");
        fs::remove_file(&thief).unwrap();
        tokio::time::timeout(Duration::from_secs(30), pending.receipt())
            .await
            .expect("it resumes by itself")
            .unwrap();
        appender.wait_for_room().await.unwrap();
        let forget = (100..2000)
            .map(|key| Checkpoint { key, value: None })
            .collect();
        appender
            .note(forget)
            .await
            .unwrap()
            .durable()
            .await
            .unwrap();
    });
    let copied = disk.folder.path().join("image");
    image(&rig, &disk.config.dir, &copied);
    rig.close();
    assert_eq!(check_agreement(&copied, "full disk"), (files.lines, None));
}
