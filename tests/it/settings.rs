//! What the settings of `[kafka]` do, seen from the broker's side of the wire.

use std::time::{Duration, Instant};

use spoolway::config::{Acks, KafkaConfig};
use spoolway::kafka::Report;
use spoolway_test_support::daemon::{Builder, Daemon};
use spoolway_test_support::kafka::wait::wait_for;
use spoolway_test_support::scripted::{Action, Api, Cluster, Record, Request, When, code};

use crate::producer_rig::{PATIENCE, Rig, config, log};

fn cluster() -> Cluster {
    let cluster = Cluster::start(1);
    cluster.create_topic("t", 1);
    cluster
}

/// A producer with some settings of its own.
fn rig(cluster: &Cluster, change: impl FnOnce(&mut KafkaConfig)) -> Rig {
    let mut config = config(&cluster.bootstrap());
    change(&mut config);
    Rig::start(&config)
}

fn less_acks(acks: Acks) -> impl FnOnce(&mut KafkaConfig) {
    move |config| {
        config.acks = acks;
        config.idempotence = false;
    }
}

fn daemon(cluster: &Cluster) -> Builder {
    Daemon::builder(env!("CARGO_BIN_EXE_spoolway"))
        .bootstrap(&cluster.bootstrap())
        .topic("t")
}

/// `acks` and producer id of each batch that the broker was sent.
fn sent(cluster: &Cluster) -> Vec<(i16, i64)> {
    let requests = cluster.requests();
    let batches = requests.iter().flat_map(|request| &request.sent);
    batches.map(|sent| (sent.acks, sent.producer_id)).collect()
}

#[test]
fn acks_of_one_asks_the_leader_alone_and_carries_no_producer_id() {
    let cluster = cluster();
    cluster.allow_loose_producers();
    let mut rig = rig(&cluster, less_acks(Acks::Leader));
    cluster.script(
        When::produce().nth(2),
        Action::Error(code::NOT_ENOUGH_REPLICAS),
    );
    for _ in 0..5 {
        rig.send("t", 0, 2);
    }
    rig.settle();
    assert_eq!(log(&cluster, "t", 0), (1..=10).collect::<Vec<u64>>());
    assert!(sent(&cluster).iter().all(|batch| *batch == (1, -1)));
    assert_eq!(cluster.count(Api::InitProducerId), 0);
}

#[test]
fn without_idempotence_a_lost_answer_doubles_the_batch_and_is_counted() {
    let cluster = cluster();
    cluster.allow_loose_producers();
    let mut rig = rig(&cluster, |config| config.idempotence = false);
    cluster.script(When::produce().nth(2), Action::DropAfter);
    for _ in 0..3 {
        rig.send("t", 0, 1);
    }
    rig.settle();
    assert_eq!(log(&cluster, "t", 0), [1, 2, 2, 3]);
    assert_eq!(rig.acked, [1, 2, 3]);
    assert_eq!(rig.producer.status().totals.maybe_duplicate_records, 1);
    assert!(sent(&cluster).iter().all(|batch| *batch == (-1, -1)));
}

#[test]
fn acks_of_none_are_not_waited_for_and_a_refusal_is_not_noticed() {
    let cluster = cluster();
    cluster.allow_loose_producers();
    let mut rig = rig(&cluster, less_acks(Acks::None));
    rig.send("t", 0, 1);
    rig.settle();
    // The broker closes the connection instead of saying why, and the batch is gone.
    cluster.script(When::produce(), Action::Error(code::MESSAGE_TOO_LARGE));
    rig.send("t", 0, 1);
    rig.settle();
    rig.send("t", 0, 1);
    rig.settle();
    assert_eq!(log(&cluster, "t", 0), [1, 3]);
    assert_eq!(rig.acked, [1, 2, 3]);
    assert!(sent(&cluster).iter().all(|batch| *batch == (0, -1)));
}

