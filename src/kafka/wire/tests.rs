//! Every answer from any bytes: an error at worst.

use proptest::prelude::*;

use super::*;

/// Reads the answer to `R` in each version that is spoken.
fn read_answer<R>(bytes: &[u8])
where
    R: RequestBody,
    R::ResponseBody: ReadVersionedType<Cursor<Vec<u8>>>,
{
    let spoken = R::API_VERSION_RANGE;
    for version in spoken.min().0.0..=spoken.max().0.0 {
        let mut cursor = Cursor::new(bytes.to_vec());
        let version = ApiVersion(Int16(version));
        let _ = R::ResponseBody::read_versioned(&mut cursor, version);
    }
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(
        bytes in prop::collection::vec(prop_oneof![Just(0), Just(255), any::<u8>()], 0..200),
    ) {
        read_answer::<Produce>(&bytes);
        read_answer::<MetadataQuery>(&bytes);
        read_answer::<NewProducerId>(&bytes);
        read_answer::<SaslToken>(&bytes);
        read_answer::<SaslHello>(&bytes);
        read_answer::<ClusterQuery>(&bytes);
        read_answer::<QuorumQuery>(&bytes);
        read_answer::<SettingsQuery>(&bytes);
        read_answer::<NewTopics>(&bytes);
        read_answer::<CoordinatorQuery>(&bytes);
        read_answer::<AddPartitions>(&bytes);
        read_answer::<EndTxn>(&bytes);
        read_answer::<EndTxnBumping>(&bytes);
        read_answer::<FeaturesQuery>(&bytes);
        read_answer::<ImplicitProduce>(&bytes);
        read_answer::<StateQuery>(&bytes);
        read_answer::<StableEndQuery>(&bytes);
        read_answer::<FirstOffsetQuery>(&bytes);
        read_answer::<Fetch>(&bytes);
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
