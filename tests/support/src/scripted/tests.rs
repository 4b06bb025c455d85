//! The scripted broker itself, with `kafka-protocol` as the client.

use std::io::{Read, Write};
use std::net::TcpStream;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::api_versions_request::ApiVersionsRequest;
use kafka_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, InitProducerIdRequest, InitProducerIdResponse, MetadataResponse,
    ProduceRequest, ProduceResponse, RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use kafka_protocol::records::{
    Compression, Record as WireRecord, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};

use super::*;

const WAIT: Duration = Duration::from_secs(10);

struct Client {
    stream: TcpStream,
    next: i32,
}

impl Client {
    fn connect(cluster: &Cluster, broker: i32) -> Self {
        let stream = TcpStream::connect(cluster.address(broker)).unwrap();
        stream.set_read_timeout(Some(WAIT)).unwrap();
        Self { stream, next: 7 }
    }

    fn send<R: Encodable>(&mut self, key: ApiKey, version: i16, request: &R) {
        self.next += 1;
        let header = RequestHeader::default()
            .with_request_api_key(key as i16)
            .with_request_api_version(version)
            .with_correlation_id(self.next)
            .with_client_id(Some(StrBytes::from_static_str("self-test")));
        let mut out = BytesMut::new();
        out.put_i32(0);
        header
            .encode(&mut out, key.request_header_version(version))
            .unwrap();
        request.encode(&mut out, version).unwrap();
        let length = i32::try_from(out.len() - 4).unwrap();
        out[..4].copy_from_slice(&length.to_be_bytes());
        self.stream.write_all(&out).unwrap();
    }

    fn receive<A: Decodable>(&mut self, key: ApiKey, version: i16) -> std::io::Result<A> {
        let mut prefix = [0; 4];
        self.stream.read_exact(&mut prefix)?;
        let mut frame = vec![0; u32::from_be_bytes(prefix) as usize];
        self.stream.read_exact(&mut frame)?;
        let mut frame = Bytes::from(frame);
        let header = ResponseHeader::decode(&mut frame, key.response_header_version(version));
        assert_eq!(
            header.unwrap().correlation_id,
            self.next,
            "answers the last request"
        );
        let answer = A::decode(&mut frame, version).map_err(std::io::Error::other)?;
        assert!(!frame.has_remaining());
        Ok(answer)
    }

    fn producer_id(&mut self) -> i64 {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_transaction_timeout_ms(60_000);
        self.send(ApiKey::InitProducerId, 4, &request);
        let answer: InitProducerIdResponse = self.receive(ApiKey::InitProducerId, 4).unwrap();
        assert_eq!(answer.error_code, 0);
        answer.producer_id.0
    }

    fn send_batch(&mut self, version: i16, batch: Bytes) {
        let data = PartitionProduceData::default()
            .with_index(0)
            .with_records(Some(batch));
        let topic = TopicProduceData::default()
            .with_name(TopicName(StrBytes::from_static_str("t")))
            .with_partition_data(vec![data]);
        let request = ProduceRequest::default()
            .with_acks(-1)
            .with_timeout_ms(1000)
            .with_topic_data(vec![topic]);
        self.send(ApiKey::Produce, version, &request);
    }

    fn produce(&mut self, version: i16, batch: Bytes) -> std::io::Result<(i16, i64)> {
        self.send_batch(version, batch);
        let answer: ProduceResponse = self.receive(ApiKey::Produce, version)?;
        let partition = &answer.responses[0].partition_responses[0];
        Ok((partition.error_code, partition.base_offset))
    }

    fn metadata(&mut self, version: i16, topic: &str, create: bool) -> MetadataResponse {
        let name = TopicName(StrBytes::from_string(topic.to_owned()));
        let request = MetadataRequest::default()
            .with_topics(Some(vec![
                MetadataRequestTopic::default().with_name(Some(name)),
            ]))
            .with_allow_auto_topic_creation(create);
        self.send(ApiKey::Metadata, version, &request);
        self.receive(ApiKey::Metadata, version).unwrap()
    }
}

