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

/// How lengths are written: as fixed numbers, or as varints with tagged fields (KIP-482).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    Compact,
}

impl Form {
    pub(super) fn of(compact: bool) -> Self {
        if compact { Self::Compact } else { Self::Plain }
    }
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
        self.each_tag(|_, _| Ok(()))
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

    /// [`Reader::len`] in either form.
    pub(super) fn count(&mut self, form: Form) -> Result<usize, Malformed> {
        match form {
            Form::Plain => self.len(),
            Form::Compact => self.compact_len(),
        }
    }

    /// [`Reader::nullable`] in either form.
    pub(super) fn nullable_text(&mut self, form: Form) -> Result<Option<String>, Malformed> {
        if form == Form::Plain {
            return self.nullable();
        }
        let Some(len) = self.varint()?.checked_sub(1) else {
            return Ok(None);
        };
        let bytes = self.bytes(len as usize)?;
        let text = std::str::from_utf8(bytes).map_err(|_| self.bad("text that is not UTF-8"))?;
        Ok(Some(text.to_owned()))
    }

    /// [`Reader::string`] in either form.
    pub(super) fn text(&mut self, form: Form) -> Result<String, Malformed> {
        self.nullable_text(form)?.ok_or(self.bad("a null name"))
    }

    /// [`Reader::tags`] in either form: the plain one has none.
    pub(super) fn end(&mut self, form: Form) -> Result<(), Malformed> {
        match form {
            Form::Plain => Ok(()),
            Form::Compact => self.tags(),
        }
    }

    /// Hands each tagged field to `take`: its number, and a reader of its own.
    pub(super) fn each_tag(
        &mut self,
        mut take: impl FnMut(u32, &mut Reader<'_>) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        for _ in 0..self.varint()? {
            let tag = self.varint()?;
            let len = self.varint()? as usize;
            let bytes = self.bytes(len)?;
            take(tag, &mut Reader { bytes, at: 0 })?;
        }
        Ok(())
    }
}
