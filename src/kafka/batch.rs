//! Record batches, format v2: the encoder, and the header that is stamped at the first send.
//!
//! Records go straight into one reused buffer; nothing is allocated per record. Compression
//! happens once, in [`BatchBuilder::seal`]. Producer id, epoch, sequence and time are not
//! known there; [`EncodedBatch::stamp`] writes them and joins the checksum of the header to
//! that of the body, so a new stamp does not read the body again.
//!
//! Does not choose ids or sequences, and does not send.
//! Format: <https://kafka.apache.org/documentation/#recordbatch>

use bytes::Bytes;

use super::codec::{self, CodecError, Codecs};
use crate::config::Compression;

/// Length of the batch header in bytes: everything before the records.
const HEADER_BYTES: usize = 61;

/// Offset of the first byte under the checksum, the attributes.
const CHECKED_FROM: usize = 21;

/// Offset of the low byte of the attributes, and the bit in it for batches of transactions.
const ATTRIBUTES_LOW: usize = 22;
const TRANSACTIONAL: u8 = 0x10;

/// Bytes of the header that `batchLength` does not count.
const NOT_IN_LENGTH: usize = 12;

/// Longest head of a record: five varints of up to five bytes, one attribute byte.
const RECORD_HEAD_MAX: usize = 26;

/// A header of a record, borrowed.
#[derive(Debug, Clone, Copy)]
pub struct HeaderRef<'a> {
    /// Name; Kafka wants UTF-8.
    pub name: &'a [u8],
    /// Value, `None` is Kafka's null.
    pub value: Option<&'a [u8]>,
}

/// A record to encode, borrowed.
#[derive(Debug, Clone, Copy)]
pub struct RecordRef<'a> {
    /// Key, `None` is Kafka's null.
    pub key: Option<&'a [u8]>,
    /// Value, `None` is Kafka's null (a tombstone).
    pub value: Option<&'a [u8]>,
    /// Milliseconds since 1970; the time of sending when absent. Either all records of a
    /// batch have one, or none.
    pub timestamp: Option<i64>,
    /// Headers in the order in which consumers see them; a name may repeat.
    pub headers: &'a [HeaderRef<'a>],
}

/// Why a batch could not be sealed.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The format has 32-bit lengths.
    #[error("batch of {bytes} bytes does not fit Kafka's 2 GiB; lower batch.size")]
    TooLarge {
        /// Size reached.
        bytes: usize,
    },
    /// There is no batch without a record.
    #[error("a batch needs at least one record")]
    Empty,
    /// The codec failed.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// Timestamps of records that have their own.
#[derive(Debug, Clone, Copy)]
struct Times {
    /// Of the first record; the others count from there.
    base: i64,
    max: i64,
}

/// Gathers records of one topic-partition; reused batch after batch.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    /// Header room, then the records as they are.
    plain: Vec<u8>,
    /// Where a codec writes; the batch then gets memory of its exact size, so that
    /// `buffer.memory` counts what is really held.
    packed: Vec<u8>,
    records: u32,
    times: Option<Times>,
    codecs: Codecs,
}

impl BatchBuilder {
    /// An empty builder; its buffers grow to the size of a batch and stay.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a record at the end.
    pub fn push(&mut self, record: &RecordRef<'_>) {
        if self.plain.is_empty() {
            self.plain.resize(HEADER_BYTES, 0);
        }
        let key = nullable_len(record.key);
        let value = nullable_len(record.value);
        let delta = self.time_delta(record.timestamp);
        // The attributes are one byte that is always zero.
        let mut body = 1
            + varint_len(delta)
            + varint_len(i64::from(self.records))
            + varint_len(key)
            + record.key.map_or(0, <[u8]>::len)
            + varint_len(value)
            + record.value.map_or(0, <[u8]>::len)
            + varint_len(record.headers.len() as i64);
        for header in record.headers {
            body += varint_len(header.name.len() as i64)
                + header.name.len()
                + varint_len(nullable_len(header.value))
                + header.value.map_or(0, <[u8]>::len);
        }
        self.plain.reserve(body + RECORD_HEAD_MAX);
        put_varint(&mut self.plain, body as i64);
        self.plain.push(0);
        put_varint(&mut self.plain, delta);
        put_varint(&mut self.plain, i64::from(self.records));
        put_nullable(&mut self.plain, record.key);
        put_nullable(&mut self.plain, record.value);
        put_varint(&mut self.plain, record.headers.len() as i64);
        for header in record.headers {
            put_varint(&mut self.plain, header.name.len() as i64);
            self.plain.extend_from_slice(header.name);
            put_nullable(&mut self.plain, header.value);
        }
        self.records += 1;
    }

