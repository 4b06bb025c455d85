//! Routes, by the real daemon against a real Apache Kafka: each row of docs/segment.md,
//! docs/rudderstack.md, docs/signalsmith.md and docs/airbyte.md that is about an event.

use std::fs;
use std::time::Duration;

use spoolway::route::partition::keyed_partition;
use spoolway_test_support::daemon::{Daemon, Writer};
use spoolway_test_support::kafka::Kafka;
use spoolway_test_support::kafka::wait::wait_for;
use spoolway_test_support::wire::Record;

const WITHIN: Duration = Duration::from_secs(60);
const PARTITIONS: i32 = 3;

/// A daemon whose one route goes to a topic of its own; `lines` go on in its table.
fn daemon(topic: &str, lines: &str) -> Daemon {
    let kafka = Kafka::shared();
    if !topic.contains('{') {
        kafka.admin().create_topic(topic, PARTITIONS, &[]).unwrap();
    }
    Daemon::builder(env!("CARGO_BIN_EXE_spoolway"))
        .bootstrap(&kafka.bootstrap())
        .topic(topic)
        .route(lines)
        .start()
        .unwrap()
}

fn write(daemon: &Daemon, events: &[&str]) -> Writer {
    let mut writer = daemon.writer().unwrap();
    let mut sent = 0;
    for event in events {
        sent = writer.send(event.as_bytes()).unwrap();
    }
    writer.wait_acked(sent).unwrap();
    writer
}

fn wait_drained(daemon: &Daemon) {
    wait_for(WITHIN, "an empty spool", || {
        Ok(daemon.status_json()?["ledger"]["in_spool"] == 0)
    })
    .unwrap();
}

/// What the topic holds once the spool is empty.
fn sent(topic: &str, lines: &str, events: &[&str]) -> Vec<Record> {
    let daemon = daemon(topic, lines);
    let _writer = write(&daemon, events);
    wait_drained(&daemon);
    Kafka::shared().admin().read_all(topic).unwrap()
}

fn one(topic: &str, lines: &str, event: &str) -> Record {
    let mut records = sent(topic, lines, &[event]);
    assert_eq!(records.len(), 1);
    records.remove(0)
}

fn value(record: &Record) -> String {
    String::from_utf8(record.value.clone().expect("a value").to_vec()).unwrap()
}

fn key(record: &Record) -> Option<String> {
    let key = record.key.clone()?;
    Some(String::from_utf8(key.to_vec()).unwrap())
}

fn values(records: &[Record]) -> Vec<String> {
    let mut values: Vec<String> = records.iter().map(value).collect();
    values.sort();
    values
}

fn ledger(daemon: &Daemon, name: &str) -> u64 {
    daemon.status_json().unwrap()["ledger"][name]
        .as_u64()
        .unwrap()
}

