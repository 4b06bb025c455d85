//! The Unix socket input, by the real daemon: what writers are told, and what hostile ones
//! can do. Kafka is away; only the spool matters here.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use spoolway_test_support::daemon::{Builder, Daemon};
use spoolway_test_support::kafka::wait::wait_for;
use spoolway_test_support::scripted::Cluster;

const WITHIN: Duration = Duration::from_secs(30);

/// A daemon whose broker never answers.
fn offline() -> Builder {
    Daemon::builder(env!("CARGO_BIN_EXE_spoolway")).bootstrap("127.0.0.1:1")
}

fn accepted(daemon: &Daemon) -> u64 {
    daemon.status_json().unwrap()["ledger"]["accepted"]
        .as_u64()
        .unwrap()
}

fn input(daemon: &Daemon, path: &str) -> u64 {
    daemon
        .status_json()
        .unwrap()
        .pointer(&format!("/inputs/0{path}"))
        .unwrap()
        .as_u64()
        .unwrap()
}

#[test]
fn acks_are_cumulative_and_name_what_was_refused_first() {
    let daemon = offline()
        .spool("max_event_bytes = \"1KiB\"")
        .start()
        .unwrap();
    let mut writer = daemon.writer().unwrap();
    writer.send(b"one").unwrap();
    writer.send(&[b'x'; 1025]).unwrap();
    writer.send(&[0, 255, 13]).unwrap();
    let sent = writer.send(b"").unwrap();
    let told = writer.wait_acked(sent).unwrap();
    assert_eq!(
        told.refused.into_iter().collect::<Vec<_>>(),
        [(2, "too_long".to_owned())]
    );
    assert!(told.strange.is_empty(), "{:?}", told.strange);
    assert_eq!(accepted(&daemon), 3);
    assert_eq!(input(&daemon, "/refused/too_long"), 1);
}

/// A folder that was there before keeps its mode, in a container for instance.
#[test]
fn what_the_daemon_writes_is_not_for_others_to_read() {
    let mut daemon = offline().prepare().unwrap();
    std::fs::create_dir_all(daemon.spool_dir()).unwrap();
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(daemon.spool_dir(), open).unwrap();
    daemon.start().unwrap();
    let mut writer = daemon.writer().unwrap();
    let sent = writer.send(b"private").unwrap();
    writer.wait_acked(sent).unwrap();
    let mut folders = vec![daemon.spool_dir()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            let mode = metadata.permissions().mode() & 0o777;
            assert_eq!(mode & 0o077, 0, "{} {mode:o}", path.display());
            files += u32::from(metadata.is_file());
            folders.extend(metadata.is_dir().then_some(path));
        }
    }
    assert!(files > 3, "{files}");
}

#[test]
fn a_line_that_never_ends_is_refused_while_it_comes_and_its_neighbours_pass() {
    let daemon = offline().start().unwrap();
    let mut hostile = daemon.writer().unwrap();
    for _ in 0..40 {
        hostile.send_lines(&[b'a'; 100_000], 0).unwrap();
    }
    let told = hostile
        .wait("the refusal", |told| !told.refused.is_empty())
        .unwrap();
    assert_eq!(told.refused.get(&1).unwrap(), "too_long");
    hostile.send_lines(b"\nnext\n", 2).unwrap();
    hostile.wait_acked(2).unwrap();
    assert_eq!(accepted(&daemon), 1);
}

#[test]
fn an_unterminated_last_line_is_an_event_unless_switched_off() {
    let daemon = offline().start().unwrap();
    let mut writer = daemon.writer().unwrap();
    writer.send_lines(b"whole\nhalf", 2).unwrap();
    writer.finish().unwrap();
    writer.wait_acked(2).unwrap();
    assert_eq!(accepted(&daemon), 2);
}

#[test]
fn the_socket_has_its_mode_and_a_stale_one_is_replaced() {
    let mut daemon = offline().prepare().unwrap();
    let config = std::fs::read_to_string(daemon.config()).unwrap();
    std::fs::write(daemon.config(), config.replace("\"0600\"", "\"0660\"")).unwrap();
    daemon.start().unwrap();
    let found = std::fs::metadata(daemon.socket()).unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o660);
    daemon.kill9().unwrap();
    assert!(
        daemon.socket().exists(),
        "a killed daemon leaves its socket behind"
    );
    daemon.start().unwrap();
    let mut writer = daemon.writer().unwrap();
    writer.send(b"x").unwrap();
    writer.wait_acked(1).unwrap();
}

#[test]
fn anything_but_a_stale_socket_at_the_path_is_refused() {
    let mut daemon = offline().prepare().unwrap();
    std::fs::write(daemon.socket(), "precious").unwrap();
    daemon.launch().unwrap();
    assert!(!daemon.wait_exit(WITHIN).unwrap().success());
    assert!(daemon.log().contains("is not a socket"), "{}", daemon.log());
    assert_eq!(std::fs::read(daemon.socket()).unwrap(), b"precious");

    std::fs::remove_file(daemon.socket()).unwrap();
    let _other = UnixListener::bind(daemon.socket()).unwrap();
    daemon.launch().unwrap();
    assert!(!daemon.wait_exit(WITHIN).unwrap().success());
    assert!(
        daemon.log().contains("another program listens"),
        "{}",
        daemon.log()
    );
}

