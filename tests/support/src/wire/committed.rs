//! Reads a topic as a consumer with isolation.level=read_committed does, and asks who
//! coordinates transactions.
//!
//! The broker ends each answer at the last stable offset and lists the aborted transactions;
//! leaving out their records is the consumer's part (KIP-98, "Consumer").

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::{Buf, Bytes};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{
    BrokerId, FetchRequest, FindCoordinatorRequest, ListOffsetsRequest, TopicName,
};

use super::admin::{Admin, text};
use super::read::Record;
use super::{Connection, batch, check};

const READ_COMMITTED: i8 = 1;
const FETCH_VERSION: i16 = 12;
const FETCH_BYTES: i32 = 16 << 20;

/// Longest wait for bytes that the broker says it has.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Places in the header of a batch.
const LENGTH_AT: usize = 8;
const LENGTH_END: usize = 12;
const ATTRIBUTES_AT: usize = 21;
const LAST_DELTA_AT: usize = 23;
const PRODUCER_ID_AT: usize = 43;
const HEADER: usize = 61;

const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;

/// The key of a marker that aborts, after its version.
const ABORT: i16 = 0;

impl Admin {
    /// Every committed record up to the last stable offsets of now, by partition and offset.
    pub fn read_committed(&self, topic: &str) -> Result<Vec<Record>> {
        let mut connection = self.connect()?;
        let mut records = Vec::new();
        for mark in self.watermarks(topic)? {
            let end = self.last_stable_offset(topic, mark.partition)?;
            let mut reader = Reader {
                topic,
                partition: mark.partition,
                at: mark.low,
                aborting: HashSet::new(),
            };
            let mut moved = Instant::now();
            while reader.at < end {
                if reader.fetch(&mut connection, end, &mut records)? {
                    moved = Instant::now();
                }
                ensure!(
                    moved.elapsed() < STALL_TIMEOUT,
                    "{topic}-{}: nothing at {} for {STALL_TIMEOUT:?}",
                    mark.partition,
                    reader.at
                );
            }
        }
        Ok(records)
    }

    /// The node that coordinates the transactions of this id; `None` while there is none.
    pub fn coordinator(&self, transactional_id: &str) -> Result<Option<i32>> {
        const TRANSACTIONS: i8 = 1;
        let ask = FindCoordinatorRequest::default()
            .with_key(text(transactional_id))
            .with_key_type(TRANSACTIONS);
        // Above, one request asks for many.
        let answer = self.connect()?.call(&ask, 3)?;
        Ok((answer.error_code == 0).then_some(answer.node_id.0))
    }

    /// The offset at which the first open transaction of a partition begins, or its end.
    pub fn last_stable_offset(&self, topic: &str, partition: i32) -> Result<i64> {
        const LATEST: i64 = -1;
        let ask = ListOffsetsRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_isolation_level(READ_COMMITTED)
            .with_topics(vec![
                ListOffsetsTopic::default()
                    .with_name(TopicName(text(topic)))
                    .with_partitions(vec![
                        ListOffsetsPartition::default()
                            .with_partition_index(partition)
                            .with_timestamp(LATEST),
                    ]),
            ]);
        let answer = self.connect()?.call(&ask, 7)?;
        let result = answer.topics.first().and_then(|t| t.partitions.first());
        let result = result.context("an answer without a partition")?;
        check(result.error_code).with_context(|| format!("the stable end of {topic}"))?;
        Ok(result.offset)
    }
}

struct Reader<'t> {
    topic: &'t str,
    partition: i32,
    at: i64,
    /// Producers in an aborted transaction whose marker has not come yet.
    aborting: HashSet<i64>,
}

impl Reader<'_> {
    /// One fetch. False = nothing came.
    fn fetch(
        &mut self,
        connection: &mut Connection,
        end: i64,
        records: &mut Vec<Record>,
    ) -> Result<bool> {
        let ask = FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_wait_ms(500)
            .with_min_bytes(1)
            .with_max_bytes(FETCH_BYTES)
            .with_isolation_level(READ_COMMITTED)
            .with_session_epoch(-1)
            .with_topics(vec![
                FetchTopic::default()
                    .with_topic(TopicName(text(self.topic)))
                    .with_partitions(vec![
                        FetchPartition::default()
                            .with_partition(self.partition)
                            .with_fetch_offset(self.at)
                            .with_partition_max_bytes(FETCH_BYTES),
                    ]),
            ]);
        let answer = connection.call(&ask, FETCH_VERSION)?;
        check(answer.error_code).context("fetching")?;
        let topic = answer.responses.into_iter().next();
        let data = topic.and_then(|topic| topic.partitions.into_iter().next());
        let data = data.context("an answer without a partition")?;
        check(data.error_code)?;
        let before = self.at;
        self.take(data, end, records)?;
        Ok(self.at > before)
    }

    fn take(&mut self, data: PartitionData, end: i64, records: &mut Vec<Record>) -> Result<()> {
        let mut aborted: Vec<(i64, i64)> = data
            .aborted_transactions
            .unwrap_or_default()
            .iter()
            .map(|aborted| (aborted.first_offset, aborted.producer_id.0))
            .collect();
        aborted.sort_unstable_by(|a, b| b.cmp(a));
        let mut bytes = data.records.unwrap_or_default();
        while let Some(batch) = split(&mut bytes)? {
            let base = (&batch[..8]).get_i64();
            let attributes = (&batch[ATTRIBUTES_AT..]).get_i16();
            let last = base + i64::from((&batch[LAST_DELTA_AT..]).get_i32());
            let producer = (&batch[PRODUCER_ID_AT..]).get_i64();
            if base >= end {
                break;
            }
            while aborted.last().is_some_and(|(first, _)| *first <= last) {
                self.aborting
                    .extend(aborted.pop().map(|(_, producer)| producer));
            }
            self.at = last + 1;
            if attributes & CONTROL != 0 {
                if marker(&batch)? == ABORT {
                    self.aborting.remove(&producer);
                }
            } else if attributes & TRANSACTIONAL == 0 || !self.aborting.contains(&producer) {
                batch::decode_all(batch, self.partition, records)?;
            }
        }
        Ok(())
    }
}

fn split(bytes: &mut Bytes) -> Result<Option<Bytes>> {
    let Some(&length) = bytes.get(LENGTH_AT..).and_then(|b| b.first_chunk::<4>()) else {
        return Ok(None);
    };
    let length = LENGTH_END + usize::try_from(i32::from_be_bytes(length))?;
    Ok((bytes.len() >= length).then(|| bytes.split_to(length)))
}

/// The kind of a control batch: one record with one-byte varints around a key of four bytes.
fn marker(batch: &Bytes) -> Result<i16> {
    const KEY_AT: usize = HEADER + 5;
    let key = batch.get(KEY_AT..KEY_AT + 4).context("a short marker")?;
    Ok((&key[2..]).get_i16())
}