#[test]
fn an_idle_connection_is_closed_and_opened_for_the_next_batch() {
    let cluster = cluster();
    let idle = Duration::from_millis(300);
    let mut rig = rig(&cluster, |config| config.connections_max_idle = Some(idle));
    rig.send("t", 0, 1);
    rig.settle();
    cluster.wait_until("no connection", PATIENCE, |s| s.open_connections(1) == 0);
    let before = cluster.requests().len();
    rig.send("t", 0, 1);
    rig.settle();
    assert_eq!(log(&cluster, "t", 0), [1, 2]);
    // The new connection asks for versions and produces; nothing is sent twice.
    assert_eq!(cluster.requests().len(), before + 2);
    assert_eq!(rig.producer.status().totals.resent_batches, 0);
}

#[test]
fn a_set_up_that_times_out_has_twice_the_time_at_the_next_attempt() {
    let cluster = cluster();
    cluster.script(When::api(Api::ApiVersions).times(3), Action::Silence);
    let mut rig = rig(&cluster, |config| {
        config.connect_timeout = Duration::from_millis(200);
        config.connect_timeout_max = Duration::from_millis(400);
    });
    rig.send("t", 0, 1);
    rig.settle();
    let requests = cluster.requests();
    let asked = requests.iter().filter(|r| r.api == Api::ApiVersions);
    let at: Vec<Instant> = asked.map(|request| request.at).collect();
    let waits: Vec<u128> = at.windows(2).map(|w| (w[1] - w[0]).as_millis()).collect();
    assert!((200..390).contains(&waits[0]), "{waits:?}");
    assert!((400..790).contains(&waits[1]), "{waits:?}");
    assert!((400..790).contains(&waits[2]), "{waits:?}");
}

#[test]
fn no_more_batches_are_in_flight_than_asked() {
    let cluster = cluster();
    let mut rig = rig(&cluster, |config| config.max_in_flight = 2);
    rig.send("t", 0, 1);
    rig.settle();
    cluster.script(When::produce(), Action::Delay(Duration::from_secs(1)));
    for _ in 0..4 {
        rig.send("t", 0, 1);
    }
    let in_flight = || {
        let status = rig.producer.status();
        let partition = status
            .partitions
            .first()
            .map(|p| (p.in_flight, p.unresolved));
        partition.unwrap_or_default()
    };
    wait_for(PATIENCE, "four batches", || Ok(in_flight().1 == 4)).unwrap();
    assert_eq!(in_flight().0, 2);
    rig.settle();
    assert_eq!(log(&cluster, "t", 0), [1, 2, 3, 4, 5]);
}

#[test]
fn a_request_is_no_larger_than_asked() {
    for (limit, requests) in [(16 << 10, 4), (1 << 20, 1)] {
        let cluster = Cluster::start(1);
        cluster.create_topic("t", 4);
        cluster.broker_down(1);
        let mut rig = rig(&cluster, |config| {
            config.max_request_size = limit;
            // What waits for the first answer goes together, as far as it fits.
            config.max_in_flight = 1;
            config.compression = spoolway::config::Compression::None;
        });
        for partition in 0..4 {
            rig.send("t", partition, 800);
        }
        cluster.broker_up(1);
        rig.settle();
        let all = cluster.requests();
        let sizes: Vec<usize> = all
            .iter()
            .filter(|request| request.api == Api::Produce)
            .map(|request| request.bytes)
            .collect();
        assert!(
            sizes.iter().all(|bytes| *bytes <= limit as usize),
            "{sizes:?}"
        );
        assert!(sizes.len() >= requests, "{sizes:?}");
        assert!(requests > 1 || sizes.len() < 4, "{sizes:?}");
    }
}

#[test]
fn metadata_is_asked_for_again_at_its_age() {
    let cluster = cluster();
    let age = Duration::from_millis(200);
    let mut rig = rig(&cluster, |config| config.metadata_max_age = age);
    rig.send("t", 0, 1);
    rig.settle();
    let before = cluster.count(Api::Metadata);
    cluster.wait_until("three more", PATIENCE, |s| {
        s.count(Api::Metadata) >= before + 3
    });
    let requests = cluster.requests();
    let asked = requests
        .iter()
        .filter(|request| request.api == Api::Metadata);
    let at: Vec<Instant> = asked.map(|request| request.at).collect();
    let last = &at[before..];
    assert!(last.windows(2).all(|w| w[1] - w[0] >= age), "{last:?}");
}