#[test]
fn a_second_daemon_on_the_same_spool_is_refused_in_words() {
    let daemon = offline().start().unwrap();
    let second = daemon.command("run").output().unwrap();
    assert!(!second.status.success());
    let words = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(words.contains("in use by"), "{words}");
    daemon.writer().unwrap().send(b"still alive").unwrap();
}

#[test]
fn a_full_spool_makes_writers_wait_and_takes_them_again_when_drained() {
    let cluster = Cluster::start(1);
    let daemon = Daemon::builder(env!("CARGO_BIN_EXE_spoolway"))
        .bootstrap(&cluster.bootstrap())
        .spool("max_bytes = \"48MiB\"")
        .spool("generation_bytes = \"16MiB\"")
        .spool("compression = \"none\"")
        .kafka("metadata.max.age.ms = 1000")
        .start()
        .unwrap();
    let mut stream = UnixStream::connect(daemon.socket()).unwrap();
    stream
        .set_write_timeout(Some(Duration::from_secs(3)))
        .unwrap();
    let line = noise_line(64_000);
    let mut sent = 0;
    while stream.write_all(&line).is_ok() {
        sent += 1;
        assert!(sent < 2_000, "128 MB went into a spool of 48 MiB");
    }
    let status = daemon.status_json().unwrap();
    assert!(status["spool"]["full"].is_string(), "{status}");
    let taken = accepted(&daemon);
    assert!(taken > 50);
    cluster.create_topic("events", 1);
    cluster.wait_until("the backlog", WITHIN, |s| {
        s.topic_record_count("events") as u64 >= taken
    });
    wait_for(WITHIN, "intake to resume", || {
        Ok(daemon.status_json()?["spool"]["full"].is_null())
    })
    .unwrap();
    let mut writer = daemon.writer().unwrap();
    writer.send(b"after").unwrap();
    writer.wait_acked(1).unwrap();
}

#[test]
fn a_full_spool_refuses_by_name_when_told_to() {
    let daemon = offline()
        .spool("max_bytes = \"48MiB\"")
        .spool("generation_bytes = \"16MiB\"")
        .spool("compression = \"none\"")
        .spool("when_full = \"reject\"")
        .start()
        .unwrap();
    let mut writer = daemon.writer().unwrap();
    let line = noise_line(64_000);
    let mut told = writer.told();
    while told.refused.is_empty() {
        let sent = writer.send_lines(&line, 1).unwrap();
        told = writer.wait_acked(sent).unwrap();
        assert!(sent < 2_000, "128 MB went into a spool of 48 MiB");
    }
    assert!(told.refused.values().all(|reason| reason == "spool_full"));
    let safe = told.acked - told.refused.len() as u64;
    assert_eq!(accepted(&daemon), safe);

    // Far more refusals than a socket holds, to a writer that reads them.
    let sent = writer.send_lines("x\n".repeat(100_000).as_bytes(), 100_000);
    let told = writer.wait_acked(sent.unwrap()).unwrap();
    assert_eq!(told.refused.len() as u64, told.acked - safe);
}

/// A line that no codec makes smaller.
fn noise_line(bytes: usize) -> Vec<u8> {
    let mut line: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(b' '..))
        .take(bytes)
        .collect();
    line.push(b'\n');
    line
}

#[test]
fn a_writer_that_never_reads_its_acks_is_not_buffered_for() {
    let daemon = offline().start().unwrap();
    let mut stream = UnixStream::connect(daemon.socket()).unwrap();
    for _ in 0..200 {
        stream.write_all("y\n".repeat(1_000).as_bytes()).unwrap();
    }
    wait_for(WITHIN, "all of it", || Ok(accepted(&daemon) == 200_000)).unwrap();
    // The answers are cumulative, so the last one says it all, however late it is read.
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut last = String::new();
    for line in BufReader::new(stream).lines() {
        last = line.unwrap();
    }
    assert_eq!(last, "{\"ack\":200000}");
}

#[test]
fn connections_over_the_limit_are_turned_away_and_counted() {
    let mut daemon = offline().prepare().unwrap();
    let config = std::fs::read_to_string(daemon.config()).unwrap();
    let limited = config.replace("type = \"unix\"", "type = \"unix\"\nmax_connections = 2");
    std::fs::write(daemon.config(), limited).unwrap();
    daemon.start().unwrap();
    let mut kept: Vec<_> = (0..2).map(|_| daemon.writer().unwrap()).collect();
    kept.iter_mut().for_each(|writer| {
        writer.send(b"in").unwrap();
        writer.wait_acked(1).unwrap();
    });
    let mut third = UnixStream::connect(daemon.socket()).unwrap();
    assert_eq!(
        third.read(&mut [0; 8]).unwrap_or(0),
        0,
        "it is closed without a word"
    );
    wait_for(WITHIN, "the count", || {
        Ok(input(&daemon, "/connections_refused") == 1)
    })
    .unwrap();
}

