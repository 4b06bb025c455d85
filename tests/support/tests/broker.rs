//! The test broker itself: every cached version starts, stores what it is sent and comes back.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::records as wire_format;
use spoolway_test_support::kafka::wait::wait_for;
use spoolway_test_support::kafka::{Kafka, Version};
use spoolway_test_support::wire::{Codec, Record};

fn batch(values: &[&'static str], compression: wire_format::Compression) -> Bytes {
    let records: Vec<wire_format::Record> = (0..)
        .zip(values)
        .map(|(index, value)| wire_format::Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: -1,
            producer_id: -1,
            producer_epoch: -1,
            timestamp_type: wire_format::TimestampType::Creation,
            offset: index,
            // The encoder starts a new batch where the sequence is not that of the offset.
            sequence: i32::try_from(index).unwrap(),
            timestamp: 1_700_000_000_000 + index,
            key: (index % 2 == 0).then(|| Bytes::from_static(b"even")),
            value: Some(Bytes::from_static(value.as_bytes())),
            headers: IndexMap::from([("n".into(), Some(Bytes::from(index.to_string())))]),
        })
        .collect();
    let options = wire_format::RecordEncodeOptions {
        version: 2,
        compression,
    };
    let mut bytes = BytesMut::new();
    wire_format::RecordBatchEncoder::encode(&mut bytes, &records, &options).unwrap();
    bytes.freeze()
}

fn values(records: &[Record]) -> Vec<&[u8]> {
    records
        .iter()
        .map(|record| record.value.as_deref().unwrap())
        .collect()
}

fn stores_and_comes_back(version: Version) {
    let from = Instant::now();
    let mut kafka = Kafka::builder().version(version).start().unwrap();
    println!(
        "Kafka {} served after {:?}",
        version.as_str(),
        from.elapsed()
    );
    let admin = kafka.admin();
    admin
        .create_topic("events", 2, &[("max.message.bytes", "65536")])
        .unwrap();
    for (compression, codec) in [
        (wire_format::Compression::None, Codec::None),
        (wire_format::Compression::Gzip, Codec::Gzip),
        (wire_format::Compression::Snappy, Codec::Snappy),
        (wire_format::Compression::Lz4, Codec::Lz4),
        (wire_format::Compression::Zstd, Codec::Zstd),
    ] {
        let first = admin
            .produce("events", 1, batch(&["one", "two"], compression))
            .unwrap();
        let records = admin.read_all("events").unwrap();
        let last = &records[records.len() - 2..];
        assert_eq!(values(last), [b"one", b"two"]);
        assert_eq!(last[0].key.as_deref(), Some(&b"even"[..]));
        assert_eq!(last[1].key, None);
        assert_eq!(last[1].header("n"), Some(&b"1"[..]));
        assert_eq!(last[1].timestamp, 1_700_000_000_001);
        assert_eq!((last[1].partition, last[1].offset), (1, first + 1));
        assert_eq!((last[1].batch_offset, last[1].codec), (first, codec));
    }

    kafka.kill9().unwrap();
    let from = Instant::now();
    kafka.start().unwrap();
    println!("back after {:?}", from.elapsed());
    let records = admin
        .wait_for_records("events", 10, Duration::from_secs(20))
        .unwrap();
    assert_eq!(records.len(), 10);
    let from = Instant::now();
    kafka.stop().unwrap();
    println!("stopped in {:?}", from.elapsed());
}

#[test]
fn kafka_4_4_stores_what_it_is_sent_and_keeps_it_over_kill_9() {
    stores_and_comes_back(Version::V4_4);
}

#[test]
fn kafka_4_3_stores_what_it_is_sent_and_keeps_it_over_kill_9() {
    stores_and_comes_back(Version::V4_3);
}

#[test]
fn kafka_3_9_stores_what_it_is_sent_and_keeps_it_over_kill_9() {
    stores_and_comes_back(Version::V3_9);
}

#[test]
fn a_broker_that_cannot_start_says_why() {
    let start = Kafka::builder().property("num.io.threads", "none").start();
    let error = format!("{:#}", start.unwrap_err());
    assert!(error.contains("num.io.threads"), "{error}");
}

const HOLDER: &str = "helper_that_holds_a_broker_until_it_is_killed";
const HOLDER_SAYS: &str = "broker ";

#[test]
#[ignore = "runs for ever; started by the test below, as a process of its own"]
fn helper_that_holds_a_broker_until_it_is_killed() {
    let kafka = Kafka::shared();
    let folder = kafka.pki().ca.parent().unwrap().display();
    println!("{HOLDER_SAYS}{} {folder}", kafka.process_id().unwrap());
    loop {
        std::thread::park();
    }
}

#[test]
fn no_jvm_and_no_folder_outlive_a_killed_test_process() {
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", HOLDER, "--nocapture"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    let said = lines
        .map_while(Result::ok)
        .find_map(|line| Some(line.split_once(HOLDER_SAYS)?.1.to_owned()));
    let said = said.expect("the helper ended without a broker");
    let (id, folder) = said.split_once(' ').unwrap();
    let command_line = format!("/proc/{id}/cmdline");
    assert!(
        fs::read_to_string(&command_line)
            .unwrap()
            .contains("kafka.Kafka")
    );

    holder.kill().unwrap();
    holder.wait().unwrap();
    wait_for(
        Duration::from_secs(10),
        "the JVM and its folder to go",
        || {
            // A process that nobody has waited for has an empty command line.
            let ended = fs::read(&command_line).is_ok_and(|line| line.is_empty())
                || !fs::exists(&command_line)?;
            Ok(ended && !fs::exists(folder)?)
        },
    )
    .unwrap();
}
