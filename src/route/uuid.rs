//! The UUID of an event: the same after every retry and every restart.
//!
//! RFC 9562 version 8, whose 122 free bits are ours to define: the low 60 bits of the spool's
//! random id, then 62 bits of sequence number. Within one spool two events never share one;
//! two spools share one with a chance of 2^-60.

use crate::proof::Seq;

/// Bits of the sequence number that fit; a spool never gets so far.
const SEQ_BITS: u128 = (1 << 62) - 1;

/// The UUID of event `seq` of the spool, in the usual notation.
pub(super) fn of(spool_id: u64, seq: Seq) -> String {
    let spool = u128::from(spool_id);
    let high = (spool >> 12 & 0xffff_ffff_ffff) << 80;
    let middle = (0x8000 | spool & 0xfff) << 64;
    let low = 0b10 << 62 | u128::from(seq) & SEQ_BITS;
    let hex = format!("{:032x}", high | middle | low);
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    format!(
        "{}-{}-{}-{}-{}",
        part(0, 8),
        part(8, 12),
        part(12, 16),
        part(16, 20),
        part(20, 32)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_one_uuid_and_no_other_event_has_it() {
        let id = of(0x0123_4567_89ab_cdef, 7);
        assert_eq!(id, "12345678-9abc-8def-8000-000000000007");
        assert_eq!(id, of(0x0123_4567_89ab_cdef, 7));
        assert_ne!(id, of(0x0123_4567_89ab_cdef, 8));
        assert_ne!(id, of(0x0123_4567_89ab_cdee, 7));
        assert_eq!(of(0, u64::MAX).len(), 36);
    }
}
