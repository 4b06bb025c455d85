//! Room at the end of a buffer, for what a compressor writes there. Knows no compressor.

/// Copied from; a page.
static ZEROS: [u8; 4096] = [0; 4096];

/// Appends `len` zeros to `out` and gives them to write in; the writer of fewer truncates.
///
/// `Vec::resize` is this in a release, but in the static binary, which is built small before
/// fast, a loop over single bytes: a tenth of the daemon's time (measured).
pub(crate) fn room(out: &mut Vec<u8>, len: usize) -> &mut [u8] {
    let start = out.len();
    out.reserve(len);
    let mut left = len;
    while left > 0 {
        let zeros = ZEROS.get(..left).unwrap_or(&ZEROS);
        out.extend_from_slice(zeros);
        left -= zeros.len();
    }
    out.get_mut(start..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_is_empty_and_as_long_as_asked_for_behind_what_is_there() {
        for len in [0, 1, 4095, 4096, 4097, 3 * 4096 + 7] {
            let mut out = b"before".to_vec();
            let given = room(&mut out, len);
            assert_eq!(given.len(), len);
            assert!(given.iter().all(|byte| *byte == 0));
            given.fill(7);
            assert!(out.starts_with(b"before") && out.len() == 6 + len);
            assert!(out.iter().skip(6).all(|byte| *byte == 7));
        }
    }
}
