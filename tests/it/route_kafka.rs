//! Routes, by the real daemon against a real Apache Kafka: what concerns no product alone.

use spoolway_test_support::kafka::Kafka;
use spoolway_test_support::kafka::wait::wait_for;

use crate::route_rig::*;
use crate::transaction_rig::positions;

#[test]
fn a_writer_cannot_pick_a_topic_outside_the_template() {
    let kafka = Kafka::shared();
    kafka.admin().create_topic("conf-a", 1, &[]).unwrap();
    let lines = "allowed_topics = [\"conf-a\", \"conf-b*\"]";
    let daemon = daemon("conf-{t}", lines);
    let events = [
        r#"{"t":"a"}"#,
        r#"{"t":"secret"}"#,
        r#"{"t":"a b"}"#,
        "{}",
        "text",
    ];
    let _writer = write(&daemon, &events);
    wait_drained(&daemon);
    assert_eq!(
        values(&kafka.admin().read_all("conf-a").unwrap()),
        [events[0]]
    );
    let reasons = daemon.dead_letters().unwrap();
    for part in [
        "not among allowed_topics",
        "cannot have",
        "has no t",
        "not JSON",
    ] {
        assert!(reasons.contains(part), "{part}: {reasons}");
    }
}

#[test]
fn a_topic_made_from_events_is_forgotten_when_idle_and_comes_back_whole() {
    let ids = forgotten_and_back("day", "client.id = \"day\"");
    assert_ne!(
        ids[0], ids[5],
        "the broker remembers sequences of the first id"
    );
    let positions = positions("night");
    let compact = [("cleanup.policy", "compact")];
    let admin = Kafka::shared().admin();
    admin.create_topic(&positions, 1, &compact).unwrap();
    let position = format!("transactional.position.topic = \"{positions}\"");
    let lines = format!("transactional.id = \"night\"\n{position}");
    forgotten_and_back("night", &lines);
}

/// Six events for a topic that is forgotten after the third; the producer id of each.
fn forgotten_and_back(prefix: &str, line: &str) -> Vec<i64> {
    let admin = Kafka::shared().admin();
    let topics = [1, 2].map(|number| format!("{prefix}-{number}"));
    for topic in &topics {
        admin.create_topic(topic, 1, &[]).unwrap();
    }
    let topic = format!("{prefix}-{{t}}");
    let builder = builder(&topic, "[routing]\ntopic_idle = \"1s\"");
    let builder = builder.root("log.filter = \"debug\"").kafka(line);
    let daemon = builder.start().unwrap();
    let write_to = |topic: u32, n: u32| {
        let event = format!("{{\"t\":{topic},\"n\":{n}}}");
        let _writer = write(&daemon, &[&event]);
        wait_drained(&daemon);
        event
    };
    let mut events: Vec<String> = (1..=3).map(|n| write_to(1, n)).collect();
    write_to(2, 1);
    wait_for(WITHIN, "the end of the first", || {
        let log = daemon.log();
        let mut lines = log.lines().filter(|line| line.contains("forgotten until"));
        Ok(lines.any(|line| line.contains(&topics[0])))
    })
    .unwrap();
    events.extend((4..=6).map(|n| write_to(1, n)));
    let records = admin.read_all(&topics[0]).unwrap();
    assert_eq!(records.iter().map(value).collect::<Vec<_>>(), events);
    assert_eq!(ledger(&daemon, "delivered"), 7);
    records.iter().map(|record| record.producer_id).collect()
}

#[test]
fn the_java_console_consumer_reads_keys_headers_and_tombstones() {
    let lines = "key = \"k\"\npartition = 0\ntombstone = 'gone'\nid_header = false\n\
                 headers = [[\"h\", \"{k}\"], [\"h\", \"2\"], [\"n\"]]";
    sent(
        "java-reads",
        lines,
        &[r#"{"k":"a"}"#, r#"{"k":"b","gone":true}"#],
    );
    let properties = ["print.key=true", "print.headers=true", "null.literal=NULL"];
    let kafka = Kafka::shared();
    let printed = kafka
        .console_consumer_with("java-reads", 2, &properties)
        .unwrap();
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(
        lines,
        [
            "h:a,h:2,n:NULL\ta\t{\"k\":\"a\"}",
            "h:b,h:2,n:NULL\tb\tNULL"
        ]
    );
}

#[test]
fn dropped_events_are_counted() {
    let daemon = daemon("drops", "trigger = '@page'\n[routing]\nno_match = \"drop\"");
    let _writer = write(&daemon, &[&call("page"), &call("track"), &call("track")]);
    wait_drained(&daemon);
    assert_eq!(
        (ledger(&daemon, "dropped"), ledger(&daemon, "delivered")),
        (2, 1)
    );
}

#[test]
fn a_timestamp_is_that_of_the_event_or_else_when_it_was_received() {
    let events = [
        r#"{"n":1,"time":1700000000123}"#,
        r#"{"n":2,"time":"2001-09-09T03:46:40.5+02:00"}"#,
        r#"{"n":3}"#,
    ];
    let before = now_ms();
    let records = sent("times", "timestamp = \"time\"\npartition = 0", &events);
    let times: Vec<i64> = records.iter().map(|record| record.timestamp).collect();
    assert_eq!(times[..2], [1_700_000_000_123, 1_000_000_000_500]);
    assert!((before..=now_ms()).contains(&times[2]), "{times:?}");
}

#[test]
fn seconds_and_the_time_of_sending_do_not_share_a_batch() {
    let lines = "partition = 0\ntrigger = 'n < 3'\ntimestamp = \"time\"\n\
                 timestamp_unit = \"s\"\n[[route]]\nname = \"now\"\ntopic = \"seconds\"\npartition = 0";
    let events = [
        r#"{"n":1,"time":1700000000.25}"#,
        r#"{"n":2,"time":5}"#,
        r#"{"n":3,"time":1}"#,
    ];
    let before = now_ms();
    let records = sent("seconds", lines, &events);
    let times: Vec<i64> = records.iter().map(|record| record.timestamp).collect();
    assert_eq!(times[..2], [1_700_000_000_250, 5_000]);
    assert!((before..=now_ms()).contains(&times[2]), "{times:?}");
    assert_eq!(values(&records), events);
}

#[test]
fn a_field_that_is_no_time_makes_a_dead_letter() {
    let daemon = daemon("no-times", "timestamp = \"time\"");
    let _writer = write(&daemon, &[r#"{"time":"soon"}"#, r#"{"time":1}"#]);
    wait_drained(&daemon);
    assert_eq!(ledger(&daemon, "dead_lettered"), 1);
    let reasons = daemon.dead_letters().unwrap();
    assert!(reasons.contains("is not a time"), "{reasons}");
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_millis() as i64
}