/// A batch of `count` records from sequence `first` on, values `v<sequence>`.
fn batch(pid: i64, epoch: i16, first: i32, count: i32, compression: Compression) -> Bytes {
    let records: Vec<WireRecord> = (0..count)
        .map(|i| WireRecord {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: -1,
            producer_id: pid,
            producer_epoch: epoch,
            timestamp_type: TimestampType::Creation,
            offset: i64::from(i),
            sequence: first + i,
            timestamp: 1_700_000_000_000 + i64::from(i),
            key: None,
            value: Some(Bytes::from(format!("v{}", first + i))),
            headers: [(
                StrBytes::from_static_str("id"),
                Some(Bytes::from_static(b"7")),
            )]
            .into(),
        })
        .collect();
    let mut out = BytesMut::new();
    let options = RecordEncodeOptions {
        version: 2,
        compression,
    };
    RecordBatchEncoder::encode(&mut out, &records, &options).unwrap();
    out.freeze()
}

fn plain(pid: i64, first: i32, count: i32) -> Bytes {
    batch(pid, 0, first, count, Compression::None)
}

fn one_broker() -> (Cluster, Client, i64) {
    let cluster = Cluster::start(1);
    cluster.create_topic("t", 1);
    let mut client = Client::connect(&cluster, 1);
    let pid = client.producer_id();
    (cluster, client, pid)
}

#[test]
fn every_offered_version_of_every_request_is_understood() {
    let (cluster, mut client, pid) = one_broker();
    for version in 0..=3 {
        client.send(ApiKey::ApiVersions, version, &ApiVersionsRequest::default());
        let answer: ApiVersionsResponse = client.receive(ApiKey::ApiVersions, version).unwrap();
        assert_eq!(answer.api_keys.len(), 4);
    }
    for version in 4..=12 {
        let answer = client.metadata(version, "t", false);
        assert_eq!(answer.topics[0].partitions[0].leader_id.0, 1);
        assert_eq!(answer.brokers[0].port, i32::from(cluster.address(1).port()));
    }
    for (sequence, version) in (3..=12).enumerate() {
        let sequence = i32::try_from(sequence).unwrap();
        let answered = client.produce(version, plain(pid, sequence, 1)).unwrap();
        assert_eq!(answered, (0, i64::from(sequence)));
    }
    assert_eq!(cluster.records("t", 0).len(), 10);
}

#[test]
fn every_codec_is_read_back() {
    let (cluster, mut client, pid) = one_broker();
    let codecs = [
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];
    for (first, codec) in (0..).step_by(50).zip(codecs) {
        let bytes = batch(pid, 0, first, 50, codec);
        assert_eq!(
            client.produce(9, bytes).unwrap(),
            (0, i64::from(first)),
            "{codec:?}"
        );
    }
    let records = cluster.records("t", 0);
    assert_eq!(records.len(), 200);
    for (index, record) in records.iter().enumerate() {
        assert_eq!(record.offset, index as i64);
        assert_eq!(record.value_bytes(), format!("v{index}").as_bytes());
        assert_eq!(record.header("id"), Some(&b"7"[..]));
    }
}

#[test]
fn a_resent_batch_is_stored_once_and_a_gap_is_refused() {
    let (cluster, mut client, pid) = one_broker();
    assert_eq!(client.produce(9, plain(pid, 0, 2)).unwrap(), (0, 0));
    assert_eq!(client.produce(9, plain(pid, 2, 2)).unwrap(), (0, 2));
    assert_eq!(client.produce(9, plain(pid, 0, 2)).unwrap(), (0, 0));
    assert_eq!(
        client.produce(9, plain(pid, 5, 1)).unwrap().0,
        code::OUT_OF_ORDER_SEQUENCE_NUMBER
    );
    for first in 4..8 {
        assert_eq!(client.produce(9, plain(pid, first, 1)).unwrap().0, 0);
    }
    let sixth_last = client.produce(9, plain(pid, 0, 2)).unwrap();
    assert_eq!(
        sixth_last.0,
        code::OUT_OF_ORDER_SEQUENCE_NUMBER,
        "older than the last five"
    );
    assert_eq!(
        client.produce(9, plain(pid, 2, 2)).unwrap(),
        (0, 2),
        "fifth last"
    );
    assert_eq!(cluster.records("t", 0).len(), 8);
}

