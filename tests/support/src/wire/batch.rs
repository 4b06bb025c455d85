//! Record batches of format 2, from bytes to records. Knows no network.
//!
//! Written here rather than taken from kafka-protocol, whose records keep headers in a map:
//! a test must see their order and their duplicates.

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, Bytes};

use super::codec::Codec;
use super::read::Record;

/// Bytes of a batch before its records; `batchLength` counts from byte 12.
const HEADER: usize = 61;
const LENGTH_END: usize = 12;
/// The checksum covers everything from the attributes on.
const CRC_FROM: usize = 21;

const LOG_APPEND_TIME: i16 = 1 << 3;
const CONTROL: i16 = 1 << 5;

/// Takes every whole batch out of `data` and returns the offset after the last one, or `None`
/// when not even one is whole. A broker cuts the last batch where the fetch ends.
pub(super) fn decode_all(
    mut data: Bytes,
    partition: i32,
    records: &mut Vec<Record>,
) -> Result<Option<i64>> {
    let mut next = None;
    while let Some(&length) = data.get(8..).and_then(|tail| tail.first_chunk::<4>()) {
        let length = LENGTH_END + usize::try_from(i32::from_be_bytes(length))?;
        if data.len() < length {
            break;
        }
        let batch = data.split_to(length);
        next = Some(decode(batch, partition, records).context("decoding a batch")?);
    }
    Ok(next)
}

fn decode(batch: Bytes, partition: i32, records: &mut Vec<Record>) -> Result<i64> {
    ensure!(batch.len() >= HEADER, "{} bytes are no batch", batch.len());
    let computed = crc32c::crc32c(&batch[CRC_FROM..]);
    let mut head = batch.clone();
    let base_offset = head.get_i64();
    let _length = head.get_i32();
    let _leader_epoch = head.get_i32();
    let magic = head.get_i8();
    ensure!(magic == 2, "batch format {magic}");
    let crc = head.get_u32();
    ensure!(
        crc == computed,
        "checksum {crc:08x}, bytes give {computed:08x}"
    );
    let attributes = head.get_i16();
    let last_delta = head.get_i32();
    let base_timestamp = head.get_i64();
    let max_timestamp = head.get_i64();
    let producer_id = head.get_i64();
    let producer_epoch = head.get_i16();
    let base_sequence = head.get_i32();
    let count = head.get_i32();
    let next = base_offset + i64::from(last_delta) + 1;
    if attributes & CONTROL != 0 {
        return Ok(next);
    }
    let codec = Codec::from_attributes(attributes)?;
    let mut body = codec.decompress(head)?;
    for _ in 0..count {
        let bare = BareRecord::decode(&mut body)?;
        let timestamp = if attributes & LOG_APPEND_TIME != 0 {
            max_timestamp
        } else {
            base_timestamp + bare.timestamp_delta
        };
        records.push(Record {
            partition,
            offset: base_offset + i64::from(bare.offset_delta),
            timestamp,
            key: bare.key,
            value: bare.value,
            headers: bare.headers,
            producer_id,
            producer_epoch,
            sequence: sequence(base_sequence, bare.offset_delta),
            batch_offset: base_offset,
            codec,
        });
    }
    ensure!(
        body.is_empty(),
        "{} bytes after the last record",
        body.len()
    );
    Ok(next)
}

/// Sequence numbers wrap from the largest `i32` to 0; -1 = the producer has none.
fn sequence(base: i32, delta: i32) -> i32 {
    if base < 0 {
        base
    } else {
        base.wrapping_add(delta) & i32::MAX
    }
}

struct BareRecord {
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<Bytes>,
    value: Option<Bytes>,
    headers: Vec<(String, Option<Bytes>)>,
}

impl BareRecord {
    fn decode(body: &mut Bytes) -> Result<Self> {
        let length = usize::try_from(varint(body)?)?;
        ensure!(length <= body.len(), "a record of {length} bytes is cut");
        let mut record = body.split_to(length);
        ensure!(!record.is_empty(), "an empty record");
        let _attributes = record.get_i8();
        let timestamp_delta = varint(&mut record)?;
        let offset_delta = i32::try_from(varint(&mut record)?)?;
        let key = field(&mut record)?;
        let value = field(&mut record)?;
        let count = varint(&mut record)?;
        let mut headers = Vec::new();
        for _ in 0..count {
            let name = field(&mut record)?.context("a header without a name")?;
            headers.push((String::from_utf8(name.to_vec())?, field(&mut record)?));
        }
        ensure!(record.is_empty(), "{} bytes after a record", record.len());
        Ok(Self {
            timestamp_delta,
            offset_delta,
            key,
            value,
            headers,
        })
    }
}

/// A length and that many bytes; length -1 = null.
fn field(record: &mut Bytes) -> Result<Option<Bytes>> {
    let length = varint(record)?;
    if length == -1 {
        return Ok(None);
    }
    let length = usize::try_from(length)?;
    ensure!(length <= record.len(), "a field of {length} bytes is cut");
    Ok(Some(record.split_to(length)))
}

/// Zigzag base 128.
fn varint(data: &mut Bytes) -> Result<i64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        ensure!(!data.is_empty(), "a number is cut");
        let byte = data.get_u8();
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
        }
    }
    bail!("a number of more than 64 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_read_as_zigzag() {
        for (bytes, value) in [
            (&[0][..], 0),
            (&[1], -1),
            (&[2], 1),
            (&[0xac, 0x02], 150),
            (&[0xfe, 0xff, 0xff, 0xff, 0x0f], i64::from(i32::MAX)),
        ] {
            let mut data = Bytes::copy_from_slice(bytes);
            assert_eq!(varint(&mut data).unwrap(), value);
            assert!(data.is_empty());
        }
    }

    #[test]
    fn sequences_wrap_to_zero() {
        assert_eq!(sequence(i32::MAX, 1), 0);
        assert_eq!(sequence(i32::MAX - 1, 3), 1);
        assert_eq!(sequence(-1, 3), -1);
    }
}
