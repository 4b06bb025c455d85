//! Every answer that is read, for the tests and for `fuzz/`. Asserts nothing.

use std::io::Cursor;

use rskafka::protocol::api_version::ApiVersion;
use rskafka::protocol::messages::{ReadVersionedType, RequestBody};
use rskafka::protocol::primitives::Int16;

use super::*;

/// Reads bytes as the answer to one request in a version, and throws away what it finds.
type ReadAnswer = fn(&[u8], i16);

/// One for each request. Seeds in `fuzz/` know them by their places.
pub(in crate::kafka) const ANSWERS: [ReadAnswer; 19] = [
    read::<Produce>,
    read::<MetadataQuery>,
    read::<NewProducerId>,
    read::<SaslHello>,
    read::<SaslToken>,
    read::<ImplicitProduce>,
    read::<QuorumQuery>,
    read::<SettingsQuery>,
    read::<NewTopics>,
    read::<CoordinatorQuery>,
    read::<TxnProducerId>,
    read::<AddPartitions>,
    read::<EndTxn>,
    read::<EndTxnBumping>,
    read::<FeaturesQuery>,
    read::<StateQuery>,
    read::<StableEndQuery>,
    read::<FirstOffsetQuery>,
    read::<Fetch>,
];

/// Any number is a version: one that is not spoken stands for one that is.
fn read<R>(bytes: &[u8], version: i16)
where
    R: RequestBody,
    R::ResponseBody: ReadVersionedType<Cursor<Vec<u8>>>,
{
    let spoken = R::API_VERSION_RANGE;
    let (min, max) = (spoken.min().0.0, spoken.max().0.0);
    let version = ApiVersion(Int16(min + (version - min).rem_euclid(max - min + 1)));
    let _ = R::ResponseBody::read_versioned(&mut Cursor::new(bytes.to_vec()), version);
}