#[test]
fn a_restart_leaves_the_last_batch_known_and_forgetting_leaves_none() {
    let (cluster, mut client, pid) = one_broker();
    // CreateTime of these batches is years ago, which a restart would punish.
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis() as i64;
    for first in [0, 1, 2] {
        client.produce(9, plain(pid, first, 1)).unwrap();
    }
    let mut log = PartitionLog::default();
    for stored in cluster.batches("t", 0) {
        let mut recent = stored.batch;
        recent.max_timestamp = now;
        log.append(recent);
    }
    log.restart(now);
    let resent: Vec<i16> = log
        .stored()
        .to_vec()
        .into_iter()
        .map(|s| log.append(s.batch).code())
        .collect();
    assert_eq!(resent, [45, 45, 0]);
    assert_eq!(log.len(), 3);

    cluster.restart(1);
    let mut client = Client::connect(&cluster, 1);
    assert_eq!(
        client.produce(9, plain(pid, 1, 1)).unwrap(),
        (0, 3),
        "too old: appended again"
    );
    cluster.forget_producers();
    assert_eq!(
        client.produce(9, plain(pid, 0, 1)).unwrap(),
        (0, 4),
        "unknown: any sequence"
    );
}

#[test]
fn an_epoch_starts_at_zero_and_ends_the_older_one() {
    let (cluster, mut client, pid) = one_broker();
    let epoch_1 = |first| batch(pid, 1, first, 1, Compression::None);
    client.produce(9, plain(pid, 0, 1)).unwrap();
    assert_eq!(
        client.produce(9, epoch_1(1)).unwrap().0,
        code::OUT_OF_ORDER_SEQUENCE_NUMBER
    );
    assert_eq!(client.produce(9, epoch_1(0)).unwrap(), (0, 1));
    assert_eq!(
        client.produce(9, plain(pid, 1, 1)).unwrap().0,
        code::INVALID_PRODUCER_EPOCH
    );
    assert_eq!(cluster.records("t", 0).len(), 2);
}

#[test]
fn what_a_producer_must_not_do_is_written_down() {
    let (cluster, mut client, pid) = one_broker();
    let complaint = |cluster: &Cluster, part: &str| {
        let found = cluster.take_violations();
        assert!(found.iter().any(|v| v.contains(part)), "{part}: {found:?}");
    };
    client.metadata(4, "t", true);
    complaint(&cluster, "would create");
    let mut broken = plain(pid, 0, 1).to_vec();
    *broken.last_mut().unwrap() ^= 1;
    assert_eq!(
        client.produce(9, broken.into()).unwrap().0,
        code::CORRUPT_MESSAGE
    );
    complaint(&cluster, "Checksum");
    client.produce(9, plain(99, 0, 1)).unwrap();
    complaint(&cluster, "never given out");
    client.produce(9, plain(pid, 0, 3)).unwrap();
    client.produce(9, plain(pid, 2, 1)).unwrap();
    complaint(&cluster, "other bytes");
    client
        .produce(9, batch(pid, 0, 3, 2, Compression::None))
        .unwrap();
    client
        .produce(9, batch(pid, 0, 3, 2, Compression::Gzip))
        .unwrap();
    complaint(&cluster, "other bytes");
    client.send(ApiKey::Produce, 9, &ProduceRequest::default().with_acks(1));
    let _: ProduceResponse = client.receive(ApiKey::Produce, 9).unwrap();
    complaint(&cluster, "acks=1");
}

