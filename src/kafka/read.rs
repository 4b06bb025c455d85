//! Reads Kafka's primitive types from an answer, with every length checked.
//!
//! Knows no message; see `wire`.

use std::io::Cursor;

/// An answer that does not follow the protocol.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("malformed answer: {what} at byte {at}")]
pub(super) struct Malformed {
    what: &'static str,
    at: usize,
}

/// A place in an answer.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Goes on where `cursor` is.
    pub(super) fn at(cursor: &'a Cursor<Vec<u8>>) -> Self {
        let at = usize::try_from(cursor.position()).unwrap_or(usize::MAX);
        Self {
            bytes: cursor.get_ref(),
            at,
        }
    }

    /// Where the next read begins.
    pub(super) fn position(&self) -> u64 {
        self.at as u64
    }

    /// The error for something wrong just before here.
    pub(super) fn bad(&self, what: &'static str) -> Malformed {
        Malformed { what, at: self.at }
    }

    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(count);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or(self.bad("a length beyond the end"))?;
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let bytes = self.bytes(N)?;
        bytes.try_into().map_err(|_| self.bad("a short number"))
    }

    pub(super) fn i16(&mut self) -> Result<i16, Malformed> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    pub(super) fn i32(&mut self) -> Result<i32, Malformed> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub(super) fn i64(&mut self) -> Result<i64, Malformed> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// Length of an array or of bytes. A null one counts as empty. It is not larger than
    /// the bytes left: everything in an array takes at least one.
    pub(super) fn len(&mut self) -> Result<usize, Malformed> {
        let len = self.i32()?.max(0) as usize;
        if len > self.bytes.len().saturating_sub(self.at) {
            return Err(self.bad("a length beyond the end"));
        }
        Ok(len)
    }

    /// Length of a compact array or of compact bytes (KIP-482), bounded like [`Self::len`].
    pub(super) fn compact_len(&mut self) -> Result<usize, Malformed> {
        let len = self.varint()?.saturating_sub(1) as usize;
        if len > self.bytes.len().saturating_sub(self.at) {
            return Err(self.bad("a length beyond the end"));
        }
        Ok(len)
    }

    /// Skips tagged fields (KIP-482): a later version may add some.
    pub(super) fn tags(&mut self) -> Result<(), Malformed> {
        for _ in 0..self.varint()? {
            let _tag = self.varint()?;
            let size = self.varint()? as usize;
            self.bytes(size)?;
        }
        Ok(())
    }

    /// An unsigned varint of at most five bytes.
    fn varint(&mut self) -> Result<u32, Malformed> {
        let mut value = 0_u32;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array()?;
            value |= u32::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.bad("a number without end"))
    }

    pub(super) fn nullable(&mut self) -> Result<Option<String>, Malformed> {
        let Ok(len) = usize::try_from(self.i16()?) else {
            return Ok(None);
        };
        let bytes = self.bytes(len)?;
        let text = std::str::from_utf8(bytes).map_err(|_| self.bad("text that is not UTF-8"))?;
        Ok(Some(text.to_owned()))
    }

    pub(super) fn string(&mut self) -> Result<String, Malformed> {
        self.nullable()?.ok_or(self.bad("a null name"))
    }
}
