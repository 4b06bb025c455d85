//! Files on disk through to the spool: what each kind of rotation leaves there.

mod packed;
mod removal;
mod truncated;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::commands::SeekTo;
use super::*;
use crate::config::{FilePatterns, SpoolConfig, StartAt};
use crate::input::stop::{Stopper, stopper};
use crate::proof;
use crate::spool::{Cursor, Spool, SpoolHandle};

const WITHIN: Duration = Duration::from_secs(20);

/// An event as the spool has it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Got {
    text: String,
    path: PathBuf,
    offset: u64,
    is_cut: bool,
}

/// A spool and the thread "tail" on a directory.
struct Rig {
    cursor: Cursor,
    handle: SpoolHandle,
    stopper: Stopper,
    tail: Tail,
    woken: mpsc::Receiver<()>,
    got: Vec<Got>,
    broker: proof::BrokerAuthority,
}

/// Follows `logs/*.log` below `folder`.
fn start(folder: &TempDir, configure: impl FnOnce(&mut FileConfig)) -> Rig {
    let logs = folder.path().join("logs");
    fs::create_dir_all(&logs).unwrap();
    let mut patterns = FilePatterns::default();
    patterns
        .include(&format!("{}/{{app}}.log", logs.display()))
        .unwrap();
    let mut config = FileConfig::new(patterns);
    config.start = StartAt::Beginning;
    config.scan_interval = Duration::from_millis(200);
    configure(&mut config);
    let mut spool = SpoolConfig::new(folder.path().join("spool"));
    spool.min_free = 0;
    let (disk, broker) = proof::issue();
    let mut opened = Spool::open(&spool, disk).unwrap();
    let (wake, woken) = mpsc::channel();
    opened.cursor.on_new_block(move || {
        let _ = wake.send(());
    });
    let (stopper, stop) = stopper();
    let settings = Settings {
        inputs: vec![("logs".into(), config)],
        own: vec![spool.dir],
        checkpoints: opened.checkpoints,
        appender: opened.appender,
    };
    Rig {
        cursor: opened.cursor,
        handle: opened.handle,
        stopper,
        tail: super::start(settings, stop).unwrap(),
        woken,
        got: Vec::new(),
        broker,
    }
}

impl Rig {
    /// Waits until the spool has `count` events of this start and all before it.
    fn wait_for(&mut self, count: usize) -> Vec<String> {
        let deadline = Instant::now() + WITHIN;
        while self.got.len() < count {
            while let Some(block) = self.cursor.next().unwrap() {
                self.got.extend(block.events().map(|event| {
                    let file = event.source.file.as_ref().unwrap();
                    let place = event.place.unwrap();
                    Got {
                        text: String::from_utf8_lossy(event.bytes).into_owned(),
                        path: file.path.to_path_buf(),
                        offset: place.offset,
                        is_cut: place.is_cut,
                    }
                }));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "only {} of {count}: {:?}",
                self.got.len(),
                self.texts()
            );
            let _ = self.woken.recv_timeout(left.min(Duration::from_millis(50)));
        }
        self.texts()
    }

    fn texts(&self) -> Vec<String> {
        self.got.iter().map(|got| got.text.clone()).collect()
    }

    /// Waits until a counter says so.
    fn until(&self, what: &str, is: impl Fn(&FileStats) -> bool) {
        let deadline = Instant::now() + WITHIN;
        while !is(&self.tail.stats[0].1) {
            assert!(
                Instant::now() < deadline,
                "{what}: {:?}",
                self.tail.stats[0].1
            );
            let _ = self.woken.recv_timeout(Duration::from_millis(20));
        }
    }

    fn stats(&self) -> &FileStats {
        &self.tail.stats[0].1
    }

    /// An ordered stop.
    fn stop(self) {
        self.stopper.stop();
        self.tail.ended.blocking_recv().unwrap();
        assert!(self.handle.close(Instant::now() + WITHIN));
    }
}

fn append(path: &Path, text: &str) {
    let mut file = File::options()
        .create(true)
        .append(true)
        .open(path)
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("logs")).unwrap();
    let path = folder.path().join("logs/app.log");
    (folder, path)
}

fn numbered(from: usize, to: usize) -> (String, Vec<String>) {
    let lines: Vec<String> = (from..to).map(|n| format!("line {n}")).collect();
    (lines.join("\n") + "\n", lines)
}

