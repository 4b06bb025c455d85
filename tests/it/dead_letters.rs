//! Dead letters by the real daemon: damaged, and sent again in vain. Kafka is scripted.

use std::fs;
use std::time::Duration;

use spoolway_test_support::daemon::Daemon;
use spoolway_test_support::kafka::wait::wait_for;
use spoolway_test_support::scripted::Cluster;

use crate::spool_rig::{Rig, config};

const WITHIN: Duration = Duration::from_secs(30);

/// A daemon for whose broker any event of 3,000 bytes is too large.
fn refusing(spool: &str) -> (Cluster, Daemon) {
    let cluster = Cluster::start(1);
    cluster.create_topic("events", 1);
    cluster.set_max_message_bytes("events", 2048);
    let daemon = Daemon::builder(env!("CARGO_BIN_EXE_spoolway"))
        .bootstrap(&cluster.bootstrap())
        .topic("events")
        .spool(spool)
        .kafka("compression.type = \"none\"")
        .start()
        .unwrap();
    (cluster, daemon)
}

fn wait_for_letters(daemon: &Daemon, count: u64) {
    wait_for(WITHIN, "the dead letters", || {
        let ledger = &daemon.status_json()?["ledger"];
        Ok(ledger["dead_lettered"] == count && ledger["in_spool"] == 0)
    })
    .unwrap();
}

#[test]
fn what_is_refused_for_ever_is_sent_again_once_for_each_call() {
    let (_cluster, daemon) = refusing("");
    let mut writer = daemon.writer().unwrap();
    for _ in 0..20 {
        let line = writer.send(&[b'x'; 3000]).unwrap();
        writer.wait_acked(line).unwrap();
    }
    wait_for_letters(&daemon, 20);
    let mut retry = daemon.command("dead-letter");
    let output = retry.args(["retry", "--all"]).output().unwrap();
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(words.trim(), "20 sent again", "{output:?}");
    wait_for_letters(&daemon, 40);
    let status = daemon.status_json().unwrap();
    assert_eq!(status["ledger"]["accepted"], 40);
    let mut list = daemon.command("dead-letter");
    let listed = list.args(["list", "--json"]).output().unwrap();
    assert_eq!(listed.stdout.split(|b| *b == b'\n').count(), 21);
}

#[test]
fn a_full_store_holds_back_what_is_refused_until_there_is_room_in_it() {
    let (_cluster, daemon) = refusing("dead_letter_max_bytes = \"1MiB\"");
    let mut writer = daemon.writer().unwrap();
    let mut status = daemon.status_json().unwrap();
    for sent in 1.. {
        let line = writer.send(&[b'x'; 60_000]).unwrap();
        writer.wait_acked(line).unwrap();
        status = daemon.status_json().unwrap();
        let error = status["drain"]["last_error"].as_str().unwrap_or_default();
        if error.contains("dead_letter_max_bytes") {
            break;
        }
        assert!(sent < 100, "6 MB went into a store of 1 MiB");
    }
    let waits = status["ledger"]["in_spool"].as_u64().unwrap();
    assert!(
        waits > 0,
        "what cannot be stored stays in the spool: {status}"
    );
    assert_eq!(status["ledger"]["lost"], 0);
    // Each time there is room, some more of them find it.
    wait_for(WITHIN, "all of them to be dead letters", || {
        let mut drop = daemon.command("dead-letter");
        let output = drop.args(["drop", "--all", "--yes"]).output()?;
        assert!(output.status.success(), "{output:?}");
        let ledger = &daemon.status_json()?["ledger"];
        Ok(ledger["dead_lettered"] == writer.sent() && ledger["in_spool"] == 0)
    })
    .unwrap();
}

#[test]
fn a_damaged_store_is_kept_aside_and_does_not_stop_what_is_refused_next() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("spool");
    let mut rig = Rig::open(&config(&place));
    rig.append(&[b"one", b"two"]);
    rig.read_all();
    rig.dead_letter(&[1]);
    rig.close();
    // As sled's own leftovers are, which it refuses to open.
    let dead = place.join("dead");
    fs::write(dead.join("conf"), "not what was written").unwrap();
    fs::write(dead.join("db"), vec![7; 4096]).unwrap();

    let mut rig = Rig::open(&config(&place));
    rig.read_all();
    rig.dead_letter(&[2]);
    let letters = rig.opened.dead_letters.list(0, 10).unwrap();
    assert_eq!(letters.iter().map(|l| l.seq).collect::<Vec<_>>(), [2]);
    assert_eq!(rig.ledger().dead_lettered, 2);
    let told = rig.opened.status.snapshot().last_error.unwrap();
    assert!(told.contains("quarantine/dead."), "{told}");
    rig.close();
    assert!(place.join("quarantine/dead.0/db").exists());
}
