//! Undoes the compression of a batch that was read back.
//!
//! Spoolway writes positions uncompressed; a topic whose `compression.type` is a codec packs
//! them all the same. Output is bounded: the bytes come from outside.

use std::borrow::Cow;
use std::io::Read;

/// Largest content of one batch: the position topic holds a record of some 150 bytes each.
const UNPACKED_MAX: u64 = 4 << 20;

/// First bytes of snappy-java's framing; two version words follow.
const XERIAL_MAGIC: &[u8] = b"\x82SNAPPY\0";
const XERIAL_HEADER: usize = 16;

/// The records of a batch with these attributes.
pub(super) fn unpack(attributes: i16, packed: &[u8]) -> Result<Cow<'_, [u8]>, &'static str> {
    let mut plain = Vec::new();
    match attributes & 7 {
        0 => return Ok(Cow::Borrowed(packed)),
        1 => read(flate2::read::MultiGzDecoder::new(packed), &mut plain)?,
        2 => snappy(packed, &mut plain)?,
        3 => read(lz4_flex::frame::FrameDecoder::new(packed), &mut plain)?,
        4 => {
            let decoder = zstd::stream::read::Decoder::new(packed);
            read(decoder.map_err(|_| "zstd does not start")?, &mut plain)?;
        }
        _ => return Err("an unknown codec"),
    }
    Ok(Cow::Owned(plain))
}

fn read(decoder: impl Read, out: &mut Vec<u8>) -> Result<(), &'static str> {
    let read = decoder.take(UNPACKED_MAX + 1).read_to_end(out);
    read.map_err(|_| "it does not decompress")?;
    if out.len() as u64 > UNPACKED_MAX {
        return Err("it is larger than a position can be");
    }
    Ok(())
}

fn snappy(packed: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    if !packed.starts_with(XERIAL_MAGIC) {
        return snappy_block(packed, out);
    }
    let mut rest = packed.get(XERIAL_HEADER..).ok_or("a short snappy frame")?;
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let (block, tail) = tail
            .split_at_checked(length)
            .ok_or("a short snappy frame")?;
        snappy_block(block, out)?;
        rest = tail;
    }
    Ok(())
}

fn snappy_block(block: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    let length = snap::raw::decompress_len(block).map_err(|_| "it does not decompress")?;
    if (out.len() + length) as u64 > UNPACKED_MAX {
        return Err("it is larger than a position can be");
    }
    let plain = snap::raw::Decoder::new().decompress_vec(block);
    out.extend_from_slice(&plain.map_err(|_| "it does not decompress")?);
    Ok(())
}
