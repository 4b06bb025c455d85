//! The spool on a disk without space: it waits, drains, goes on, and loses nothing by it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use spoolway::event::EventBuf;
use spoolway::proof;
use spoolway::spool::{FullReason, OpenError, Spool, Want};

use crate::spool_rig::{
    Mount, Rig, SmallDisk, config, copy_dir, noise, skipped_mount, take_all_space,
};

/// Events of 60 KB that do not compress.
const EVENT: usize = 60_000;

/// Takes every inode of the file system but `left`: files can still be written to, and
/// hardly one be made.
fn take_all_inodes(folder: &Path, left: usize) -> Vec<PathBuf> {
    fs::create_dir(folder).unwrap();
    let names = (0..).map(|number| folder.join(number.to_string()));
    let mut taken: Vec<PathBuf> = names.take_while(|p| fs::write(p, "").is_ok()).collect();
    for _ in 0..left {
        fs::remove_file(taken.pop().unwrap()).unwrap();
    }
    taken
}

#[test]
fn a_generation_that_cannot_be_begun_takes_nothing_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mount) = Mount::tmpfs_of(dir.path().join("small"), "size=64m,nr_inodes=200") else {
        return skipped_mount("a_generation_that_cannot_be_begun_takes_nothing_with_it");
    };
    let place = mount.0.join("spool");
    let rig = Rig::open(&config(&place));
    rig.append(&[noise(1, EVENT)]);
    let taken = take_all_inodes(&mount.0.join("thief"), 3);
    for seed in 2..=40 {
        rig.append(&[noise(seed, EVENT)]);
    }
    let error = rig.opened.status.snapshot().last_error;
    assert!(
        error.is_some_and(|error| error.contains("cannot begin a new generation")),
        "nothing was in the way of a new generation: the test proves nothing"
    );
    // What a crash leaves now, and once the next generation was begun.
    let early = dir.path().join("early");
    copy_dir(&place, &early);
    taken.iter().for_each(|path| fs::remove_file(path).unwrap());
    for seed in 41..=60 {
        rig.append(&[noise(seed, EVENT)]);
    }
    let late = dir.path().join("late");
    copy_dir(&place, &late);
    for (image, count) in [(early, 40), (late, 60)] {
        let mut rig = Rig::open(&config(&image));
        let read = rig.read_all();
        let expected = (1..=count).map(|seq| (seq, noise(seq, EVENT)));
        assert!(
            read.iter().cloned().eq(expected),
            "{:?} of {count} are there: {:?}",
            read.len(),
            rig.opened.status.snapshot()
        );
        assert_eq!(rig.ledger().lost, 0);
        rig.close();
    }
    rig.close();
}

#[test]
fn a_file_system_that_cannot_set_space_aside_has_a_reserve_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mount) = Mount::ext2(dir.path(), 64 << 20) else {
        return skipped_mount(
            "a_file_system_that_cannot_set_space_aside_has_a_reserve_all_the_same",
        );
    };
    let rig = Rig::open(&config(&mount.0.join("spool")));
    let reserve = fs::metadata(mount.0.join("spool/reserve")).unwrap();
    assert_eq!(reserve.len(), 8 << 20);
    assert_eq!(rig.opened.status.snapshot().last_error, None);
    rig.close();
}

