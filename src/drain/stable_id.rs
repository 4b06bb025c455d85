//! The stable id of an event, as a header carries it.

use crate::proof::Seq;

/// Name of the header that carries an event's stable id.
pub const ID_HEADER: &[u8] = b"spoolway-id";

/// Writes stable ids: spool id, a dash, the sequence number.
#[derive(Debug, Clone)]
pub(super) struct StableId {
    bytes: Vec<u8>,
    prefix: usize,
}

impl StableId {
    /// Ids of the events of one spool.
    pub(super) fn new(spool_id: u64) -> Self {
        let bytes = format!("{spool_id:016x}-").into_bytes();
        Self {
            prefix: bytes.len(),
            bytes,
        }
    }

    /// The id of event `seq`; the same after every retry and restart.
    pub(super) fn of(&mut self, seq: Seq) -> &[u8] {
        self.bytes.truncate(self.prefix);
        self.bytes
            .extend_from_slice(itoa::Buffer::new().format(seq).as_bytes());
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stable_id_names_spool_and_sequence() {
        let mut id = StableId::new(0xab);
        assert_eq!(id.of(17), b"00000000000000ab-17");
        assert_eq!(id.of(2), b"00000000000000ab-2");
    }
}
