//! Each row of docs/segment.md that is about an event, by the real daemon against a real
//! Apache Kafka.

use spoolway_test_support::kafka::Kafka;

use crate::route_rig::*;

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
        daemon.dead_letters().unwrap().contains("no route takes it"),
        "{}",
        daemon.dead_letters().unwrap()
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
    let reasons = daemon.dead_letters().unwrap();
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

/// A megabyte and a half that no codec makes smaller, in one go.
#[test]
fn a_batch_of_the_default_size_is_taken_by_a_broker_as_it_comes() {
    let mut rng = fastrand::Rng::with_seed(1);
    let noise = |rng: &mut fastrand::Rng| rng.u8(b' '..=b'~');
    let events: Vec<String> = (0..750)
        .map(|_| (0..2_000).map(|_| char::from(noise(&mut rng))).collect())
        .collect();
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    for (topic, lines) in [
        ("size-plain", "compression = \"none\""),
        (
            "size-segment",
            "preset = \"segment\"\ntrigger = \"true\"\nintegrations = \"\"",
        ),
    ] {
        let builder = builder(topic, &format!("{lines}\npartition = 0"));
        let daemon = builder.kafka("linger.ms = 2000").start().unwrap();
        let _writer = write(&daemon, &events);
        wait_drained(&daemon);
        let records = Kafka::shared().admin().read_all(topic).unwrap();
        assert_eq!(records.len(), events.len());
        let first: usize = records
            .iter()
            .filter(|record| record.batch_offset == 0)
            .map(|record| record.value.as_ref().unwrap().len())
            .sum();
        assert!((900_000..1_000_000).contains(&first), "{topic}: {first}");
        assert!(!daemon.log().contains("refused"), "{}", daemon.log());
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