/// Sends with a topic that no broker takes for now: the batch comes back when it expires.
#[test]
fn an_expired_batch_comes_back_and_those_behind_it_keep_their_order() {
    let cluster = cluster();
    let mut rig = rig(&cluster, |_| {});
    rig.send("t", 0, 1);
    rig.settle();
    cluster.script(
        When::produce().always(),
        Action::Error(code::NOT_ENOUGH_REPLICAS),
    );
    rig.lifetime = Some(Duration::from_millis(400));
    let expired = rig.send("t", 0, 1);
    rig.lifetime = None;
    rig.send("t", 0, 1);
    rig.settle();
    let Some(Report::Returned { returned, reason }) = rig.back.first() else {
        panic!("{:?}", rig.back);
    };
    assert_eq!(returned.batches.first(), Some(&expired));
    assert_eq!(returned.batches.len(), 2, "the one behind it came back too");
    assert!(reason.contains("NOT_ENOUGH_REPLICAS") && reason.contains("delivery.timeout.ms"));
    cluster.clear_script();
    let again = returned.batches[1].clone();
    rig.resend("t", 0, &again);
    rig.settle();
    assert_eq!(log(&cluster, "t", 0), [1, 3]);
}

fn wait_for_dead_letter(daemon: &Daemon) {
    wait_for(PATIENCE, "the dead letter", || {
        Ok(daemon.status_json()?["ledger"]["dead_lettered"] == 1)
    })
    .unwrap();
}

#[test]
fn an_event_older_than_the_delivery_timeout_is_a_dead_letter_and_a_younger_one_arrives() {
    let cluster = cluster();
    cluster.broker_down(1);
    let daemon = daemon(&cluster)
        .kafka("linger.ms = 0")
        .kafka("request.timeout.ms = 1000")
        .kafka("delivery.timeout.ms = 3000")
        // The young event has less time than the usual pause before a new connection.
        .kafka("reconnect.backoff.max.ms = 200")
        .start()
        .unwrap();
    let mut writer = daemon.writer().unwrap();
    writer.send_acked(b"old").unwrap();
    wait_for_dead_letter(&daemon); // with no broker there
    cluster.broker_up(1);
    writer.send_acked(b"young").unwrap();
    cluster.wait_until("the young one", PATIENCE, |s| {
        s.topic_record_count("t") == 1
    });
    assert_eq!(cluster.records("t", 0)[0].value_bytes(), b"young");
    let listed = daemon.dead_letters().unwrap();
    assert!(listed.contains("delivery.timeout.ms"), "{listed}");
}

#[test]
fn an_event_that_failed_once_more_than_retries_is_a_dead_letter_and_the_next_arrives() {
    let cluster = cluster();
    cluster.script(
        When::produce().times(3),
        Action::Error(code::NOT_ENOUGH_REPLICAS),
    );
    let daemon = daemon(&cluster)
        .kafka("retries = 2")
        .kafka("retry.backoff.ms = 20")
        .start()
        .unwrap();
    let mut writer = daemon.writer().unwrap();
    writer.send_acked(b"first").unwrap();
    wait_for_dead_letter(&daemon);
    assert_eq!(sent(&cluster).len(), 3, "one send and two again");
    writer.send_acked(b"second").unwrap();
    cluster.wait_until("the second", PATIENCE, |s| s.topic_record_count("t") == 1);
    assert_eq!(cluster.records("t", 0)[0].value_bytes(), b"second");
    let listed = daemon.dead_letters().unwrap();
    assert!(
        listed.contains("(retries = 2): NOT_ENOUGH_REPLICAS"),
        "{listed}"
    );
}

