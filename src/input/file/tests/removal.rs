//! Files that are removed once the broker has them, over restarts.

use super::*;
use crate::input::file::follow::NOT_SURE;

/// A file that was open at a restart, with two events of it in the spool.
fn restarted(folder: &TempDir, before_the_end: impl FnOnce(&mut Rig)) -> (Rig, PathBuf) {
    let configure = |config: &mut FileConfig| {
        config.delete_after_delivery = true;
        config.delete_grace = Duration::ZERO;
    };
    let mut rig = start(folder, configure);
    let path = folder.path().join("logs/a.log");
    append(&path, "one\ntwo\n");
    rig.wait_for(2);
    before_the_end(&mut rig);
    rig.stop();
    (start(folder, configure), path)
}

impl Rig {
    fn ack(&mut self, seqs: impl IntoIterator<Item = proof::Seq>) {
        let ranges = seqs.into_iter().map(|seq| (seq, 0)).collect();
        self.cursor.acked(self.broker.acked(ranges));
        self.cursor.checkpoint();
    }

    fn drop_event(&mut self, seq: proof::Seq) {
        let range = proof::SeqRange {
            first: seq,
            count: 1,
        };
        self.cursor.dropped(&proof::SeqRanges::from(range));
        self.cursor.checkpoint();
    }

    fn kept(&self) -> Option<&'static str> {
        let control = self.tail.control.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let report = runtime.block_on(control.status(None, 0, 10)).unwrap();
        report.files.first().and_then(|file| file.kept)
    }

    #[track_caller]
    fn stays_for(self, why: &str, path: &Path) {
        self.until("the word that it is kept", |_| self.kept() == Some(why));
        assert!(path.exists(), "an event of it was not delivered");
        self.stop();
    }
}

#[test]
fn a_file_that_was_open_at_a_restart_is_removed_when_all_of_it_is_delivered() {
    let folder = tempfile::tempdir().unwrap();
    let (mut rig, path) = restarted(&folder, |_| {});
    append(&path, "three\n");
    rig.wait_for(3);
    rig.ack([3]);
    rig.ack([1]);
    append(&folder.path().join("logs/b.log"), "four\n");
    rig.until("a look around", |stats| stats.files.load(Relaxed) == 2);
    assert_eq!(rig.kept(), None);
    assert!(
        path.exists(),
        "an event of before the restart is not delivered"
    );
    rig.ack([2]);
    rig.until("the removal", |stats| stats.removed.load(Relaxed) == 1);
    assert!(!path.exists());
    rig.stop();
}

#[test]
fn a_file_stays_when_an_event_of_before_the_restart_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let (mut rig, path) = restarted(&folder, |_| {});
    rig.wait_for(2);
    rig.ack([1]);
    rig.drop_event(2);
    rig.stays_for(NOT_SURE, &path);
}

#[test]
fn a_file_stays_when_an_event_was_given_up_just_before_the_restart() {
    let folder = tempfile::tempdir().unwrap();
    // The file is not told before both events are settled.
    let (mut rig, path) = restarted(&folder, |rig| rig.drop_event(1));
    rig.wait_for(1);
    rig.ack([2]);
    rig.stays_for(NOT_SURE, &path);
    // Nor is it forgotten by the next one.
    let rig = start(&folder, |config| config.delete_after_delivery = true);
    rig.stays_for(NOT_SURE, &path);
}

#[test]
fn without_the_high_water_file_nobody_knows_what_was_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let configure = |config: &mut FileConfig| config.delete_after_delivery = true;
    let (rig, path) = restarted(&folder, |_| {});
    rig.stop();
    fs::remove_file(folder.path().join("spool/highwater")).unwrap();
    let mut rig = start(&folder, configure);
    rig.wait_for(2);
    rig.ack([1, 2]);
    rig.stays_for(NOT_SURE, &path);
}