#[test]
fn writers_that_went_away_leave_their_place_to_others() {
    let daemon = offline().ack("broker").prepare().unwrap();
    let config = std::fs::read_to_string(daemon.config()).unwrap();
    let limited = config.replace("type = \"unix\"", "type = \"unix\"\nmax_connections = 2");
    std::fs::write(daemon.config(), limited).unwrap();
    let mut daemon = daemon;
    daemon.start().unwrap();
    // No broker will ever settle what these send, and they do not wait for it.
    for _ in 0..2 {
        let mut stream = UnixStream::connect(daemon.socket()).unwrap();
        stream.write_all("z\n".repeat(500_000).as_bytes()).unwrap();
    }
    wait_for(WITHIN, "every line that they sent", || {
        Ok(accepted(&daemon) == 1_000_000)
    })
    .unwrap();
    wait_for(WITHIN, "nobody to be connected", || {
        Ok(input(&daemon, "/connections") == 0)
    })
    .unwrap();
    let mut third = daemon.writer().unwrap();
    third.send(b"in").unwrap();
    wait_for(WITHIN, "the third", || Ok(accepted(&daemon) == 1_000_001)).unwrap();
    assert_eq!(input(&daemon, "/connections_refused"), 0);
}

#[test]
fn broker_acks_come_only_once_kafka_has_the_lines() {
    let cluster = Cluster::start(1);
    let daemon = Daemon::builder(env!("CARGO_BIN_EXE_spoolway"))
        .bootstrap(&cluster.bootstrap())
        .ack("broker")
        .kafka("metadata.max.age.ms = 1000")
        .start()
        .unwrap();
    let mut writer = daemon.writer().unwrap();
    writer.send(b"one").unwrap();
    writer.send(b"two").unwrap();
    wait_for(WITHIN, "both on disk", || {
        Ok(daemon.status_json()?["ledger"]["durable"] == 2)
    })
    .unwrap();
    assert_eq!(writer.told().acked, 0, "on disk is not enough");
    cluster.create_topic("events", 1);
    writer.wait_acked(2).unwrap();
    assert_eq!(cluster.records("events", 0).len(), 2);
}

#[test]
fn connections_outlive_a_restart_in_the_store_of_the_service_manager() {
    let mut daemon = offline().start().unwrap();
    let mut busy = daemon.writer().unwrap();
    let mut begun = daemon.writer().unwrap();
    busy.send(b"one").unwrap();
    busy.wait_acked(1).unwrap();
    begun.send_lines(b"whole\nha", 1).unwrap();
    begun.wait_acked(1).unwrap();
    assert!(daemon.sigterm(WITHIN).unwrap().success());
    assert_eq!(
        daemon.descriptors_kept(),
        3,
        "two connections and their table"
    );
    // Nobody reads now, and still nobody is refused.
    busy.send(b"two").unwrap();
    begun.send_lines(b"lf\n", 1).unwrap();
    daemon.start().unwrap();
    busy.wait_acked(2).unwrap();
    begun.wait_acked(2).unwrap();
    assert_eq!(
        daemon.descriptors_kept(),
        0,
        "taken out, so that they can end"
    );
    assert_eq!(accepted(&daemon), 4);
    assert_eq!(input(&daemon, "/connections"), 2);
    assert!(!busy.told().closed && !begun.told().closed);
}

#[test]
fn a_connection_with_unsettled_lines_is_not_parked_but_closed() {
    let mut daemon = offline()
        .ack("broker")
        .root("stop_timeout = \"2s\"")
        .start()
        .unwrap();
    let mut writer = daemon.writer().unwrap();
    writer.send(b"nobody acknowledges this").unwrap();
    wait_for(WITHIN, "the event in the spool", || {
        Ok(accepted(&daemon) == 1)
    })
    .unwrap();
    daemon.sigterm(WITHIN).unwrap();
    assert_eq!(daemon.descriptors_kept(), 0);
    writer.wait("its end", |told| told.closed).unwrap();
    assert_eq!(writer.told().acked, 0);
}

#[test]
fn a_writer_that_waits_for_the_broker_keeps_no_other_connection_from_being_parked() {
    let mut daemon = offline()
        .ack("broker")
        .root("stop_timeout = \"2s\"")
        .start()
        .unwrap();
    let mut begun = daemon.writer().unwrap();
    begun.send_lines(b"ha", 0).unwrap();
    let mut waiting = daemon.writer().unwrap();
    waiting.send(b"nobody acknowledges this").unwrap();
    wait_for(WITHIN, "both connections", || {
        Ok(accepted(&daemon) == 1 && input(&daemon, "/connections") == 2)
    })
    .unwrap();
    assert!(daemon.sigterm(WITHIN).unwrap().success());
    assert_eq!(daemon.descriptors_kept(), 2, "one connection and its table");
    waiting.wait("its end", |told| told.closed).unwrap();
    daemon.start().unwrap();
    begun.send_lines(b"lf\n", 1).unwrap();
    wait_for(
        WITHIN,
        "the rest of the line",
        || Ok(accepted(&daemon) == 2),
    )
    .unwrap();
    assert!(!begun.told().closed);
}
