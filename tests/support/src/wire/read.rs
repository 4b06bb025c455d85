//! Reads topics back, whole and in order. Knows no consumer groups.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    BrokerId, FetchRequest, ListOffsetsRequest, ProduceRequest, TopicName,
};

use super::admin::{Admin, text};
use super::codec::Codec;
use super::{Connection, batch, check};
use crate::kafka::wait::wait_for;

/// Highest versions that name topics by name alone.
const FETCH_VERSION: i16 = 12;
const PRODUCE_VERSION: i16 = 12;

/// Bytes of one fetch, and of one partition in it.
const FETCH_BYTES: i32 = 64 << 20;
const FETCH_PARTITION_BYTES: i32 = 16 << 20;

/// Longest wait for bytes that the broker says it has.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// One record as the broker stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Partition it lies in.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// `None` = null.
    pub key: Option<Bytes>,
    /// `None` = null.
    pub value: Option<Bytes>,
    /// In order, duplicates kept.
    pub headers: Vec<(String, Option<Bytes>)>,
    /// -1 = not idempotent.
    pub producer_id: i64,
    /// -1 = not idempotent.
    pub producer_epoch: i16,
    /// Of this record; -1 = not idempotent.
    pub sequence: i32,
    /// Offset of the first record of its batch: records with the same one came together.
    pub batch_offset: i64,
    /// Compression of its batch.
    pub codec: Codec,
}

impl Record {
    /// Value of the first header of this name.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let (_, value) = self.headers.iter().find(|(key, _)| key == name)?;
        value.as_deref()
    }
}

/// First and last offset of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermarks {
    /// Which partition.
    pub partition: i32,
    /// Offset of the oldest record.
    pub low: i64,
    /// Offset after the newest record.
    pub high: i64,
}

impl Admin {
    /// The watermarks of each partition, by partition.
    pub fn watermarks(&self, topic: &str) -> Result<Vec<Watermarks>> {
        const LATEST: i64 = -1;
        const EARLIEST: i64 = -2;
        let partitions = self.partitions(topic)?;
        let mut connection = self.connect()?;
        let lows = list_offsets(&mut connection, topic, &partitions, EARLIEST)?;
        let highs = list_offsets(&mut connection, topic, &partitions, LATEST)?;
        let pairs = lows.into_iter().zip(highs);
        Ok(pairs
            .map(|((partition, low), (_, high))| Watermarks {
                partition,
                low,
                high,
            })
            .collect())
    }

    /// Number of offsets that the topic holds: its records, where nothing was compacted and
    /// nothing is transactional.
    pub fn count(&self, topic: &str) -> Result<u64> {
        let marks = self.watermarks(topic)?;
        let total: i64 = marks.iter().map(|mark| mark.high - mark.low).sum();
        Ok(u64::try_from(total)?)
    }

    /// Every record up to the high watermarks of now, by partition and offset.
    pub fn read_all(&self, topic: &str) -> Result<Vec<Record>> {
        let marks = self.watermarks(topic)?;
        let mut connection = self.connect()?;
        let mut records = Vec::new();
        let mut open = marks.clone();
        let mut moved = Instant::now();
        loop {
            open.retain(|mark| mark.low < mark.high);
            if open.is_empty() {
                break;
            }
            if fetch(&mut connection, topic, &mut open, &mut records)? {
                moved = Instant::now();
            }
            ensure!(
                moved.elapsed() < STALL_TIMEOUT,
                "topic {topic}: no record for {STALL_TIMEOUT:?}, still open: {open:?}",
            );
        }
        records.retain(|record| {
            marks.iter().any(|mark| {
                mark.partition == record.partition && (mark.low..mark.high).contains(&record.offset)
            })
        });
        records.sort_by_key(|record| (record.partition, record.offset));
        Ok(records)
    }