#[test]
fn lines_come_once_and_in_order_with_their_place() {
    let (folder, path) = folder();
    append(&path, "one\r\ntwo\n\nfo");
    let mut rig = start(&folder, |_| {});
    rig.wait_for(3);
    append(&path, "ur\n");
    assert_eq!(rig.wait_for(4), ["one", "two", "", "four"]);
    let offsets: Vec<u64> = rig.got.iter().map(|got| got.offset).collect();
    assert_eq!(offsets, [0, 5, 9, 10]);
    assert!(rig.got.iter().all(|got| got.path == path && !got.is_cut));
    rig.stop();
    let mut rig = start(&folder, |_| {});
    append(&path, "five\n");
    assert_eq!(rig.wait_for(5)[4], "five");
    rig.stop();
}

#[test]
fn what_was_there_before_the_first_start_is_left_out_and_later_files_are_not() {
    let (folder, path) = folder();
    append(&path, "old\nunfini");
    let at_end = |config: &mut FileConfig| config.start = StartAt::End;
    let mut rig = start(&folder, at_end);
    rig.until("the file", |stats| stats.files.load(Relaxed) == 1);
    append(&path, "shed\n");
    rig.wait_for(1);
    append(&path.with_file_name("new.log"), "new\n");
    assert_eq!(rig.wait_for(2), ["unfinished", "new"]);
    rig.stop();
    append(&path.with_file_name("later.log"), "written while away\n");
    let mut rig = start(&folder, at_end);
    assert_eq!(rig.wait_for(3)[2], "written while away");
    rig.stop();
}

#[test]
fn a_renamed_file_is_followed_to_its_end_beside_the_new_one() {
    let (folder, path) = folder();
    append(&path, "one\n");
    let mut rig = start(&folder, |_| {});
    rig.wait_for(1);
    let mut writer = File::options().append(true).open(&path).unwrap();
    let rotated = path.with_file_name("app.log.1");
    fs::rename(&path, &rotated).unwrap();
    append(&path, "new one\n");
    rig.wait_for(2);
    writer
        .write_all(b"two, by a writer that holds the file\n")
        .unwrap();
    let mut texts = rig.wait_for(3);
    texts.sort();
    assert_eq!(
        texts,
        ["new one", "one", "two, by a writer that holds the file"]
    );
    assert_eq!(rig.stats().possible_losses.load(Relaxed), 0);
    rig.stop();
}

#[test]
fn files_rotated_while_nobody_looked_are_found_by_their_identity_and_their_age() {
    let (folder, path) = folder();
    let at = |name: &str| path.with_file_name(name);
    append(&path, "a1\n");
    let mut rig = start(&folder, |_| {});
    rig.wait_for(1);
    rig.stop();
    append(&path, "a2\n");
    fs::rename(&path, at("app.log.1")).unwrap();
    append(&path, "b\n");
    fs::rename(at("app.log.1"), at("app.log.2")).unwrap();
    fs::rename(&path, at("app.log.1")).unwrap();
    append(&path, "c\n");
    let mut rig = start(&folder, |_| {});
    let mut texts = rig.wait_for(4);
    texts.sort();
    assert_eq!(texts, ["a1", "a2", "b", "c"]);
    rig.stop();
    // Each is known now, and nothing comes twice.
    let mut rig = start(&folder, |_| {});
    append(&path, "d\n");
    assert_eq!(rig.wait_for(5)[4], "d");
    rig.stop();
}

#[test]
fn a_deleted_file_is_read_to_its_end_through_the_open_handle() {
    let (folder, path) = folder();
    append(&path, "one\n");
    let mut rig = start(&folder, |_| {});
    rig.wait_for(1);
    let mut writer = File::options().append(true).open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    writer.write_all(b"two\n").unwrap();
    append(&path, "new\n");
    let mut texts = rig.wait_for(3);
    texts.sort();
    assert_eq!(texts, ["new", "one", "two"]);
    rig.stop();
}

#[test]
fn an_inode_used_again_is_another_file() {
    let (folder, path) = folder();
    append(&path, "old\n");
    let mut rig = start(&folder, |_| {});
    rig.wait_for(1);
    rig.stop();
    for round in 0..20 {
        fs::remove_file(&path).unwrap();
        append(&path, &format!("new {round}, longer than the old one\n"));
    }
    let mut rig = start(&folder, |_| {});
    assert_eq!(rig.wait_for(2)[1], "new 19, longer than the old one");
    assert_eq!(rig.stats().possible_losses.load(Relaxed), 0);
    rig.stop();
}