#[test]
fn the_script_decides_what_is_applied_and_what_is_answered() {
    let (cluster, mut client, pid) = one_broker();
    let next = |action| cluster.script(When::produce(), action);
    next(Action::Error(code::NOT_ENOUGH_REPLICAS));
    assert_eq!(client.produce(9, plain(pid, 0, 1)).unwrap().0, 19);
    assert_eq!(cluster.records("t", 0).len(), 0);
    next(Action::ErrorAfter(code::REQUEST_TIMED_OUT));
    assert_eq!(client.produce(9, plain(pid, 0, 1)).unwrap().0, 7);
    assert_eq!(cluster.records("t", 0).len(), 1);
    next(Action::Throttle(Duration::from_millis(5)));
    client.send_batch(9, plain(pid, 1, 1));
    let answer: ProduceResponse = client.receive(ApiKey::Produce, 9).unwrap();
    assert_eq!(answer.throttle_time_ms, 5);
    next(Action::RejectRecord(3, "no"));
    client.send_batch(9, plain(pid, 2, 1));
    let answer: ProduceResponse = client.receive(ApiKey::Produce, 9).unwrap();
    assert_eq!(
        answer.responses[0].partition_responses[0].record_errors[0].batch_index,
        3
    );
    next(Action::Malformed(vec![2])); // one topic, and then nothing
    assert!(client.produce(9, plain(pid, 2, 1)).is_err());
    next(Action::Truncated(3));
    assert!(client.produce(9, plain(pid, 3, 1)).is_err());
    next(Action::DropAfter);
    assert!(client.produce(9, plain(pid, 4, 1)).is_err());
    let mut client = Client::connect(&cluster, 1);
    next(Action::DropBefore);
    assert!(client.produce(9, plain(pid, 5, 1)).is_err());
    assert_eq!(cluster.records("t", 0).len(), 5);
    let mut client = Client::connect(&cluster, 1);
    next(Action::SilenceAfter);
    client.send_batch(9, plain(pid, 5, 1));
    cluster.wait_until("applied", WAIT, |state| state.record_count("t", 0) == 6);
    client
        .stream
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    assert!(
        client
            .receive::<ProduceResponse>(ApiKey::Produce, 9)
            .is_err()
    );
}

#[test]
fn a_rule_fires_at_its_turn_and_place_only() {
    let (cluster, mut client, pid) = one_broker();
    let second = When::produce().partition("t", 0).nth(2).times(1);
    cluster.script(second, Action::Error(code::KAFKA_STORAGE_ERROR));
    cluster.script(
        When::produce().partition("t", 1).always(),
        Action::DropBefore,
    );
    cluster.script(When::produce().broker(2).always(), Action::DropBefore);
    let codes: Vec<i16> = [0, 1, 1]
        .map(|first| client.produce(9, plain(pid, first, 1)).unwrap().0)
        .to_vec();
    assert_eq!(codes, [0, code::KAFKA_STORAGE_ERROR, 0]);
    assert_eq!(cluster.count(Api::Produce), 3);
}

#[test]
fn brokers_go_and_come_back_and_leaders_move() {
    let cluster = Cluster::start(2);
    cluster.create_topic("t", 1);
    let mut first = Client::connect(&cluster, 1);
    let pid = first.producer_id();
    cluster.move_leader("t", 0, 2);
    assert_eq!(
        first.produce(9, plain(pid, 0, 1)).unwrap().0,
        code::NOT_LEADER_OR_FOLLOWER
    );
    assert_eq!(
        first.metadata(12, "t", false).topics[0].partitions[0]
            .leader_id
            .0,
        2
    );
    cluster.broker_down(2);
    cluster.fence(2);
    let answer = first.metadata(12, "t", false);
    assert_eq!(
        answer.topics[0].partitions[0].error_code,
        code::LEADER_NOT_AVAILABLE
    );
    assert_eq!(answer.brokers.len(), 1);
    cluster.wait_until("no connection left", WAIT, |state| {
        state.open_connections(2) == 0
    });
    cluster.broker_up(2);
    let mut second = Client::connect(&cluster, 2);
    assert_eq!(second.produce(9, plain(pid, 0, 1)).unwrap(), (0, 0));
    cluster.set_error("t", code::TOPIC_AUTHORIZATION_FAILED);
    assert_eq!(
        second.produce(9, plain(pid, 1, 1)).unwrap().0,
        code::TOPIC_AUTHORIZATION_FAILED
    );
    cluster.delete_topic("t");
    let gone = second.produce(9, plain(pid, 1, 1)).unwrap();
    assert_eq!(gone.0, code::UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(second.metadata(9, "t", false).topics[0].error_code, 3);
}

#[test]
#[should_panic(expected = "the producer broke the rules")]
fn dropping_a_cluster_with_violations_fails_the_test() {
    let (cluster, mut client, pid) = one_broker();
    client.produce(9, plain(pid + 1, 0, 1)).unwrap();
    drop(cluster);
}