    /// Waits until the topic holds at least `least` records and reads them all. Rides over
    /// restarts of the broker.
    pub fn wait_for_records(
        &self,
        topic: &str,
        least: usize,
        patience: Duration,
    ) -> Result<Vec<Record>> {
        let mut seen = 0;
        let wait = wait_for(patience, "records", || {
            seen = self.count(topic).unwrap_or(seen);
            Ok(seen >= u64::try_from(least)?)
        });
        wait.with_context(|| format!("topic {topic} holds {seen} of {least} records"))?;
        self.read_all(topic)
    }

    /// Appends one record batch, given as its bytes, with acks=all; the broker checks it and
    /// returns the offset of its first record.
    pub fn produce(&self, topic: &str, partition: i32, batch: Bytes) -> Result<i64> {
        let data = PartitionProduceData::default()
            .with_index(partition)
            .with_records(Some(batch));
        let ask = ProduceRequest::default()
            .with_acks(-1)
            .with_timeout_ms(20_000)
            .with_topic_data(vec![
                TopicProduceData::default()
                    .with_name(TopicName(text(topic)))
                    .with_partition_data(vec![data]),
            ]);
        let answer = self.connect()?.call(&ask, PRODUCE_VERSION)?;
        let result = answer
            .responses
            .first()
            .and_then(|topic| topic.partition_responses.first())
            .context("a produce answer without a partition")?;
        check(result.error_code).with_context(|| format!("producing to {topic}-{partition}"))?;
        Ok(result.base_offset)
    }
}

/// The offset of each partition at `timestamp` (-1 = end, -2 = start), by partition.
fn list_offsets(
    connection: &mut Connection,
    topic: &str,
    partitions: &[i32],
    timestamp: i64,
) -> Result<Vec<(i32, i64)>> {
    let partitions = partitions.iter().map(|&partition| {
        ListOffsetsPartition::default()
            .with_partition_index(partition)
            .with_timestamp(timestamp)
    });
    let ask = ListOffsetsRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_topics(vec![
            ListOffsetsTopic::default()
                .with_name(TopicName(text(topic)))
                .with_partitions(partitions.collect()),
        ]);
    let answer = connection.call(&ask, 7)?;
    let mut offsets = Vec::new();
    for result in answer.topics.iter().flat_map(|topic| &topic.partitions) {
        check(result.error_code).with_context(|| format!("offsets of {topic}"))?;
        offsets.push((result.partition_index, result.offset));
    }
    offsets.sort_unstable();
    Ok(offsets)
}

/// One fetch of all `open` partitions; moves their low marks on. False = nothing came.
fn fetch(
    connection: &mut Connection,
    topic: &str,
    open: &mut [Watermarks],
    records: &mut Vec<Record>,
) -> Result<bool> {
    let partitions = open.iter().map(|mark| {
        FetchPartition::default()
            .with_partition(mark.partition)
            .with_fetch_offset(mark.low)
            .with_partition_max_bytes(FETCH_PARTITION_BYTES)
    });
    let ask = FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(500)
        .with_min_bytes(1)
        .with_max_bytes(FETCH_BYTES)
        .with_session_epoch(-1)
        .with_topics(vec![
            FetchTopic::default()
                .with_topic(TopicName(text(topic)))
                .with_partitions(partitions.collect()),
        ]);
    let answer = connection.call(&ask, FETCH_VERSION)?;
    check(answer.error_code).context("fetching")?;
    let mut any = false;
    for data in answer
        .responses
        .into_iter()
        .flat_map(|topic| topic.partitions)
    {
        let partition = data.partition_index;
        check(data.error_code).with_context(|| format!("fetching {topic}-{partition}"))?;
        let next = batch::decode_all(data.records.unwrap_or_default(), partition, records)
            .with_context(|| format!("records of {topic}-{partition}"))?;
        let mark = open.iter_mut().find(|mark| mark.partition == partition);
        if let (Some(next), Some(mark)) = (next, mark) {
            mark.low = next;
            any = true;
        }
    }
    Ok(any)
}