#[test]
fn many_files_share_a_few_handles_and_none_starves() {
    let (folder, path) = folder();
    let busy = path.with_file_name("busy.log");
    let (text, _) = numbered(0, 100_000);
    append(&busy, &text);
    for n in 0..300 {
        append(&path.with_file_name(format!("{n}.log")), &format!("{n}\n"));
    }
    let mut rig = start(&folder, |config| config.max_open_files = 8);
    rig.wait_for(100_300);
    let last_quiet = rig.got.iter().rposition(|got| got.path != busy).unwrap();
    let last_busy = rig.got.iter().rposition(|got| got.path == busy).unwrap();
    assert!(
        last_quiet < last_busy,
        "the quiet files had to wait for the busy one"
    );
    assert!(rig.stats().open.load(Relaxed) <= 8);
    for n in 0..300 {
        append(&path.with_file_name(format!("{n}.log")), "more\n");
    }
    rig.wait_for(100_600);
    rig.stop();
}

#[test]
fn a_long_line_is_cut_and_the_rest_of_it_skipped() {
    let (folder, path) = folder();
    let long = "x".repeat(3 << 20);
    append(&path, &format!("before\n{long}\nafter\n"));
    let mut rig = start(&folder, |config| config.max_line = 1 << 16);
    let texts = rig.wait_for(3);
    assert_eq!((texts[0].as_str(), texts[2].as_str()), ("before", "after"));
    assert_eq!((texts[1].len(), rig.got[1].is_cut), (1 << 16, true));
    assert_eq!(rig.stats().cut_lines.load(Relaxed), 1);
    assert_eq!(rig.stats().cut_bytes.load(Relaxed), (3 << 20) - (1 << 16));
    rig.stop();
}

#[test]
fn a_file_replaced_by_what_is_no_file_is_read_to_its_end() {
    let (folder, path) = folder();
    append(&path, "one\n");
    let mut rig = start(&folder, |_| {});
    rig.wait_for(1);
    append(&path, "two\n");
    fs::remove_file(&path).unwrap();
    let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
    rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).unwrap();
    rig.wait_for(2);
    rig.until("the refusal", |stats| stats.refused.load(Relaxed) == 1);
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", &path).unwrap();
    append(&path.with_file_name("b.log"), "three\n");
    rig.wait_for(3);
    fs::remove_file(&path).unwrap();
    append(&path, "four\n");
    assert_eq!(rig.wait_for(4), ["one", "two", "three", "four"]);
    rig.stop();
}

#[test]
fn an_operator_sees_moves_and_forgets_files_and_is_warned() {
    let (folder, path) = folder();
    append(&path, "one\ntwo\n");
    let mut rig = start(&folder, |_| {});
    rig.wait_for(2);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let control = rig.tail.control.clone();
    let ask = |name: &str, to, yes| runtime.block_on(control.seek(name.to_owned(), to, yes));
    let status = runtime.block_on(control.status(None, 0, 10)).unwrap();
    assert_eq!(status.total, 1);
    let file = &status.files[0];
    assert_eq!((file.offset, file.lag, file.state), (8, 0, "listed"));
    let name = path.to_str().unwrap();
    let refused = ask(name, SeekTo::Beginning, false).unwrap_err();
    assert!(refused.contains("doubled"), "{refused}");
    // In the middle of a line: its beginning is meant.
    let done = ask(&file.key, SeekTo::Offset(6), true).unwrap();
    assert_eq!(done.offset, 4);
    assert_eq!(rig.wait_for(3)[2], "two");
    ask(name, SeekTo::End, false).unwrap();
    let forget = |yes| runtime.block_on(control.forget(name.to_owned(), yes));
    assert!(forget(false).unwrap_err().contains("doubled"));
    forget(true).unwrap();
    assert_eq!(rig.wait_for(5)[3..], ["one", "two"]);
    rig.stop();
}

#[test]
fn a_file_that_is_read_once_gives_its_last_line_and_is_let_go() {
    let (folder, path) = folder();
    append(&path, "one\ntwo, without an end");
    let once = |config: &mut FileConfig| config.read_once = true;
    let mut rig = start(&folder, once);
    assert_eq!(rig.wait_for(2)[1], "two, without an end");
    rig.until("it to be closed", |stats| stats.open.load(Relaxed) == 0);
    append(&path, ", too late\n");
    append(&path.with_file_name("b.log"), "three\n");
    rig.wait_for(3);
    rig.stop();
    let mut rig = start(&folder, once);
    append(&path.with_file_name("c.log"), "four\n");
    let texts = rig.wait_for(4);
    assert_eq!(texts[2..], ["three", "four"]);
    rig.stop();
}