    /// What a record's timestamp is written as: the distance to that of the first one.
    fn time_delta(&mut self, timestamp: Option<i64>) -> i64 {
        if self.records == 0 {
            self.times = timestamp.map(|time| Times {
                base: time,
                max: time,
            });
        }
        let Some((times, time)) = self.times.as_mut().zip(timestamp) else {
            return 0;
        };
        times.max = times.max.max(time);
        time.saturating_sub(times.base)
    }

    /// Whether its records have timestamps of their own.
    pub fn is_timed(&self) -> bool {
        self.times.is_some()
    }

    /// Number of records.
    pub fn len(&self) -> u32 {
        self.records
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Bytes of the batch so far, uncompressed, header included.
    pub fn bytes(&self) -> usize {
        self.plain.len()
    }

    /// Forgets the records, keeps the buffers.
    pub fn clear(&mut self) {
        self.plain.clear();
        self.records = 0;
        self.times = None;
    }

    /// Compresses what was pushed and leaves the builder empty, also after an error.
    pub fn seal(&mut self, compression: Compression) -> Result<EncodedBatch, EncodeError> {
        let sealed = self.try_seal(compression);
        self.clear();
        sealed
    }

    fn try_seal(&mut self, compression: Compression) -> Result<EncodedBatch, EncodeError> {
        let records = self.plain.get(HEADER_BYTES..).filter(|r| !r.is_empty());
        let records = records.ok_or(EncodeError::Empty)?;
        let mut buf = if compression == Compression::None {
            self.plain.clone()
        } else {
            self.packed.clear();
            self.packed.resize(HEADER_BYTES, 0);
            self.codecs
                .compress(compression, records, &mut self.packed)?;
            self.packed.clone()
        };
        let too_large = EncodeError::TooLarge { bytes: buf.len() };
        let length = i32::try_from(buf.len() - NOT_IN_LENGTH).map_err(|_| too_large)?;
        let Some((head, body)) = buf.split_first_chunk_mut::<HEADER_BYTES>() else {
            return Err(EncodeError::Empty);
        };
        Header(head).shape(length, codec::attribute(compression), self.records);
        let body_crc = crc32c::crc32c(body);
        Ok(EncodedBatch {
            buf,
            records: self.records,
            times: self.times,
            body_crc,
        })
    }
}

/// A sealed batch whose header waits for its stamp.
#[derive(Debug, Clone)]
pub struct EncodedBatch {
    buf: Vec<u8>,
    records: u32,
    times: Option<Times>,
    body_crc: u32,
}

/// What the producer writes into a batch at its first send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Producer id given by the broker.
    pub producer_id: i64,
    /// Epoch of the producer id on this partition.
    pub epoch: i16,
    /// Sequence of the first record.
    pub base_sequence: i32,
    /// Send time, milliseconds since the Unix epoch; it counts unless the records have their
    /// own. The broker forgets a producer by this clock (KAFKA-9144).
    pub time_ms: i64,
    /// Whether the batch belongs to a transaction.
    pub transactional: bool,
}

impl EncodedBatch {
    /// Bytes on the wire, header included.
    pub fn bytes(&self) -> usize {
        self.buf.len()
    }

