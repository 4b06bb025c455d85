//! The spool on damaged and foreign directories: it starts, counts and goes on. Full disks are
//! in `spool_full`.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use spoolway::config::SpoolCodec;
use spoolway::proof;
use spoolway::spool::{FullReason, OpenError, Spool};

use crate::spool_rig::{Rig, config, copy_dir, generations, noise};

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
fn quarantine_counts_against_the_limit_until_it_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let damaged = dir.path().join("quarantine/gen-1.0");
    fs::create_dir_all(damaged.parent().unwrap()).unwrap();
    let file = fs::File::create(&damaged).unwrap();
    file.set_len(config.max_bytes).unwrap();
    let rig = Rig::open(&config);
    let full = || rig.opened.status.snapshot().full;
    assert_eq!(full(), Some(FullReason::MaxBytes));
    fs::remove_file(&damaged).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while full().is_some() {
        assert!(Instant::now() < deadline, "the room is not found");
        std::thread::park_timeout(Duration::from_millis(5));
    }
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
fn what_was_resolved_while_its_generation_could_not_be_opened_is_noted_later() {
    let dir = tempfile::tempdir().unwrap();
    let place = filled(dir.path(), 80);
    let mut rig = Rig::open(&config(&place));
    assert_eq!(rig.read_all().len(), 80, "now the oldest are closed again");
    let (oldest, away) = (generations(&place).remove(0), dir.path().join("away"));
    fs::rename(&oldest, &away).unwrap();
    fs::write(&oldest, "in the way").unwrap();
    rig.ack([1, 3]);
    assert_eq!(rig.ledger().delivered, 0, "nothing can be noted now");

    fs::remove_file(&oldest).unwrap();
    fs::rename(&away, &oldest).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while rig.ledger().delivered < 2 {
        assert!(Instant::now() < deadline, "it is never noted");
        rig.opened.cursor.checkpoint();
        std::thread::park_timeout(Duration::from_millis(10));
    }
    rig.close();
    let mut rig = Rig::open(&config(&place));
    let again: Vec<u64> = rig.read_all().into_iter().map(|(seq, _)| seq).collect();
    assert_eq!((again.len(), again[0], again[1]), (78, 2, 4));
    rig.close();
}
