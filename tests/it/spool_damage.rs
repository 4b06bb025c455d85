//! The spool on damaged, foreign and full directories: it starts, counts and goes on.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use spoolway::config::SpoolCodec;
use spoolway::event::EventBuf;
use spoolway::proof;
use spoolway::spool::{FullReason, OpenError, Spool, Want};

use crate::spool_rig::{Mount, Rig, config, copy_dir, generations, noise, skipped, take_all_space};

/// Events of 60 KB that do not compress.
const EVENT: usize = 60_000;

/// A closed spool of `count` such events in several generations.
fn filled(dir: &Path, count: u64) -> PathBuf {
    let place = dir.join("filled");
    let rig = Rig::open(&config(&place));
    for seed in 1..=count {
        rig.append(&[noise(seed, EVENT)]);
    }
    rig.close();
    place
}

/// Opens what is in `place`, reads all of it, and checks that every event is either read
/// unchanged or in a reported stretch and counted as lost. Returns the number lost.
fn check(place: &Path, count: u64) -> u64 {
    let mut rig = Rig::open(&config(place));
    let read = rig.read_all();
    assert!(read.is_sorted_by_key(|(seq, _)| *seq));
    for (seq, bytes) in &read {
        assert!(
            *bytes == noise(*seq, EVENT),
            "event {seq} came back changed"
        );
    }
    let status = rig.opened.status.snapshot();
    let ledger = rig.ledger();
    let read_seqs: Vec<u64> = read.iter().map(|(seq, _)| *seq).collect();
    for seq in (1..=count).filter(|seq| !read_seqs.contains(seq)) {
        let told = status
            .missing
            .iter()
            .any(|gone| (gone.first..gone.end).contains(&seq));
        assert!(
            told,
            "event {seq} went without a word: {:?}",
            status.missing
        );
    }
    for gone in &status.missing {
        let kept = gone.quarantine.as_deref();
        assert!(kept.is_none_or(Path::exists), "{gone:?}");
    }
    assert_eq!(ledger.accepted, count);
    assert_eq!(ledger.lost, count - read.len() as u64);
    assert_eq!(
        ledger.lost,
        status.missing.iter().map(|gone| gone.lost).sum::<u64>()
    );

    // It goes on: new events come behind all old ones, and everything can leave.
    assert_eq!(rig.append(&[b"new"]).first, count + 1);
    assert_eq!(rig.read_all(), [(count + 1, b"new".to_vec())]);
    rig.ack(read_seqs.into_iter().chain([count + 1]));
    assert_eq!(rig.ledger().in_spool, 0);
    rig.close();
    let rig = Rig::open(&config(place));
    let again = rig.ledger();
    assert_eq!((again.accepted, again.in_spool), (count + 1, 0));
    assert_eq!(again.lost, ledger.lost, "a loss is counted once");
    rig.close();
    ledger.lost
}

#[test]
fn a_flipped_bit_costs_only_what_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let place = filled(dir.path(), 60);
    let mut rng = fastrand::Rng::with_seed(11);
    let mut losses = 0;
    for round in 0..24 {
        let copy = dir.path().join(format!("flip-{round}"));
        copy_dir(&place, &copy);
        let all = generations(&copy);
        let file = all[rng.usize(..all.len())].join("db");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(file)
            .unwrap();
        let at = rng.u64(..file.metadata().unwrap().len());
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1 << rng.u8(..8)], at)
            .unwrap();
        losses += u64::from(check(&copy, 60) > 0);
        fs::remove_dir_all(copy).unwrap();
    }
    assert!(losses > 0, "no flip hit anything: the test proves nothing");
}

#[test]
fn the_pages_of_a_damaged_block_are_kept_aside() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.compression = SpoolCodec::None;
    let rig = Rig::open(&config);
    let text = |seq: u64| format!("event {seq}, {}", "known words ".repeat(40)).into_bytes();
    for seq in 1..=9 {
        rig.append(&[text(seq)]);
    }
    rig.close();
    // What sled has written is what it finds: the damage is older than the write. A block
    // that was bad in memory looks like that.
    let generation = generations(dir.path()).remove(0);
    {
        let store = sled::open(&generation).unwrap();
        let pages = store.open_tree("pages").unwrap();
        let key = 4u32.to_be_bytes();
        let mut page = pages.get(key).unwrap().unwrap().to_vec();
        let at = page.len() - 300;
        page[at] ^= 1;
        pages.insert(key, page).unwrap();
        store.flush().unwrap();
    }
    let mut rig = Rig::open(&config);
    let read: Vec<u64> = rig.read_all().into_iter().map(|(seq, _)| seq).collect();
    assert_eq!(read, [1, 2, 3, 4, 6, 7, 8, 9]);
    let status = rig.opened.status.snapshot();
    let place = status.missing[0].quarantine.clone().unwrap();
    let kept = String::from_utf8_lossy(&fs::read(place).unwrap()).into_owned();
    assert!(
        kept.contains("event 5, known words") && !kept.contains("event 6"),
        "{kept}"
    );
    assert_eq!(rig.ledger().lost, 1);
    rig.close();
}

