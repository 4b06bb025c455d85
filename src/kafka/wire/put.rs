//! How requests are written: numbers, lengths and texts, in the plain and the compact form
//! (KIP-482). The counterpart of `read`.

use crate::kafka::core::Identity;

/// Lengths here are bounded by `max.request.size` and the names' own limits.
pub(super) fn put_len(out: &mut Vec<u8>, len: usize) {
    out.extend_from_slice(&(len as i32).to_be_bytes());
}

pub(super) fn put_string(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as i16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

pub(super) fn put_nullable(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => put_string(out, text),
        None => out.extend_from_slice(&(-1_i16).to_be_bytes()),
    }
}

pub(super) fn put_identity(out: &mut Vec<u8>, identity: Identity) {
    out.extend_from_slice(&identity.id.to_be_bytes());
    out.extend_from_slice(&identity.epoch.to_be_bytes());
}

pub(super) fn put_varint(out: &mut Vec<u8>, value: usize) {
    let mut rest = value;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// A length in the compact form, where 0 stands for null.
pub(super) fn put_count(out: &mut Vec<u8>, len: usize) {
    put_varint(out, len + 1);
}

pub(super) fn put_compact(out: &mut Vec<u8>, text: &str) {
    put_count(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

pub(super) fn put_no_tags(out: &mut Vec<u8>) {
    out.push(0);
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::kafka::read::{Form, Reader};

    #[test]
    fn varints_are_written_as_they_are_read() {
        for len in [0, 1, 126, 127, 128, 300, 16_383, 16_384] {
            let mut out = Vec::new();
            put_compact(&mut out, &"x".repeat(len));
            let cursor = Cursor::new(out);
            let read = Reader::at(&cursor).text(Form::Compact).unwrap();
            assert_eq!(read.len(), len);
        }
    }
}
