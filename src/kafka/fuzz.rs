//! Way in for `fuzz/`: answers of a broker.

use super::wire::ANSWERS;

/// Reads the bytes after the first two as one of the answers that we read, which the first
/// chooses, in a version, which the second chooses.
pub fn answer(input: &[u8]) {
    let Some(([request, version], bytes)) = input.split_first_chunk() else {
        return;
    };
    if let Some(read) = ANSWERS.get(usize::from(*request) % ANSWERS.len()) {
        read(bytes, (*version).into());
    }
}
