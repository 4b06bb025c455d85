//! Files that are no ordinary log files, and directories whose owner means harm.

use std::collections::HashMap;
use std::fs::{self, File, FileTimes};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use spoolway_test_support::daemon::Daemon;
use spoolway_test_support::kafka::wait::wait_for;
use spoolway_test_support::skipped;

use super::arrivals::{Arrivals, Broker, line};
use super::rig::{prepare, prepare_binary, stats};

const WITHIN: Duration = Duration::from_secs(90);
const GIB: u64 = 1 << 30;
/// What the longest line may add to the memory of the daemon, MiB: a window of `max_line`,
/// its event on its way to Kafka, and no more.
const MEMORY_MIB: u64 = 96;

/// A daemon that runs, its folder of logs, and what arrives of it.
fn start(more: &str) -> (Daemon, PathBuf, Arrivals) {
    let broker = Broker::scripted();
    let (mut daemon, logs) = prepare(&broker.bootstrap(), more);
    let arrivals = Arrivals::watch(broker);
    daemon.start().unwrap();
    (daemon, logs, arrivals)
}

/// Lines `numbers` of file `file`, with their ends.
fn lines(file: u32, numbers: std::ops::Range<u32>) -> Vec<u8> {
    let each = numbers.map(|number| [line(file, number), b"\n".to_vec()].concat());
    each.collect::<Vec<_>>().concat()
}

fn append(path: &Path, bytes: &[u8]) {
    let mut options = File::options();
    let mut file = options.create(true).append(true).open(path).unwrap();
    file.write_all(bytes).unwrap();
}

#[track_caller]
fn arrive(arrivals: &Arrivals, daemon: &Daemon, file: u32, behind: u32) {
    let arrived = arrivals.wait_lines(WITHIN, file, 0, behind);
    assert!(arrived, "file {file}, {behind} lines: {}", daemon.log());
}

/// Nothing came that was not written, or twice.
#[track_caller]
fn assert_clean(arrivals: &Arrivals) {
    arrivals.look(|table| {
        assert_eq!(
            (table.read_twice, table.strange),
            (0, 0),
            "{:?}",
            table.examples
        );
    });
}

#[test]
fn an_ordered_stop_reads_a_deleted_file_to_its_end_first() {
    const LINES: u32 = 60_000;
    let (mut daemon, logs, arrivals) = start("");
    let path = logs.join("a.log");
    append(&path, &lines(0, 0..1));
    arrive(&arrivals, &daemon, 0, 1);
    append(&path, &lines(0, 1..LINES));
    fs::remove_file(&path).unwrap();
    assert!(daemon.sigterm(WITHIN).unwrap().success());
    daemon.start().unwrap();
    arrive(&arrivals, &daemon, 0, LINES);
    assert_clean(&arrivals);
}

#[test]
fn a_file_with_the_inode_of_a_deleted_one_is_another_file() {
    const FILES: u32 = 30;
    let (mut daemon, logs, arrivals) = start("");
    let path = |file: u32| logs.join(format!("{file}.log"));
    let mut inodes = HashMap::new();
    for file in 0..FILES {
        append(&path(file), &lines(file, 0..3));
        inodes.insert(fs::metadata(path(file)).unwrap().ino(), file);
    }
    for file in 0..FILES {
        arrive(&arrivals, &daemon, file, 3);
    }
    // A daemon that runs holds the deleted files, and their inodes.
    assert!(daemon.sigterm(WITHIN).unwrap().success());
    (0..FILES).for_each(|file| fs::remove_file(path(file)).unwrap());
    let mut reused = 0;
    for file in 0..FILES {
        // Longer than the old one, so that its size says nothing.
        append(&path(file), &lines(file, 3..9));
        reused += u32::from(inodes.contains_key(&fs::metadata(path(file)).unwrap().ino()));
    }
    if reused == 0 {
        skipped("inode reuse", "this file system gave no inode out again");
    }
    daemon.start().unwrap();
    for file in 0..FILES {
        arrive(&arrivals, &daemon, file, 9);
    }
    assert_clean(&arrivals);
}

#[test]
fn ten_thousand_small_files_are_read_once_each_with_few_open_handles() {
    const FILES: u32 = 10_000;
    let (mut daemon, logs, arrivals) = start("");
    let path = |file: u32| logs.join(format!("{}/{file}.log", file % 10));
    (0..10).for_each(|folder| fs::create_dir(logs.join(folder.to_string())).unwrap());
    for round in 0..2 {
        for file in (0..FILES).rev() {
            append(&path(file % FILES), &lines(file % 10_000, round..round + 1));
        }
        let all = arrivals.wait(WITHIN, |table| {
            (0..FILES).all(|file| table.has(file, round))
        });
        assert!(all, "round {round}: {:#}", stats(&daemon));
        let open = fs::read_dir(format!("/proc/{}/fd", daemon.process_id().unwrap()));
        let open = open.unwrap().count();
        assert!(open < 256 + 100, "{open} descriptors");
        daemon.kill9().unwrap();
        daemon.start().unwrap();
    }
    arrivals.look(|table| assert_eq!(table.read_twice + table.strange, 0));
}

