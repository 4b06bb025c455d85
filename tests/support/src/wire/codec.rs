//! Decompression of record batches. Does not compress.

use std::io::Read;

use anyhow::{Context, Result, bail};
use bytes::Bytes;

/// Compression of a record batch: bits 0 to 2 of its attributes (KIP-98, KIP-110).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// As it is.
    None,
    /// gzip.
    Gzip,
    /// Snappy, bare or in the Java client's framing.
    Snappy,
    /// LZ4 frame.
    Lz4,
    /// Zstandard.
    Zstd,
}

/// First bytes of snappy-java's framing; then two big-endian version words.
const XERIAL_MAGIC: &[u8] = b"\x82SNAPPY\0";
const XERIAL_HEADER: usize = 16;

impl Codec {
    pub(crate) fn from_attributes(attributes: i16) -> Result<Self> {
        Ok(match attributes & 0b111 {
            0 => Self::None,
            1 => Self::Gzip,
            2 => Self::Snappy,
            3 => Self::Lz4,
            4 => Self::Zstd,
            other => bail!("codec {other} is unknown"),
        })
    }

    pub(crate) fn decompress(self, data: Bytes) -> Result<Bytes> {
        let mut plain = Vec::new();
        match self {
            Self::None => return Ok(data),
            Self::Gzip => {
                flate2::read::MultiGzDecoder::new(&data[..]).read_to_end(&mut plain)?;
            }
            Self::Snappy if data.starts_with(XERIAL_MAGIC) => plain = xerial(&data)?,
            Self::Snappy => plain = snap::raw::Decoder::new().decompress_vec(&data)?,
            Self::Lz4 => {
                lz4_flex::frame::FrameDecoder::new(&data[..]).read_to_end(&mut plain)?;
            }
            Self::Zstd => plain = zstd::stream::decode_all(&data[..])?,
        }
        Ok(plain.into())
    }
}

fn xerial(data: &[u8]) -> Result<Vec<u8>> {
    let mut plain = Vec::new();
    let mut rest = data.get(XERIAL_HEADER..).context("short snappy header")?;
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length))?;
        let (chunk, tail) = tail
            .split_at_checked(length)
            .context("short snappy chunk")?;
        plain.extend(snap::raw::Decoder::new().decompress_vec(chunk)?);
        rest = tail;
    }
    Ok(plain)
}
