//! What a transaction has committed and the spool does not know of, as after a crash at the
//! worst moment.

use std::fs;

use spoolway_test_support::daemon::Writer;
use spoolway_test_support::kafka::Kafka;
use spoolway_test_support::kafka::wait::wait_for;

use crate::spool_rig::{copy_dir, generations};
use crate::transaction_rig::{WITHIN, assert_each_once, daemon, wait_drained, write};

/// Events that fill several generations of 1 MiB.
fn write_large(writer: &mut Writer, count: u64) {
    let mut sent = 0;
    for number in 0..count {
        let noise: String = std::iter::repeat_with(fastrand::alphanumeric)
            .take(60_000)
            .collect();
        let line = format!("{{\"n\":{number},\"x\":\"{noise}\"}}");
        sent = writer.send(line.as_bytes()).unwrap();
    }
    writer.wait_acked(sent).unwrap();
}

#[test]
fn what_is_committed_does_not_go_again_while_its_generation_does_not_open() {
    const LARGE: u64 = 60;
    let kafka = Kafka::builder().start().unwrap();
    let id = "txn-unnoted";
    let mut daemon = daemon(&kafka, id, 1)
        .spool("generation_bytes = \"1MiB\"")
        .start()
        .unwrap();
    kafka.pause().unwrap();
    write_large(&mut daemon.writer().unwrap(), LARGE);
    daemon.kill9().unwrap();
    let (spool, before) = (daemon.spool_dir(), daemon.folder().join("before"));
    fs::remove_file(spool.join("control.sock")).unwrap();
    copy_dir(&spool, &before);
    assert!(generations(&spool).len() > 2);
    kafka.resume().unwrap();
    daemon.start().unwrap();
    wait_drained(&daemon);
    daemon.kill9().unwrap();

    // Nothing of that is known here, and the oldest part does not open for a moment.
    fs::remove_dir_all(&spool).unwrap();
    fs::rename(&before, &spool).unwrap();
    kafka.pause().unwrap();
    daemon.clear_log().unwrap();
    daemon.start().unwrap();
    let (oldest, away) = (generations(&spool).remove(0), daemon.folder().join("away"));
    fs::rename(&oldest, &away).unwrap();
    fs::write(&oldest, "in the way").unwrap();
    kafka.resume().unwrap();
    wait_for(WITHIN, "the position that cannot be noted", || {
        Ok(daemon.log().contains("cannot note events as resolved yet"))
    })
    .unwrap();
    fs::remove_file(&oldest).unwrap();
    fs::rename(&away, &oldest).unwrap();
    // Has the drain look at the spool before it tries again to note.
    write(&mut daemon.writer().unwrap(), LARGE..LARGE + 1);
    wait_drained(&daemon);
    assert_each_once(&kafka, id, LARGE + 1);
}
