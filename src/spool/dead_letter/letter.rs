//! A dead letter and its bytes on disk: a checksum over a version and the fields, in
//! little-endian order.

use std::sync::Arc;

use crate::event::{Peer, Source, UnixMillis};
use crate::proof::Seq;
use crate::spool::block::{BlockError, Bytes, encode_file, parse_file};

const VERSION: u8 = 1;

/// One event that Kafka does not take, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its sequence number.
    pub seq: Seq,
    /// Where it came from.
    pub source: Source,
    /// When it arrived.
    pub received: UnixMillis,
    /// Where it was to go.
    pub topic: String,
    /// The partition that refused it, if it had one.
    pub partition: Option<i32>,
    /// Error code and words.
    pub reason: String,
    /// When it was refused.
    pub at: UnixMillis,
    /// The event.
    pub bytes: Vec<u8>,
}

pub(super) fn encode(letter: &DeadLetter) -> Vec<u8> {
    let mut out = vec![0, 0, 0, 0, VERSION];
    out.extend_from_slice(&letter.received.to_le_bytes());
    out.extend_from_slice(&letter.at.to_le_bytes());
    let peer = letter.source.peer.unwrap_or(Peer {
        uid: 0,
        gid: 0,
        pid: 0,
    });
    out.push(u8::from(letter.source.peer.is_some()));
    out.extend_from_slice(&peer.uid.to_le_bytes());
    out.extend_from_slice(&peer.gid.to_le_bytes());
    out.extend_from_slice(&peer.pid.to_le_bytes());
    out.push(u8::from(letter.partition.is_some()));
    out.extend_from_slice(&letter.partition.unwrap_or(0).to_le_bytes());
    let texts = [&*letter.source.input, &letter.topic, &letter.reason];
    for field in texts
        .map(str::as_bytes)
        .into_iter()
        .chain([letter.bytes.as_slice()])
    {
        out.extend_from_slice(&(field.len() as u32).to_le_bytes());
        out.extend_from_slice(field);
    }
    // Behind everything else, where releases without file inputs do not look.
    if let Some(file) = &letter.source.file {
        encode_file(file, &mut out);
    }
    let crc = crc32c::crc32c(out.get(4..).unwrap_or_default());
    if let Some(slot) = out.first_chunk_mut() {
        *slot = crc.to_le_bytes();
    }
    out
}

pub(super) fn decode(seq: Seq, encoded: &[u8]) -> Result<DeadLetter, BlockError> {
    let mut at = Bytes(encoded);
    if at.u32()? != crc32c::crc32c(at.0) {
        return Err(BlockError::Checksum);
    }
    let version = at.u8()?;
    if version != VERSION {
        return Err(BlockError::Version(version));
    }
    let (received, refused_at) = (at.u64()?.cast_signed(), at.u64()?.cast_signed());
    let has_peer = at.u8()? != 0;
    let peer = Peer {
        uid: at.u32()?,
        gid: at.u32()?,
        pid: at.u32()?.cast_signed(),
    };
    let has_partition = at.u8()? != 0;
    let partition = at.u32()?.cast_signed();
    let mut text = || -> Result<String, BlockError> {
        let len = at.u32()? as usize;
        let bytes = at.take(len)?.to_vec();
        String::from_utf8(bytes).map_err(|_| BlockError::Inconsistent)
    };
    let (input, topic, reason) = (text()?, text()?, text()?);
    let len = at.u32()? as usize;
    let bytes = at.take(len)?.to_vec();
    let has_file = !at.0.is_empty();
    let file = has_file.then(|| parse_file(&mut at)).transpose()?;
    Ok(DeadLetter {
        seq,
        source: Source {
            input: input.into(),
            peer: has_peer.then_some(peer),
            file: file.map(Arc::new),
        },
        received,
        topic,
        partition: has_partition.then_some(partition),
        reason,
        at: refused_at,
        bytes,
    })
}

/// Way in for `fuzz/`: a letter with the right checksum.
#[cfg(fuzzing)]
pub(in crate::spool) fn fuzz(input: &[u8]) {
    let mut bytes = vec![0; 4];
    bytes.extend_from_slice(input);
    let crc = crc32c::crc32c(input);
    if let Some(slot) = bytes.first_chunk_mut() {
        *slot = crc.to_le_bytes();
    }
    let _ = decode(1, &bytes);
}