fn peak_mib(daemon: &Daemon) -> u64 {
    let path = format!("/proc/{}/status", daemon.process_id().unwrap());
    let text = fs::read_to_string(path).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: u64 = line
        .unwrap()
        .trim_end_matches(" kB")
        .trim()
        .parse()
        .unwrap();
    kib / 1024
}

/// A long line has come as its first 64 KiB, and what is behind it as it is.
fn assert_cut(daemon: &Daemon, arrivals: &Arrivals, line_bytes: u64, before_mib: u64) {
    arrive(arrivals, daemon, 0, 2);
    let stats = stats(daemon);
    assert_eq!(stats["cut_lines"], 1, "{stats:#}");
    assert_eq!(stats["cut_bytes"], line_bytes - (64 << 10), "{stats:#}");
    arrivals.look(|table| {
        assert_eq!((table.read_twice, table.strange), (0, 1));
        assert!(table.examples[0].contains("65536 bytes"));
    });
    let peak = peak_mib(daemon);
    eprintln!("memory: {before_mib} MiB before, {peak} MiB at most");
    assert!(peak < before_mib + MEMORY_MIB, "{before_mib} to {peak} MiB");
}

#[test]
fn a_line_of_a_gibibyte_is_cut_in_bounded_memory() {
    const WRITE: usize = 4 << 20;
    let (daemon, logs, arrivals) = start("max_line = \"64KiB\"");
    let path = logs.join("a.log");
    append(&path, &lines(0, 0..1));
    arrive(&arrivals, &daemon, 0, 1);
    let before = peak_mib(&daemon);
    let mut file = File::options().append(true).open(&path).unwrap();
    let part = vec![b'x'; WRITE];
    for _ in 0..GIB / WRITE as u64 {
        file.write_all(&part).unwrap();
    }
    file.write_all(&[b"\n".as_slice(), &lines(0, 1..2)].concat())
        .unwrap();
    assert_cut(&daemon, &arrivals, GIB, before);
}

#[test]
fn a_sparse_file_is_read_through_its_hole() {
    let (daemon, logs, arrivals) = start("max_line = \"64KiB\"");
    let path = logs.join("a.log");
    append(&path, &lines(0, 0..1));
    arrive(&arrivals, &daemon, 0, 1);
    let before = peak_mib(&daemon);
    let mut file = File::options().write(true).open(&path).unwrap();
    file.seek(SeekFrom::End(GIB as i64)).unwrap();
    file.write_all(&[b"\n".as_slice(), &lines(0, 1..2)].concat())
        .unwrap();
    assert_cut(&daemon, &arrivals, GIB, before);
}

#[test]
fn a_symlink_that_takes_the_place_of_a_file_or_directory_at_any_moment_is_never_followed() {
    const SWAPS: u32 = 1500;
    let (daemon, logs, arrivals) = start("");
    let secret = daemon.folder().join("secret");
    fs::create_dir(&secret).unwrap();
    // What is no numbered line is counted as strange.
    for name in ["0.log", "target"] {
        fs::write(secret.join(name), "secret\n".repeat(100)).unwrap();
    }
    let at = |name: &str| logs.join(name);
    fs::create_dir(at("app")).unwrap();
    fs::write(at("app/0.log"), lines(0, 0..1)).unwrap();
    fs::write(at("file"), lines(1, 0..1)).unwrap();
    symlink(secret.join("target"), at("link")).unwrap();
    symlink(&secret, at("folder-link")).unwrap();
    for swap in 0..SWAPS {
        let (from, to) = if swap % 2 == 0 {
            (at("link"), at("file"))
        } else {
            (at("file"), at("link"))
        };
        // To and fro: the file, and the link, at the path that is followed.
        fs::rename(&from, at("1.log")).unwrap();
        fs::rename(at("1.log"), &from).unwrap();
        fs::rename(&to, at("1.log")).unwrap();
        fs::rename(at("1.log"), &to).unwrap();
        fs::rename(at("app"), at("app-real")).unwrap();
        fs::rename(at("folder-link"), at("app")).unwrap();
        fs::rename(at("app"), at("folder-link")).unwrap();
        fs::rename(at("app-real"), at("app")).unwrap();
    }
    fs::rename(at("file"), at("1.log")).unwrap();
    append(&at("2.log"), &lines(2, 0..1));
    for file in 0..3 {
        arrive(&arrivals, &daemon, file, 1);
    }
    assert_clean(&arrivals);
}

