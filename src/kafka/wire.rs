//! The requests we send and the answers we read, as types for `rskafka`'s messenger.
//!
//! Own types because `rskafka`'s cannot say what we need: produce with prepared bytes and
//! per-record errors (v8), metadata that never creates a topic, producer ids, the broker's
//! text when it refuses a login. Versions below the "flexible" ones, but for transactions.
//! Layouts: <https://kafka.apache.org/protocol#protocol_messages>. Each file below has the
//! requests of one purpose with their answers; this one makes them known to the messenger.
//!
//! An answer is read from a slice with every length checked against what is left of it, so
//! that malformed bytes end in an error and never in a panic or a large allocation.

use std::time::Duration;

use rskafka::protocol::api_version::{ApiVersion, ApiVersionRange};
use rskafka::protocol::primitives::Int16;

/// For requests whose versions here all come before tagged fields.
const NEVER: ApiVersion = ApiVersion(Int16(i16::MAX));

/// For those that are only spoken with tagged fields.
const ALWAYS: ApiVersion = ApiVersion(Int16(0));

type Read<T> = Result<T, super::read::Malformed>;

const fn versions(min: i16, max: i16) -> ApiVersionRange {
    ApiVersionRange::new(ApiVersion(Int16(min)), ApiVersion(Int16(max)))
}

/// A request that can be written.
macro_rules! written {
    ($request:ty) => {
        impl ::rskafka::protocol::messages::WriteVersionedType<Vec<u8>> for $request {
            fn write_versioned(
                &self,
                out: &mut Vec<u8>,
                version: ::rskafka::protocol::api_version::ApiVersion,
            ) -> Result<(), ::rskafka::protocol::messages::WriteVersionedError> {
                self.write(out, version.0.0);
                Ok(())
            }
        }
    };
}

/// A question: which request it is, in which versions, and from which on it has tagged fields.
macro_rules! question {
    (
        $request:ty => $answer:ty, $key:ident, $min:literal ..= $max:literal,
        tagged $tagged:ident
    ) => {
        impl ::rskafka::protocol::messages::RequestBody for $request {
            type ResponseBody = $answer;
            const API_KEY: ::rskafka::protocol::api_key::ApiKey =
                ::rskafka::protocol::api_key::ApiKey::$key;
            const API_VERSION_RANGE: ::rskafka::protocol::api_version::ApiVersionRange =
                $crate::kafka::wire::versions($min, $max);
            const FIRST_TAGGED_FIELD_IN_REQUEST_VERSION:
                ::rskafka::protocol::api_version::ApiVersion = $crate::kafka::wire::$tagged;
        }

        written!($request);
    };
}

/// An answer that can be read.
macro_rules! answer {
    ($answer:ty) => {
        impl ::rskafka::protocol::messages::ReadVersionedType<::std::io::Cursor<Vec<u8>>>
            for $answer
        {
            fn read_versioned(
                cursor: &mut ::std::io::Cursor<Vec<u8>>,
                version: ::rskafka::protocol::api_version::ApiVersion,
            ) -> Result<Self, ::rskafka::protocol::messages::ReadVersionedError> {
                let mut reader = $crate::kafka::read::Reader::at(cursor);
                let answer = Self::read(&mut reader, version.0.0)
                    .map_err(|e| ::rskafka::protocol::traits::ReadError::Malformed(e.into()))?;
                let end = reader.position();
                cursor.set_position(end);
                Ok(answer)
            }
        }
    };
}

macro_rules! request {
    ($request:ty => $answer:ty, $key:ident, $min:literal ..= $max:literal) => {
        question!($request => $answer, $key, $min..=$max, tagged NEVER);
        answer!($answer);
    };
}

#[cfg(any(test, fuzzing))]
mod every;
mod metadata;
mod open;
mod position;
mod produce;
mod producer_id;
mod put;
mod quorum;
mod sasl;
mod settings;
mod txn;

#[cfg(fuzzing)]
pub(super) use every::ANSWERS;
pub(super) use metadata::{
    Metadata, MetadataBroker, MetadataPartition, MetadataQuery, MetadataTopic,
};
pub(super) use open::{StableEndQuery, StateQuery, TransactionState};
pub(super) use position::{Fetch, Fetched, FirstOffsetQuery};
pub(super) use produce::{ImplicitProduce, Produce, Produced, ProducedPart, TopicBatches};
pub(super) use producer_id::{NewProducerId, TxnProducerId};
pub(super) use quorum::QuorumQuery;
pub(super) use sasl::{SaslAnswer, SaslHello, SaslToken};
pub(super) use settings::{CreatedTopics, NewTopics, Settings, SettingsOf, SettingsQuery};
pub(super) use txn::{AddPartitions, CoordinatorQuery, EndTxn, EndTxnBumping, FeaturesQuery};

/// Part of a request's deadline that the broker may take, for its replicas or for whatever
/// else it waits, so that its answer comes before we give up.
const BROKER_SHARE: f64 = 0.66;

/// The broker's part of `request.timeout.ms`, in milliseconds as requests carry it.
pub(super) fn broker_share(request_timeout: Duration) -> i32 {
    millis(request_timeout.mul_f64(BROKER_SHARE))
}

/// A time as requests carry it.
pub(super) fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