/// Each pause within what 20 % of jitter and a busy machine make of it.
#[track_caller]
fn pauses(requests: &[Request], api: Api, expected_ms: &[u64]) {
    let at: Vec<Instant> = requests
        .iter()
        .filter(|request| request.api == api)
        .map(|request| request.at)
        .collect();
    let pauses: Vec<Duration> = at.windows(2).map(|w| w[1] - w[0]).collect();
    for (pause, expected) in pauses.iter().zip(expected_ms) {
        let expected = Duration::from_millis(*expected);
        let range = expected.mul_f64(0.79)..expected.mul_f64(1.9);
        assert!(range.contains(pause), "{expected:?}: {pauses:?}");
    }
    assert!(pauses.len() >= expected_ms.len(), "{pauses:?}");
}

#[test]
fn the_wait_before_a_retry_doubles_from_the_first_to_the_longest() {
    let cluster = cluster();
    let mut rig = rig(&cluster, |config| {
        config.retry_backoff = Duration::from_millis(150);
        config.retry_backoff_max = Duration::from_millis(600);
    });
    let fault = Action::Error(code::NOT_ENOUGH_REPLICAS);
    cluster.script(When::produce().times(4), fault);
    rig.send("t", 0, 1);
    rig.settle();
    pauses(&cluster.requests(), Api::Produce, &[150, 300, 600, 600]);
}

#[test]
fn the_wait_before_a_new_connection_doubles_from_the_first_to_the_longest() {
    let cluster = cluster();
    cluster.script(When::api(Api::ApiVersions).times(4), Action::DropBefore);
    let mut rig = rig(&cluster, |config| {
        config.reconnect_backoff = Duration::from_millis(150);
        config.reconnect_backoff_max = Duration::from_millis(600);
    });
    rig.send("t", 0, 1);
    rig.settle();
    pauses(&cluster.requests(), Api::ApiVersions, &[150, 300, 600, 600]);
}

#[test]
fn every_request_names_the_client() {
    let cluster = cluster();
    let mut rig = rig(&cluster, |config| config.client_id = "edge-7".into());
    rig.send("t", 0, 1);
    rig.settle();
    let requests = cluster.requests();
    assert!(requests.iter().any(|request| request.api == Api::Produce));
    assert!(requests.iter().all(|request| request.client_id == "edge-7"));
}

/// Nothing is answered: no more than this is built, and the rest waits in the spool.
#[test]
fn batches_built_and_not_acknowledged_stay_within_the_buffer_memory() {
    const MIB: u64 = 1 << 20;
    let event = vec![b'x'; 64 << 10];
    for (limit, more_than) in [(MIB, MIB / 2), (16 * MIB, 3 * MIB)] {
        let cluster = Cluster::start(1);
        cluster.create_topic("t", 8);
        cluster.script(When::produce().always(), Action::Silence);
        let daemon = daemon(&cluster)
            .kafka(&format!("buffer.memory = {limit}"))
            .kafka("batch.size = 131072\ncompression.type = \"none\"")
            .start()
            .unwrap();
        let mut writer = daemon.writer().unwrap();
        let mut count = 0;
        for _ in 0..100 {
            count = writer.send(&event).unwrap();
        }
        writer.wait_acked(count).unwrap();
        let buffered = || daemon.status_json().unwrap()["drain"]["buffered_bytes"].as_u64();
        wait_for(PATIENCE, "the buffer to fill", || {
            Ok(buffered().unwrap() > more_than)
        })
        .unwrap();
        let until = Instant::now() + Duration::from_secs(1);
        while Instant::now() < until {
            // What one block of the spool adds after the last look.
            let most = limit + MIB / 2;
            assert!(buffered().unwrap() <= most, "{:?} of {limit}", buffered());
        }
    }
}

