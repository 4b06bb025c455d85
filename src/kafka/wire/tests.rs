//! Every answer from any bytes: an error at worst.

use std::io::Cursor;

use proptest::prelude::*;

use super::every::ANSWERS;
use super::*;
use crate::kafka::read::Reader;

/// More versions than any answer is read in.
const VERSIONS: i16 = 8;

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(
        bytes in prop::collection::vec(prop_oneof![Just(0), Just(255), any::<u8>()], 0..200),
    ) {
        for read in ANSWERS {
            (0..VERSIONS).for_each(|version| read(&bytes, version));
        }
    }
}

#[test]
fn a_length_beyond_the_answer_is_named_with_its_place() {
    let cursor = Cursor::new(vec![0x7f, 0xff, 0xff, 0xff, 1]);
    let error = Produced::read(&mut Reader::at(&cursor), 8).unwrap_err();
    assert_eq!(
        error.to_string(),
        "malformed answer: a length beyond the end at byte 4"
    );
}
