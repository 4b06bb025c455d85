//! A strict reader of record batches, format v2 (KIP-98).
//!
//! Written against the format's description and not against our encoder, so that an error
//! in one does not hide in the other. It accepts only what a producer may send: one whole
//! batch, dense offset deltas, counts and lengths that agree to the byte (`crate::wire`
//! reads what a broker gives out, which is wider). It does not keep batches and does not
//! judge sequence numbers.

use bytes::Bytes;

use crate::wire::Codec;

/// Bytes before the records of a batch.
pub const HEADER_LEN: usize = 61;
/// Where the CRC-covered part begins: at the attributes.
const CRC_FROM: usize = 21;

/// One record as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Offset in the partition.
    pub offset: i64,
    /// CreateTime in milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// Key.
    pub key: Option<Bytes>,
    /// Value.
    pub value: Option<Bytes>,
    /// Headers in order; names may repeat.
    pub headers: Vec<(String, Option<Bytes>)>,
}

impl Record {
    /// The value, empty when null.
    pub fn value_bytes(&self) -> &[u8] {
        self.value.as_deref().unwrap_or_default()
    }

    /// The first header of that name, when it has a value.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers
            .iter()
            .find(|h| h.0 == name)
            .and_then(|h| h.1.as_deref())
    }
}

/// A batch as a producer sent it.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The bytes as they came.
    pub raw: Bytes,
    /// Producer id, -1 without one.
    pub producer_id: i64,
    /// Producer epoch.
    pub epoch: i16,
    /// Sequence number of the first record.
    pub first_sequence: i32,
    /// Compression.
    pub codec: Codec,
    /// Largest CreateTime, milliseconds since the Unix epoch.
    pub max_timestamp: i64,
    /// The records; offsets count from 0.
    pub records: Vec<Record>,
}

impl Batch {
    /// Sequence number of the last record; numbers wrap from `i32::MAX` to 0.
    pub fn last_sequence(&self) -> i32 {
        let last = i64::from(self.first_sequence) + self.records.len() as i64 - 1;
        (last % (i64::from(i32::MAX) + 1)) as i32
    }
}

/// What is wrong with a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flaw {
    /// The checksum does not match: CORRUPT_MESSAGE.
    Checksum,
    /// Anything else: INVALID_RECORD.
    Shape(String),
}

fn shape<T>(what: impl Into<String>) -> Result<T, Flaw> {
    Err(Flaw::Shape(what.into()))
}

/// Reads exactly one batch.
pub fn parse(raw: &Bytes) -> Result<Batch, Flaw> {
    if raw.len() < HEADER_LEN {
        return shape(format!("{} bytes are less than a batch header", raw.len()));
    }
    let mut header = Cursor { rest: raw };
    let base_offset = header.i64()?;
    let length = header.i32()?;
    if i64::from(length) + 12 != raw.len() as i64 {
        return shape(format!(
            "batch length {length} + 12 in a field of {} bytes",
            raw.len()
        ));
    }
    let _leader_epoch = header.i32()?;
    let magic = header.take(1)?;
    if magic != [2] {
        return shape(format!("magic {magic:?} is not 2"));
    }
    let crc = header.i32()? as u32;
    if crc32c::crc32c(&raw[CRC_FROM..]) != crc {
        return Err(Flaw::Checksum);
    }
    let attributes = header.i16()?;
    let last_offset_delta = header.i32()?;
    let base_timestamp = header.i64()?;
    let max_timestamp = header.i64()?;
    let producer_id = header.i64()?;
    let epoch = header.i16()?;
    let first_sequence = header.i32()?;
    let count = header.i32()?;
    if attributes & !0b111 != 0 {
        return shape(format!("attributes {attributes:#b} hold more than a codec"));
    }
    if base_offset != 0 || count < 1 || last_offset_delta != count - 1 {
        return shape(format!(
            "base offset {base_offset}, {count} records, last offset delta {last_offset_delta}"
        ));
    }
    let unpacked = Codec::from_attributes(attributes)
        .and_then(|codec| Ok((codec, codec.decompress(raw.slice_ref(header.rest))?)));
    let (codec, plain) = unpacked.map_err(|e| Flaw::Shape(format!("{e:#}")))?;
    let records = parse_records(&plain, count, base_timestamp)?;
    let newest = records
        .iter()
        .map(|r| r.timestamp)
        .max()
        .unwrap_or_default();
    if newest != max_timestamp {
        return shape(format!(
            "max timestamp {max_timestamp}, newest record {newest}"
        ));
    }
    Ok(Batch {
        raw: raw.clone(),
        producer_id,
        epoch,
        first_sequence,
        codec,
        max_timestamp,
        records,
    })
}

fn parse_records(plain: &Bytes, count: i32, base_timestamp: i64) -> Result<Vec<Record>, Flaw> {
    let mut all = Cursor { rest: plain };
    let mut records = Vec::new();
    for index in 0..count {
        let length = all.length("record")?;
        let mut body = Cursor {
            rest: all.take(length)?,
        };
        if body.take(1)? != [0] {
            return shape("record attributes are not 0");
        }
        let timestamp = base_timestamp + body.varint()?;
        let delta = body.varint()?;
        if delta != i64::from(index) {
            return shape(format!("offset delta {delta} of record {index}"));
        }
        let key = body.optional(plain)?;
        let value = body.optional(plain)?;
        let mut headers = Vec::new();
        for _ in 0..body.length("header count")? {
            let length = body.length("header name")?;
            let Ok(name) = String::from_utf8(body.take(length)?.to_vec()) else {
                return shape("a header name is not UTF-8");
            };
            headers.push((name, body.optional(plain)?));
        }
        if !body.rest.is_empty() {
            return shape(format!("{} bytes after record {index}", body.rest.len()));
        }
        records.push(Record {
            offset: i64::from(index),
            timestamp,
            key,
            value,
            headers,
        });
    }
    if !all.rest.is_empty() {
        return shape(format!("{} bytes after the last record", all.rest.len()));
    }
    Ok(records)
}

/// A reader that runs out with an error.
struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], Flaw> {
        let Some((head, tail)) = self.rest.split_at_checked(n) else {
            return shape(format!("{n} bytes wanted, {} left", self.rest.len()));
        };
        self.rest = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Flaw> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    fn i16(&mut self) -> Result<i16, Flaw> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    fn i32(&mut self) -> Result<i32, Flaw> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    fn i64(&mut self) -> Result<i64, Flaw> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// A zigzag varint of up to ten bytes.
    fn varint(&mut self) -> Result<i64, Flaw> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f)
                .checked_shl(shift)
                .unwrap_or_default();
            if byte & 0x80 == 0 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        shape("a varint longer than ten bytes")
    }

    fn length(&mut self, what: &str) -> Result<usize, Flaw> {
        let value = self.varint()?;
        match usize::try_from(value) {
            Ok(length) => Ok(length),
            Err(_) => shape(format!("{what} length {value}")),
        }
    }

    /// Bytes of which -1 means null, sharing the memory of `whole`.
    fn optional(&mut self, whole: &Bytes) -> Result<Option<Bytes>, Flaw> {
        match self.varint()? {
            -1 => Ok(None),
            length => match usize::try_from(length) {
                Ok(length) => Ok(Some(whole.slice_ref(self.take(length)?))),
                Err(_) => shape(format!("field length {length}")),
            },
        }
    }
}
