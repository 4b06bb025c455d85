//! Finds the last committed position of one spool in the batches of a partition.
//!
//! Reads uncommitted records and judges by the markers itself. A read_committed fetch would
//! end at the first open transaction of anybody, and so wait for other hosts; ours are all
//! ended once the coordinator has given us a producer id, so each of our records has its
//! marker behind it. One without a marker counts as not committed: the wrong guess then
//! doubles events, and never loses one. (The log cleaner keeps a marker for as long as a
//! record of its transaction.)

use std::collections::HashMap;

use super::unpack::unpack;
use super::{Found, ValueError, decode};

const BATCH_LENGTH_AT: usize = 8;
const NOT_IN_LENGTH: usize = 12;
const ATTRIBUTES_AT: usize = 21;
const LAST_OFFSET_DELTA_AT: usize = 23;
const PRODUCER_ID_AT: usize = 43;
const COUNT_AT: usize = 57;
const RECORDS_AT: usize = 61;

/// Bits of a batch's attributes.
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;

/// The type in the key of a marker that commits.
const COMMIT: i16 = 1;

/// What has been read so far.
#[derive(Debug)]
pub(super) struct Scan {
    key: String,
    /// Records without a marker yet, by producer id.
    open: HashMap<i64, Found>,
    committed: Option<Found>,
}

impl Scan {
    /// Looks for the record with this key.
    pub(super) fn new(key: String) -> Self {
        Self {
            key,
            open: HashMap::new(),
            committed: None,
        }
    }

    /// The newest committed one.
    pub(super) fn found(&self) -> Option<Found> {
        self.committed
    }

    /// Takes the batches of one answer. Returns the offset after the last whole one; `None`
    /// when there was none.
    pub(super) fn take(&mut self, mut bytes: &[u8]) -> Result<Option<i64>, ValueError> {
        let mut next = None;
        while let Some((batch, rest)) = split(bytes) {
            let base = i64::from_be_bytes(field(batch, 0)?);
            let delta = i32::from_be_bytes(field(batch, LAST_OFFSET_DELTA_AT)?);
            self.batch(batch)?;
            next = Some(base.saturating_add(i64::from(delta)).saturating_add(1));
            bytes = rest;
        }
        Ok(next)
    }

    fn batch(&mut self, batch: &[u8]) -> Result<(), ValueError> {
        let attributes = i16::from_be_bytes(field(batch, ATTRIBUTES_AT)?);
        if attributes & TRANSACTIONAL == 0 {
            return Ok(()); // not written by Spoolway
        }
        let producer = i64::from_be_bytes(field(batch, PRODUCER_ID_AT)?);
        let count = i32::from_be_bytes(field(batch, COUNT_AT)?);
        let packed = batch.get(RECORDS_AT..).unwrap_or_default();
        let plain = unpack(attributes, packed).map_err(ValueError::Batch)?;
        let mut records = Varints(&plain);
        for _ in 0..count {
            let (key, value) = records
                .record()
                .ok_or(ValueError::Batch("a short record"))?;
            if attributes & CONTROL != 0 {
                let kind = key.and_then(|key| key.get(2..4)?.try_into().ok());
                let found = self.open.remove(&producer);
                if kind.map(i16::from_be_bytes) == Some(COMMIT) {
                    self.committed = found.or(self.committed);
                }
            } else if key == Some(self.key.as_bytes())
                && let Some(value) = value
            {
                self.open.insert(producer, decode(&self.key, value)?);
            }
        }
        Ok(())
    }
}

/// The first whole batch, and what follows.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = i32::from_be_bytes(field(bytes, BATCH_LENGTH_AT).ok()?);
    let whole = usize::try_from(length).ok()?.checked_add(NOT_IN_LENGTH)?;
    bytes.split_at_checked(whole)
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], ValueError> {
    let found = bytes.get(at..at + N).and_then(|b| b.try_into().ok());
    found.ok_or(ValueError::Batch("a short header"))
}

/// Records, read from the front.
struct Varints<'a>(&'a [u8]);

/// Key and value of a record.
type KeyValue<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

impl<'a> Varints<'a> {
    /// One record; `None` when it is cut short.
    fn record(&mut self) -> Option<KeyValue<'a>> {
        let length = usize::try_from(self.varint()?).ok()?;
        let (record, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        let mut inside = Varints(record.get(1..)?); // after the attributes
        let _time_delta = inside.varint()?;
        let _offset_delta = inside.varint()?;
        let key = inside.nullable()?;
        let value = inside.nullable()?;
        Some((key, value))
    }

    fn nullable(&mut self) -> Option<Option<&'a [u8]>> {
        let length = self.varint()?;
        if length < 0 {
            return Some(None);
        }
        let (bytes, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(Some(bytes))
    }