    /// Number of records.
    pub fn records(&self) -> u32 {
        self.records
    }

    /// Writes the stamp and gives the bytes to send. They are the batch from now on; a
    /// resend is these same bytes.
    pub fn stamp(mut self, stamp: Stamp) -> StampedBatch {
        self.write_stamp(stamp);
        StampedBatch {
            bytes: Bytes::from(self.buf),
            records: self.records,
            times: self.times,
            body_crc: self.body_crc,
        }
    }

    fn write_stamp(&mut self, stamp: Stamp) {
        let sent = Times {
            base: stamp.time_ms,
            max: stamp.time_ms,
        };
        if let Some((head, body)) = self.buf.split_first_chunk_mut::<HEADER_BYTES>() {
            let times = self.times.unwrap_or(sent);
            Header(head).stamp(stamp, times, self.body_crc, body.len());
        }
    }
}

/// A batch as it goes over the wire, again and again the same bytes.
#[derive(Debug, Clone)]
pub struct StampedBatch {
    bytes: Bytes,
    records: u32,
    times: Option<Times>,
    body_crc: u32,
}

impl StampedBatch {
    /// The bytes to send; a cheap clone.
    pub fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// Number of records.
    pub fn records(&self) -> u32 {
        self.records
    }

    /// Bytes on the wire.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Gives the batch another identity; only after proof that the broker does not hold it
    /// under the old one.
    pub fn restamp(self, stamp: Stamp) -> StampedBatch {
        // Copies only when the old bytes are still held by a request.
        let buf = Vec::from(self.bytes);
        EncodedBatch {
            buf,
            records: self.records,
            times: self.times,
            body_crc: self.body_crc,
        }
        .stamp(stamp)
    }
}

/// The header of a batch, by field.
struct Header<'a>(&'a mut [u8; HEADER_BYTES]);

impl Header<'_> {
    /// Writes what is known at sealing.
    fn shape(&mut self, length: i32, attributes: i16, records: u32) {
        let count = records.cast_signed();
        self.put(0, &0_i64.to_be_bytes()); // base offset: the broker's to give
        self.put(8, &length.to_be_bytes());
        self.put(12, &(-1_i32).to_be_bytes()); // partition leader epoch: the broker's to give
        self.put(16, &[2]); // magic
        self.put(21, &attributes.to_be_bytes());
        self.put(23, &(count - 1).to_be_bytes()); // last offset delta
        self.put(57, &count.to_be_bytes());
    }

    /// Writes what is known at sending, and the checksum.
    fn stamp(&mut self, stamp: Stamp, times: Times, body_crc: u32, body_len: usize) {
        if let Some(attributes) = self.0.get_mut(ATTRIBUTES_LOW) {
            *attributes &= !TRANSACTIONAL;
            *attributes |= if stamp.transactional {
                TRANSACTIONAL
            } else {
                0
            };
        }
        self.put(27, &times.base.to_be_bytes());
        self.put(35, &times.max.to_be_bytes());
        self.put(43, &stamp.producer_id.to_be_bytes());
        self.put(51, &stamp.epoch.to_be_bytes());
        self.put(53, &stamp.base_sequence.to_be_bytes());
        let head = crc32c::crc32c(self.0.get(CHECKED_FROM..).unwrap_or_default());
        let crc = crc32c::crc32c_combine(head, body_crc, body_len);
        self.put(17, &crc.to_be_bytes());
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(field) = self.0.get_mut(at..at + bytes.len()) {
            field.copy_from_slice(bytes);
        }
    }
}

fn nullable_len(bytes: Option<&[u8]>) -> i64 {
    bytes.map_or(-1, |b| b.len() as i64)
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// Bytes of `value` as a zigzag varint.
fn varint_len(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

#[inline]
fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut rest = zigzag(value);
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[inline]
fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    put_varint(out, nullable_len(bytes));
    if let Some(bytes) = bytes {
        out.extend_from_slice(bytes);
    }
}