#[test]
fn a_truncated_log_is_noticed_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let place = filled(dir.path(), 60);
    for (index, keep) in [
        (0, 0),
        (0, 300_000),
        (1, 700_000),
        (usize::MAX, 100),
        (usize::MAX, 0),
    ] {
        let copy = dir.path().join(format!("cut-{index}-{keep}"));
        copy_dir(&place, &copy);
        let all = generations(&copy);
        let generation = all.get(index).unwrap_or(all.last().unwrap());
        OpenOptions::new()
            .write(true)
            .open(generation.join("db"))
            .unwrap()
            .set_len(keep)
            .unwrap();
        // A snapshot would hide the cut from sled until it reads: both must be noticed.
        assert!(
            check(&copy, 60) > 0,
            "cut of generation {index} to {keep} bytes"
        );
    }
}

#[test]
fn deleted_files_and_directories_are_counted_exactly() {
    let dir = tempfile::tempdir().unwrap();
    let place = filled(dir.path(), 60);
    for victim in 0..generations(&place).len() {
        for what in ["", "db", "conf", "gen.meta"] {
            let copy = dir.path().join(format!("gone-{victim}-{what}"));
            copy_dir(&place, &copy);
            let path = generations(&copy)[victim].join(what);
            if what.is_empty() {
                fs::remove_dir_all(path)
            } else {
                fs::remove_file(path)
            }
            .unwrap();
            let lost = check(&copy, 60);
            assert_eq!(
                lost > 0,
                matches!(what, "" | "db"),
                "{what} of generation {victim}"
            );
            fs::remove_dir_all(copy).unwrap();
        }
    }
}

#[test]
fn what_a_power_cut_leaves_half_made_does_not_stop_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let place = filled(dir.path(), 30);
    let half = place.join(format!("gen-{:020}", 31));
    fs::create_dir(&half).unwrap();
    fs::write(half.join("conf"), b"").unwrap();
    fs::write(generations(&place)[0].join("snap.00ff.generating"), b"").unwrap();
    fs::write(place.join("LOCK"), b"").unwrap();
    assert_eq!(check(&place, 30), 0);
}

#[test]
fn without_the_high_water_file_nothing_that_is_there_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let place = filled(dir.path(), 30);
    let id = Rig::open(&config(&place));
    let spool_id = id.opened.handle.spool_id();
    id.close();
    fs::remove_file(place.join("highwater")).unwrap();
    let rig = Rig::open(&config(&place));
    assert_eq!(
        rig.opened.handle.spool_id(),
        spool_id,
        "the identity is found elsewhere"
    );
    rig.close();
    assert_eq!(check(&place, 30), 0);
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("format"), "spoolway spool 7\n").unwrap();
    let refused = Spool::open(&config(dir.path()), proof::issue().0);
    assert!(matches!(
        refused,
        Err(OpenError::NewerFormat { found: 7, known: 1 })
    ));
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        1,
        "the directory was touched"
    );
}

#[test]
fn a_disk_filled_by_others_is_survived_and_intake_resumes() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mount) = Mount::tmpfs(dir.path().join("small"), 48 << 20) else {
        return skipped("a_disk_filled_by_others_is_survived_and_intake_resumes");
    };
    let mut config = config(&mount.0.join("spool"));
    config.max_bytes = 64 << 20;
    let mut rig = Rig::open(&config);
    let before: Vec<_> = (1..=100).map(|seed| noise(seed, EVENT)).collect();
    rig.append(&before);

    // Somebody else takes every byte; the next commit meets a full disk.
    let thief = mount.0.join("thief");
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
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while read.len() < 100 {
        assert!(
            std::time::Instant::now() < deadline,
            "read {} of 100",
            read.len()
        );
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
    let dir = tempfile::tempdir().unwrap();
    let Some(mount) = Mount::tmpfs(dir.path().join("small"), 48 << 20) else {
        return skipped("a_full_disk_does_not_stop_the_start");
    };
    let mut config = config(&mount.0.join("spool"));
    config.max_bytes = 64 << 20;
    let rig = Rig::open(&config);
    for seed in 1..=100 {
        rig.append(&[noise(seed, EVENT)]);
    }
    rig.close();
    take_all_space(&mount.0.join("thief"));
    let mut rig = Rig::open(&config);
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
fn a_full_spool_refuses_and_takes_again_once_drained() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.max_bytes = 8 << 20;
    let mut rig = Rig::open(&config);
    let mut seed = 0;
    while rig.opened.appender.is_full().is_none() {
        seed += 1;
        assert!(seed < 1000, "it never gets full");
        rig.append(&[noise(seed, EVENT)]);
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