    /// A zigzag varint.
    fn varint(&mut self) -> Option<i64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::Compression;
    use crate::kafka::batch::{BatchBuilder, RecordRef, Stamp};
    use crate::kafka::position::{Position, encode, key};

    const SPOOL: u64 = 7;

    fn stamp(producer_id: i64) -> Stamp {
        Stamp {
            producer_id,
            epoch: 0,
            base_sequence: 0,
            time_ms: 5,
            transactional: false,
        }
    }

    /// A batch as the log has it: at this offset, with these bits.
    fn placed(batch: &[u8], offset: i64, bits: i16) -> Vec<u8> {
        let mut batch = batch.to_vec();
        batch[..8].copy_from_slice(&offset.to_be_bytes());
        let bits = i16::from_be_bytes([batch[21], batch[22]]) | bits;
        batch[21..23].copy_from_slice(&bits.to_be_bytes());
        batch
    }

    fn position(spool: u64, producer: i64, end: u64, offset: i64) -> Vec<u8> {
        let position = Position { end, check: 9 };
        let batch = encode(spool, position, "id", 5).unwrap();
        placed(&batch.stamp(stamp(producer)).bytes(), offset, TRANSACTIONAL)
    }

    fn marker(producer: i64, kind: i16, offset: i64) -> Vec<u8> {
        let mut builder = BatchBuilder::new();
        let key = [0, 0, kind.to_be_bytes()[0], kind.to_be_bytes()[1]];
        builder.push(&RecordRef {
            key: Some(&key),
            value: Some(b"epoch"),
            timestamp: None,
            headers: &[],
        });
        let batch = builder.seal(Compression::None).unwrap();
        let batch = batch.stamp(stamp(producer)).bytes();
        placed(&batch, offset, TRANSACTIONAL | CONTROL)
    }

    fn end_of(log: &[Vec<u8>]) -> Option<u64> {
        let mut scan = Scan::new(key(SPOOL));
        assert_eq!(scan.take(&log.concat()).unwrap(), Some(log.len() as i64));
        scan.found().map(|found| found.position.end)
    }

    #[test]
    fn only_what_a_marker_commits_counts() {
        let log = [
            position(SPOOL, 1, 10, 0),
            marker(1, COMMIT, 1),
            position(SPOOL, 1, 20, 2),
            marker(1, 0, 3),
            position(SPOOL, 2, 30, 4),
        ];
        assert_eq!(end_of(&log), Some(10));
    }

    #[test]
    fn other_spools_and_other_producers_change_nothing() {
        let log = [
            position(SPOOL, 1, 10, 0),
            position(8, 2, 99, 1),
            marker(2, COMMIT, 2),
            marker(1, COMMIT, 3),
            marker(1, COMMIT, 4),
        ];
        assert_eq!(end_of(&log), Some(10));
        assert_eq!(end_of(&log[..3]), None);
    }

    #[test]
    fn a_record_of_a_later_release_is_refused_and_not_overlooked() {
        let mut builder = BatchBuilder::new();
        let value = br#"{"version":2,"spool":"x","end":1,"check":1,"transactional_id":"","at":1}"#;
        builder.push(&RecordRef {
            key: Some(key(SPOOL).as_bytes()),
            value: Some(value),
            timestamp: None,
            headers: &[],
        });
        let batch = builder.seal(Compression::Zstd(3)).unwrap();
        let batch = placed(&batch.stamp(stamp(1)).bytes(), 0, TRANSACTIONAL);
        let error = Scan::new(key(SPOOL)).take(&batch).unwrap_err();
        assert!(error.to_string().contains("later release"), "{error}");
    }

    #[test]
    fn a_position_is_found_under_every_codec_of_the_topic() {
        for compression in [
            Compression::Gzip(6),
            Compression::Snappy,
            Compression::Lz4,
            Compression::Zstd(3),
        ] {
            let mut builder = BatchBuilder::new();
            let value =
                br#"{"version":1,"spool":"x","end":4,"check":1,"transactional_id":"","at":1}"#;
            builder.push(&RecordRef {
                key: Some(key(SPOOL).as_bytes()),
                value: Some(value),
                timestamp: None,
                headers: &[],
            });
            let batch = builder.seal(compression).unwrap();
            let batch = placed(&batch.stamp(stamp(1)).bytes(), 0, TRANSACTIONAL);
            assert_eq!(
                end_of(&[batch, marker(1, COMMIT, 1)]),
                Some(4),
                "{compression:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_scan_panic(
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut log = [position(SPOOL, 1, 10, 0), marker(1, COMMIT, 1)].concat();
            for (at, byte) in flips {
                let at = at.index(log.len());
                log[at] = byte;
            }
            log.truncate(cut.index(log.len()));
            let _ = Scan::new(key(SPOOL)).take(&log);
        }
    }
}