#[test]
fn a_fifo_in_the_place_of_a_file_keeps_nobody_waiting() {
    let (daemon, logs, arrivals) = start("");
    let path = logs.join("a.log");
    append(&path, &lines(0, 0..5));
    arrive(&arrivals, &daemon, 0, 5);
    fs::rename(&path, logs.join("a.log.1")).unwrap();
    let made = Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    let refused = || Ok(stats(&daemon)["refused"] == 1);
    wait_for(WITHIN, "the FIFO to be refused", refused).unwrap();
    append(&logs.join("a.log.1"), &lines(0, 5..8));
    append(&logs.join("b.log"), &lines(1, 0..5));
    arrive(&arrivals, &daemon, 0, 8);
    arrive(&arrivals, &daemon, 1, 5);
    fs::remove_file(&path).unwrap();
    append(&path, &lines(0, 8..12));
    arrive(&arrivals, &daemon, 0, 12);
    assert_clean(&arrivals);
}

#[test]
fn time_stamps_that_jump_hide_no_line() {
    let (mut daemon, logs, arrivals) = start("");
    let path = logs.join("a.log");
    let day = Duration::from_secs(86_400);
    let now = SystemTime::now();
    let jumps = [
        UNIX_EPOCH + day,
        now + 36_500 * day,
        now - day,
        UNIX_EPOCH,
        now,
    ];
    let set = |time: SystemTime| {
        let times = FileTimes::new().set_modified(time).set_accessed(time);
        let file = File::options().append(true).open(&path).unwrap();
        file.set_times(times).unwrap();
    };
    let mut number = 0;
    for (round, time) in jumps.into_iter().cycle().take(21).enumerate() {
        append(&path, &lines(0, number..number + 5));
        set(time);
        number += 5;
        match round % 4 {
            0 => arrive(&arrivals, &daemon, 0, number),
            1 => {
                daemon.kill9().unwrap();
                daemon.start().unwrap();
            }
            // Rotated at the same moment, with the time stamp of the old file on the new one.
            2 => {
                fs::rename(&path, logs.join(format!("a.log.{round}"))).unwrap();
                append(&path, &lines(0, number..number + 5));
                set(time);
                number += 5;
            }
            // Written anew in place, to the same size and with the same time stamp: noticed
            // at the latest when it grows.
            _ => {
                arrive(&arrivals, &daemon, 0, number);
                let size = fs::metadata(&path).unwrap().len();
                File::create(&path).unwrap();
                append(&path, &lines(0, number..number + 1));
                number += 1;
                let rest = size.saturating_sub(fs::metadata(&path).unwrap().len());
                append(&path, &vec![b'-'; rest.saturating_sub(1) as usize]);
                append(&path, b"\n");
                set(time);
            }
        }
    }
    arrive(&arrivals, &daemon, 0, number);
    // The fillers are the only records that are no lines.
    arrivals.look(|table| assert_eq!((table.read_twice, table.strange), (0, 5)));
}

/// A copy of the binary that runs as nobody, and can be reached by nobody.
fn as_nobody(folder: &Path) -> PathBuf {
    let binary = folder.join("spoolway");
    fs::copy(env!("CARGO_BIN_EXE_spoolway"), &binary).unwrap();
    let script = folder.join("as-nobody");
    let text = format!(
        "#!/bin/sh\nexec setpriv --reuid 65534 --regid 65534 --clear-groups {:?} \"$@\"\n",
        binary
    );
    fs::write(&script, text).unwrap();
    for path in [folder, &binary, &script] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    script
}

#[test]
fn a_file_whose_permission_was_lost_and_returned_is_read_on() {
    if !rustix::process::geteuid().is_root() {
        return skipped(
            "permissions",
            "only root can run the daemon as somebody else",
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::scripted();
    let binary = as_nobody(folder.path());
    let (mut daemon, logs) = prepare_binary(binary, &broker.bootstrap(), "max_open_files = 1");
    let arrivals = Arc::new(Arrivals::watch(broker));
    let nobody = Some(65_534);
    for path in [daemon.folder(), daemon.config()] {
        chown(path, nobody, nobody).unwrap();
    }
    let socket = daemon.folder().join("notify.sock");
    chown(&socket, nobody, nobody).unwrap();
    let path = logs.join("a.log");
    let mode = |path: &Path, mode: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(&logs, 0o755);
    append(&path, &lines(0, 0..3));
    mode(&path, 0o644);
    daemon.start().unwrap();
    arrive(&arrivals, &daemon, 0, 3);
    // Another file takes the only handle.
    let other = logs.join("b.log");
    append(&other, &lines(1, 0..1));
    mode(&other, 0o644);
    arrive(&arrivals, &daemon, 1, 1);
    mode(&path, 0o600);
    append(&path, &lines(0, 3..6));
    let refused = || Ok(stats(&daemon)["errors"].as_u64() > Some(0));
    wait_for(WITHIN, "the refusal", refused).unwrap();
    append(&other, &lines(1, 1..2));
    arrive(&arrivals, &daemon, 1, 2);
    mode(&path, 0o644);
    arrive(&arrivals, &daemon, 0, 6);
    // The directory goes, with a restart while it is shut.
    mode(&logs, 0o000);
    append(&path, &lines(0, 6..9));
    daemon.kill9().unwrap();
    daemon.start().unwrap();
    mode(&logs, 0o755);
    arrive(&arrivals, &daemon, 0, 9);
    assert_clean(&arrivals);
}