/// The reasons of all dead letters.
fn reasons(daemon: &Daemon) -> String {
    let mut command = daemon.command("dead-letter");
    let output = command.arg("list").output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn call(kind: &str) -> String {
    format!(r#"{{"type":"{kind}"}}"#)
}

#[test]
fn segment_sends_its_default_calls_and_nothing_else() {
    let daemon = daemon("seg-default", "preset = \"segment\"");
    let calls = ["track", "identify", "page", "screen", "group", "alias"].map(call);
    let events: Vec<&str> = calls.iter().map(String::as_str).collect();
    let _writer = write(&daemon, &events);
    wait_drained(&daemon);
    let records = Kafka::shared().admin().read_all("seg-default").unwrap();
    let mut wanted = calls[..5].to_vec();
    wanted.sort();
    assert_eq!(values(&records), wanted);
    assert_eq!(ledger(&daemon, "dead_lettered"), 1);
    assert!(
        reasons(&daemon).contains("no route takes it"),
        "{}",
        reasons(&daemon)
    );
}

#[test]
fn segment_spec_calls_are_named_presets() {
    let lines = "trigger = '@alias or @group and !@page'\n[routing]\nno_match = \"drop\"";
    let events = ["alias", "group", "page", "screen", "identify", "track"].map(call);
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    let records = sent("seg-calls", lines, &events);
    assert_eq!(values(&records), [call("alias"), call("group")]);
}

#[test]
fn segment_mappings_are_routes_and_the_first_that_takes_an_event_gets_it() {
    let kafka = Kafka::shared();
    kafka.admin().create_topic("seg-map-big", 1, &[]).unwrap();
    let lines = r#"
trigger = 'properties.total > 100 and match(event, "Order *")'
name = "big"
enabled = true
[[route]]
name = "off"
topic = "seg-nowhere"
enabled = false
[[route]]
name = "rest"
topic = "seg-map-big"
"#;
    let big = r#"{"event":"Order Completed","properties":{"total":100.01}}"#;
    let small = r#"{"event":"Order Completed","properties":{"total":100}}"#;
    let records = sent("seg-map", lines, &[big, small, "no json"]);
    assert_eq!(values(&records), [big]);
    let rest = kafka.admin().read_all("seg-map-big").unwrap();
    assert_eq!(values(&rest), ["no json", small]);
}

#[test]
fn segment_mappings_each_send_the_event_with_match_all() {
    let kafka = Kafka::shared();
    kafka.admin().create_topic("seg-all-users", 1, &[]).unwrap();
    let lines = r#"
preset = "segment"
key = "userId"
[routing]
match = "all"
[[route]]
name = "users"
preset = "segment"
topic = "seg-all-users"
trigger = '@identify'
payload = { user = "{userId}" }
[[route]]
name = "off"
topic = "seg-nowhere"
enabled = false
"#;
    let identify = r#"{"type":"identify","userId":"u1"}"#;
    let track = r#"{"type":"track","userId":"u2"}"#;
    let daemon = daemon("seg-all", lines);
    let _writer = write(&daemon, &[identify, track]);
    wait_drained(&daemon);
    let everything = kafka.admin().read_all("seg-all").unwrap();
    assert_eq!(values(&everything), [identify, track]);
    let users = kafka.admin().read_all("seg-all-users").unwrap();
    assert_eq!(values(&users), [r#"{"user":"u1"}"#]);
    assert_eq!(ledger(&daemon, "delivered"), 2);
}

#[test]
fn segment_integrations_object_is_honoured() {
    let lines = "preset = \"segment\"\n[routing]\nno_match = \"drop\"";
    let event = |object: &str| format!(r#"{{"type":"track","integrations":{object}}}"#);
    let events = [
        r#"{"Kafka":false}"#,
        r#"{"All":false}"#,
        r#"{"All":false,"Kafka":{"topic":"x"}}"#,
        r#"{"All":true}"#,
    ]
    .map(event);
    let lines_of: Vec<&str> = events.iter().map(String::as_str).collect();
    let records = sent("seg-integrations", lines, &lines_of);
    assert_eq!(values(&records), [events[2].clone(), events[3].clone()]);
}

#[test]
fn segment_payload_is_the_event_byte_for_byte_or_a_mapping() {
    let event = "{ \"type\":\"track\", \"n\": 12345678901234567890.10 }";
    let record = one("seg-payload", "preset = \"segment\"", event);
    assert_eq!(value(&record), event);
    let lines = "preset = \"segment\"\npayload = { kind = \"{type}\", deep = { n = \"{n}\" }, \
                 fixed = 1.50, text = \"a {type}\" }";
    let record = one("seg-mapping", lines, event);
    let wanted =
        r#"{"kind":"track","deep":{"n":12345678901234567890.10},"fixed":1.50,"text":"a track"}"#;
    assert_eq!(value(&record), wanted);
}

#[test]
fn segment_headers_keep_order_and_may_share_names_or_be_null() {
    let lines = r#"id_header = false
headers = [["b", "{type}"], ["a", "x"], ["b", "{@input}"], ["n"], ["gone", "{none}"]]"#;
    let record = one("seg-headers", lines, &call("track"));
    let headers: Vec<(&str, Option<&[u8]>)> = record
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_deref()))
        .collect();
    let wanted: [(&str, Option<&[u8]>); 5] = [
        ("b", Some(b"track")),
        ("a", Some(b"x")),
        ("b", Some(b"app")),
        ("n", None),
        ("gone", None),
    ];
    assert_eq!(headers, wanted);
}

#[test]
fn segment_partition_comes_before_default_partition_and_that_before_the_key() {
    let lines = "key = \"k\"\npartition = \"p\"\ndefault_partition = 2";
    let events = [r#"{"k":"a","p":1}"#, r#"{"k":"a"}"#, r#"{"p":"0"}"#];
    let records = sent("seg-partition", lines, &events);
    let placed: Vec<(i32, String)> = records.iter().map(|r| (r.partition, value(r))).collect();
    let wanted = [(0, events[2]), (1, events[0]), (2, events[1])];
    assert_eq!(placed, wanted.map(|(p, event)| (p, event.to_owned())));
}

#[test]
fn a_partition_that_does_not_exist_is_a_dead_letter() {
    let daemon = daemon("seg-no-partition", "partition = \"p\"");
    let _writer = write(&daemon, &[r#"{"p":3}"#, r#"{"p":"x"}"#, r#"{"p":0}"#]);
    wait_drained(&daemon);
    assert_eq!(ledger(&daemon, "dead_lettered"), 2);
    let reasons = reasons(&daemon);
    assert!(reasons.contains("has no partition 3"), "{reasons}");
    assert!(reasons.contains("is not a partition"), "{reasons}");
}

#[test]
fn segment_events_without_a_key_go_round_robin() {
    let events: Vec<String> = (0..9)
        .map(|n| format!(r#"{{"type":"track","n":{n}}}"#))
        .collect();
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    let records = sent("seg-robin", "preset = \"segment\"", &events);
    for partition in 0..PARTITIONS {
        let there = records.iter().filter(|r| r.partition == partition).count();
        assert_eq!(there, 3, "partition {partition}");
    }
}

#[test]
fn segment_batch_size_bounds_the_events_of_a_batch() {
    let lines = "batch_events = 2\ncompression = \"gzip\"\npartition = 0";
    let records = sent("seg-batch", lines, &["1", "2", "3", "4", "5", "6"]);
    assert_eq!(records.len(), 6);
    for record in &records {
        let together = records
            .iter()
            .filter(|r| r.batch_offset == record.batch_offset);
        assert!(together.count() <= 2);
        assert_eq!(format!("{:?}", record.codec), "Gzip");
    }
}

#[test]
fn segment_batch_bytes_bound_the_bytes_of_a_batch() {
    let event = format!("\"{}\"", "x".repeat(2_000));
    let events = vec![event.as_str(); 12];
    let records = sent("seg-bytes", "batch_bytes = 5000\npartition = 0", &events);
    assert_eq!(records.len(), 12);
    for record in &records {
        let together = records
            .iter()
            .filter(|r| r.batch_offset == record.batch_offset);
        assert!(together.count() <= 2);
    }
}

#[test]
fn segment_audience_events_pass_as_user_properties() {
    let event = r#"{"type":"identify","userId":"u","traits":{"order_completed_last_30days":true}}"#;
    let lines = "preset = \"segment\"\nkey = \"userId\"\n\
                 payload = { user = \"{userId}\", properties = \"{traits}\" }";
    let record = one("seg-audience", lines, event);
    let wanted = r#"{"user":"u","properties":{"order_completed_last_30days":true}}"#;
    assert_eq!(
        (key(&record).as_deref(), value(&record)),
        (Some("u"), wanted.to_owned())
    );
}

#[test]
fn rudderstack_keys_by_user_or_else_by_anonymous_user() {
    let events = [
        r#"{"userId":"u1","anonymousId":"a1"}"#,
        r#"{"userId":null,"anonymousId":"a2"}"#,
        r#"{"anonymousId":"a3"}"#,
        r#"{"userId":"","anonymousId":"a4"}"#,
    ];
    let mut records = sent("rudder", "preset = \"rudderstack\"", &events);
    records.sort_by_key(key);
    let keys: Vec<Option<String>> = records.iter().map(key).collect();
    assert_eq!(keys, ["a2", "a3", "a4", "u1"].map(|k| Some(k.to_owned())));
    for record in &records {
        let key = record.key.clone().unwrap();
        assert_eq!(record.partition, keyed_partition(&key, PARTITIONS));
    }
}

#[test]
fn signalsmith_keys_by_the_primary_key_or_the_field_that_is_named() {
    let event = r#"{"id":7,"country":"nz"}"#;
    let record = one("signal-id", "preset = \"signalsmith\"", event);
    assert_eq!(
        (key(&record).as_deref(), value(&record)),
        (Some("7"), event.to_owned())
    );
    let lines = "preset = \"signalsmith\"\nkey = [\"country\", \"id\"]";
    let records = sent("signal-field", lines, &[event, r#"{"id":8}"#]);
    let mut keys: Vec<Option<String>> = records.iter().map(key).collect();
    keys.sort();
    assert_eq!(keys, [Some("8".to_owned()), Some("nz".to_owned())]);
}

#[test]
fn airbyte_topic_pattern_and_envelope_with_the_uuid_as_key() {
    let kafka = Kafka::shared();
    for topic in ["ab-shop-orders", "ab-shop-users"] {
        kafka.admin().create_topic(topic, 1, &[]).unwrap();
    }
    let daemon = daemon("ab-{namespace}-{stream}", "preset = \"airbyte\"");
    let message = |stream: &str, n: u32| {
        format!(
            "{{\"type\":\"RECORD\",\"record\":{{\"namespace\":\"shop\",\"stream\":\"{stream}\",\
             \"emitted_at\":{n},\"data\":{{\"n\": {n}.0}}}}}}"
        )
    };
    let flat = r#"{"namespace":"shop","stream":"users","n":3}"#.to_owned();
    let events = [message("orders", 1), message("users", 2), flat.clone()];
    let _writer = write(&daemon, &events.each_ref().map(String::as_str));
    wait_drained(&daemon);
    let orders = kafka.admin().read_all("ab-shop-orders").unwrap();
    let users = kafka.admin().read_all("ab-shop-users").unwrap();
    assert_eq!((orders.len(), users.len()), (1, 2));
    for record in orders.iter().chain(&users) {
        let envelope: serde_json::Value = serde_json::from_str(&value(record)).unwrap();
        let id = envelope["_airbyte_ab_id"].as_str().map(str::to_owned);
        assert!(id.is_some() && id == key(record));
    }
    let tail = r#""_airbyte_emitted_at":1,"_airbyte_data":{"n": 1.0}}"#;
    assert!(value(&orders[0]).ends_with(tail), "{}", value(&orders[0]));
    assert!(value(&users[1]).ends_with(&format!("\"_airbyte_data\":{flat}}}")));
}

/// The uuid that belongs to a stable id: 60 bits of the spool, 62 of the sequence.
fn uuid_of(stable_id: &str) -> String {
    let (spool, seq) = stable_id.split_once('-').unwrap();
    let seq: u64 = seq.parse().unwrap();
    let low = format!("{:016x}", 1 << 63 | seq);
    let (a, b, c) = (&spool[1..9], &spool[9..13], &spool[13..16]);
    format!("{a}-{b}-8{c}-{}-{}", &low[..4], &low[4..])
}

#[test]
fn the_uuid_of_an_event_is_the_same_after_a_restart() {
    let kafka = Kafka::shared();
    let mut daemon = Daemon::builder(env!("CARGO_BIN_EXE_spoolway"))
        .bootstrap(&kafka.bootstrap())
        .topic("ab-late")
        .route("preset = \"airbyte\"")
        .start()
        .unwrap();
    let events: Vec<String> = (0..20).map(|n| format!("{{\"n\":{n}}}")).collect();
    let _writer = write(
        &daemon,
        &events.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    daemon.kill9().unwrap();
    kafka.admin().create_topic("ab-late", 1, &[]).unwrap();
    daemon.start().unwrap();
    wait_drained(&daemon);
    let records = kafka.admin().read_all("ab-late").unwrap();
    assert_eq!(records.len(), 20);
    let spool = daemon.status_json().unwrap()["spool_id"].clone();
    for (seq, record) in (1..).zip(&records) {
        let id = String::from_utf8(record.header("spoolway-id").unwrap().to_vec()).unwrap();
        assert!(id.ends_with(&format!("-{seq}")), "{id} of {spool}");
        assert_eq!(key(record), Some(uuid_of(&id)));
    }
}

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
    let reasons = reasons(&daemon);
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
fn a_changed_route_governs_the_backlog() {
    let kafka = Kafka::shared();
    kafka.admin().create_topic("change-new", 1, &[]).unwrap();
    // The topic of the old route does not exist, so nothing can leave.
    let daemon = Daemon::builder(env!("CARGO_BIN_EXE_spoolway"))
        .bootstrap(&kafka.bootstrap())
        .topic("change-missing")
        .start()
        .unwrap();
    let events: Vec<String> = (0..500).map(|n| format!("{{\"n\":{n}}}")).collect();
    let _writer = write(
        &daemon,
        &events.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    assert_eq!(ledger(&daemon, "in_spool"), 500);
    let text = fs::read_to_string(daemon.config()).unwrap();
    let text = text.replace(
        "topic = \"change-missing\"",
        "topic = \"change-new\"\nkey = \"n\"",
    );
    fs::write(daemon.config(), text).unwrap();
    daemon.sighup().unwrap();
    wait_drained(&daemon);
    let records = kafka.admin().read_all("change-new").unwrap();
    let keys: Vec<Option<String>> = records.iter().map(key).collect();
    let wanted: Vec<Option<String>> = (0..500).map(|n| Some(n.to_string())).collect();
    assert_eq!(keys, wanted);
}

#[test]
fn events_without_a_route_wait_while_the_dead_letter_store_is_full() {
    let kafka = Kafka::shared();
    kafka.admin().create_topic("full-dead", 1, &[]).unwrap();
    let daemon = Daemon::builder(env!("CARGO_BIN_EXE_spoolway"))
        .bootstrap(&kafka.bootstrap())
        .topic("full-dead")
        .route("trigger = '@page'")
        .spool("dead_letter_max_bytes = \"1MiB\"")
        .start()
        .unwrap();
    let strange = format!("{{\"type\":\"x\",\"pad\":\"{}\"}}", "x".repeat(400_000));
    let page = call("page");
    for _ in 0..4 {
        let _writer = write(&daemon, &[&strange, &page]);
    }
    wait_for(
        WITHIN,
        "the pages",
        || Ok(ledger(&daemon, "delivered") == 4),
    )
    .unwrap();
    wait_for(WITHIN, "a full store", || {
        Ok(daemon.log().contains("cannot store dead letters"))
    })
    .unwrap();
    assert!(ledger(&daemon, "in_spool") > 0);
    let text = fs::read_to_string(daemon.config()).unwrap();
    fs::write(daemon.config(), text.replace("'@page'", "'true'")).unwrap();
    daemon.sighup().unwrap();
    wait_drained(&daemon);
    let total = ledger(&daemon, "dead_lettered") + ledger(&daemon, "delivered");
    assert_eq!(total, 8);
}
