//! Questions about transactions that are open, which end and fence none: the state of a
//! transactional id (KIP-664), and how far readers of committed records see.

use std::sync::Arc;

use super::Read;
use super::position::{LATEST, Offset, put_offset_query};
use super::put::{put_compact, put_count, put_no_tags};
use crate::kafka::TopicPartition;
use crate::kafka::read::{Form, Reader};

/// isolation.level=read_committed
const READ_COMMITTED: u8 = 1;

question!(StateQuery => TransactionState, DescribeTransactions, 0..=0, tagged ALWAYS);
answer!(TransactionState);
question!(StableEndQuery => Offset, ListOffsets, 2..=2, tagged NEVER);

/// Asks the coordinator what it knows of a transactional id.
#[derive(Debug)]
pub(in crate::kafka) struct StateQuery {
    pub(in crate::kafka) transactional_id: Arc<str>,
}

impl StateQuery {
    fn write(&self, out: &mut Vec<u8>, _version: i16) {
        put_count(out, 1);
        put_compact(out, &self.transactional_id);
        put_no_tags(out);
    }
}

/// The answer to [`StateQuery`].
#[derive(Debug, Default, PartialEq)]
pub(in crate::kafka) struct TransactionState {
    pub(in crate::kafka) code: i16,
    /// Kafka's word, such as `Ongoing` or `CompleteCommit`.
    pub(in crate::kafka) state: String,
    /// When the open transaction began by the coordinator's clock, Unix milliseconds; -1
    /// without one.
    pub(in crate::kafka) began_ms: i64,
    /// Partitions in it.
    pub(in crate::kafka) partitions: usize,
}

impl TransactionState {
    fn read(r: &mut Reader<'_>, _version: i16) -> Read<Self> {
        let form = Form::Compact;
        let _throttle_ms = r.i32()?;
        let mut found = None;
        for _ in 0..r.count(form)? {
            let code = r.i16()?;
            let _transactional_id = r.text(form)?;
            let state = r.text(form)?;
            let _timeout_ms = r.i32()?;
            let began_ms = r.i64()?;
            let _producer = (r.i64()?, r.i16()?);
            let mut partitions = 0;
            for _ in 0..r.count(form)? {
                let _topic = r.text(form)?;
                let count = r.count(form)?;
                partitions += count;
                for _ in 0..count {
                    let _partition = r.i32()?;
                }
                r.end(form)?;
            }
            r.end(form)?;
            found = Some(Self {
                code,
                state,
                began_ms,
                partitions,
            });
        }
        r.end(form)?;
        found.ok_or(r.bad("no transactional id in the answer"))
    }
}

/// Asks for the last stable offset of a partition: readers of committed records see what lies
/// before it.
#[derive(Debug)]
pub(in crate::kafka) struct StableEndQuery {
    pub(in crate::kafka) of: TopicPartition,
}

impl StableEndQuery {
    fn write(&self, out: &mut Vec<u8>, _version: i16) {
        put_offset_query(out, &self.of, Some(READ_COMMITTED), LATEST);
    }
}