/// As `RoundRobinPartitioner` of Java: the key goes along and decides nothing.
#[test]
fn a_java_partitioner_spreads_events_of_one_key_in_turn() {
    const CLASS: &str = "org.apache.kafka.clients.producer.RoundRobinPartitioner";
    // With the hash one partition has them all; which one is its business.
    for (class, expected) in [(CLASS, [3, 3, 3]), ("DefaultPartitioner", [0, 0, 9])] {
        let cluster = Cluster::start(1);
        cluster.create_topic("t", 3);
        let daemon = daemon(&cluster)
            .kafka(&format!("partitioner.class = \"{class}\""))
            .route("key = \"k\"")
            .start()
            .unwrap();
        let mut writer = daemon.writer().unwrap();
        for number in 0..9 {
            let event = format!("{{\"k\":\"one\",\"n\":{number}}}");
            writer.send(event.as_bytes()).unwrap();
        }
        writer.wait_acked(9).unwrap();
        cluster.wait_until("nine", PATIENCE, |s| s.topic_record_count("t") == 9);
        let records = [0, 1, 2].map(|partition| cluster.records("t", partition));
        let mut counts = records.each_ref().map(Vec::len);
        counts.sort_unstable();
        assert_eq!(counts, expected, "{class}");
        let keyed = |record: &Record| record.key.as_deref() == Some(b"one");
        assert!(records.iter().flatten().all(keyed));
    }
}

/// Airbyte's "sync producer": the writer goes on when Kafka has the event.
#[test]
fn a_writer_that_waits_for_the_broker_is_told_after_the_broker_has_the_event() {
    let cluster = cluster();
    let delay = Duration::from_millis(700);
    cluster.script(When::produce(), Action::Delay(delay));
    let daemon = daemon(&cluster).ack("broker").start().unwrap();
    let mut writer = daemon.writer().unwrap();
    let begun = Instant::now();
    writer.send_acked(b"one").unwrap();
    assert!(
        begun.elapsed() >= delay,
        "acknowledged before the broker's answer"
    );
    assert_eq!(cluster.records("t", 0).len(), 1);
}

#[test]
fn explain_prints_every_value_with_its_origin_and_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let properties = dir.path().join("client.properties");
    let java = "security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nlinger.ms=20\n\
        sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
        username=\"u\" password=\"canary\";\n";
    std::fs::write(&properties, java).unwrap();
    let path = dir.path().join("spoolway.toml");
    let text = format!(
        "[spool]\ndir = \"/s\"\n[[input]]\nname = \"a\"\ntype = \"unix\"\npath = \"/a\"\n\
         [[route]]\ntopic = \"t\"\n[kafka]\nbootstrap.servers = \"k:1\"\n\
         properties_file = \"{}\"\n",
        properties.display()
    );
    std::fs::write(&path, text).unwrap();
    std::fs::create_dir(dir.path().join("conf.d")).unwrap();
    let drop_in = "[kafka]\nbatch.num.messages = 5\n";
    std::fs::write(dir.path().join("conf.d/10.toml"), drop_in).unwrap();
    let explain = |more: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_spoolway"));
        command
            .args(["kafka", "explain", "--config"])
            .arg(&path)
            .args(more);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let all = [output.stdout, output.stderr].concat();
        String::from_utf8(all).unwrap()
    };
    let text = explain(&[]);
    for line in [
        format!("linger.ms = 20  # {}:3", properties.display()),
        format!("sasl.jaas.config = ***  # {}:4", properties.display()),
        format!("bootstrap.servers = k:1  # {}:10", path.display()),
        format!(
            "batch.events = 5  # {}:2, as batch.num.messages",
            dir.path().join("conf.d/10.toml").display()
        ),
        "acks = all  # default".to_owned(),
        "delivery.timeout.ms = (none)  # default".to_owned(),
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is not in\n{text}"
        );
    }
    let json = explain(&["--json"]);
    let rows: serde_json::Value = serde_json::from_str(&json).unwrap();
    let linger = rows
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["name"] == "linger.ms");
    assert_eq!(linger.unwrap()["value"], "20");
    assert!(!format!("{text}{json}").contains("canary"));
}