#[test]
fn a_disk_filled_by_others_is_survived_and_intake_resumes() {
    let Some(disk) = SmallDisk::new() else {
        return skipped_mount("a_disk_filled_by_others_is_survived_and_intake_resumes");
    };
    let mut rig = Rig::open(&disk.config);
    let before: Vec<_> = (1..=100).map(|seed| noise(seed, EVENT)).collect();
    rig.append(&before);

    // Somebody else takes every byte; the next commit meets a full disk.
    let thief = disk.thief();
    take_all_space(&thief);
    let mut buf = EventBuf::default();
    (101..=130).for_each(|seed| buf.push(&noise(seed, EVENT)));
    let source = spoolway::event::Source::of_input("test").into();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let appender = rig.opened.appender.clone();
    let mut pending = runtime
        .block_on(appender.append(buf, source, 1, Want::Durable))
        .unwrap();
    rig.wait_until("the intake is shut", |rig| {
        rig.opened.status.snapshot().full == Some(FullReason::WriteFailed)
    });
    runtime.block_on(async {
        let early = tokio::time::timeout(Duration::from_millis(300), pending.receipt()).await;
        assert!(early.is_err(), "no receipt while nothing can be written");
    });

    // What was accepted is read although the disk is full.
    let mut read = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(20);
    while read.len() < 100 {
        assert!(Instant::now() < deadline, "read {} of 100", read.len());
        if let Ok(Some(block)) = rig.opened.cursor.next() {
            read.extend(
                block
                    .events()
                    .map(|event| (event.seq, event.bytes.to_vec())),
            );
        }
    }
    assert!(
        read.iter()
            .zip(1..)
            .all(|((seq, b), n)| *seq == n && *b == noise(n, EVENT))
    );
    rig.ack(1..=100);

    fs::remove_file(&thief).unwrap();
    let receipt = runtime
        .block_on(async { tokio::time::timeout(Duration::from_secs(30), pending.receipt()).await });
    let range = receipt.expect("it resumes by itself").unwrap().range();
    assert_eq!((range.first, range.count), (101, 30));
    rig.wait_until("the intake is open", |rig| {
        rig.opened.status.snapshot().full.is_none()
    });
    assert_eq!(rig.read_all().len(), 30);
    let ledger = rig.ledger();
    assert_eq!(
        (ledger.accepted, ledger.delivered, ledger.lost),
        (130, 100, 0)
    );
    rig.close();
}

#[test]
fn a_full_disk_does_not_stop_the_start() {
    let Some(disk) = SmallDisk::new() else {
        return skipped_mount("a_full_disk_does_not_stop_the_start");
    };
    let rig = Rig::open(&disk.config);
    for seed in 1..=100 {
        rig.append(&[noise(seed, EVENT)]);
    }
    rig.close();
    take_all_space(&disk.thief());
    let mut rig = Rig::open(&disk.config);
    // As the drain does: what is acknowledged frees space for what comes next.
    let mut expected = 1;
    while let Some(block) = rig.opened.cursor.next().expect("the disk answers") {
        for event in block.events() {
            assert!(event.bytes == noise(expected, EVENT) && event.seq == expected);
            expected += 1;
        }
        rig.ack(block.first()..block.end());
    }
    assert_eq!(expected, 101);
    assert_eq!(rig.ledger().in_spool, 0);
    rig.close();
}

#[test]
fn without_its_reserve_a_full_disk_is_named_and_nothing_is_lost_by_it() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mount) = Mount::tmpfs(dir.path().join("small"), 32 << 20) else {
        return skipped_mount("without_its_reserve_a_full_disk_is_named_and_nothing_is_lost_by_it");
    };
    let (place, image) = (dir.path().join("spool"), mount.0.join("spool"));
    let rig = Rig::open(&config(&place));
    for seed in 1..=40 {
        rig.append(&[noise(seed, EVENT)]);
    }
    copy_dir(&place, &image);
    rig.close();
    take_all_space(&mount.0.join("thief"));
    let refused = Spool::open(&config(&image), proof::issue().0).expect_err("there is no space");
    let words = refused.to_string();
    assert!(matches!(refused, OpenError::NoSpace { .. }), "{words}");
    assert!(words.contains("free 8 MiB"), "{words}");
    fs::remove_file(mount.0.join("thief")).unwrap();
    let mut rig = Rig::open(&config(&image));
    assert_eq!(rig.read_all().len(), 40);
    rig.close();
}

#[test]
fn a_full_spool_refuses_and_takes_again_once_drained() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.max_bytes = 8 << 20;
    let mut rig = Rig::open(&config);
    let mut seed = 0;
    while rig.try_append(&[noise(seed + 1, EVENT)]).is_ok() {
        seed += 1;
        assert!(seed < 1000, "it never gets full");
    }
    assert_eq!(rig.opened.appender.is_full(), Some(FullReason::MaxBytes));
    assert_eq!(rig.read_all().len() as u64, seed);
    rig.ack(1..=seed);
    rig.wait_until("there is room again", |rig| {
        rig.opened.appender.is_full().is_none()
    });
    assert_eq!(rig.append(&[b"again"]).first, seed + 1);
    rig.close();
}
