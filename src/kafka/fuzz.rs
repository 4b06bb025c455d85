//! Way in for `fuzz/`: answers of a broker.

use std::io::Cursor;

use rskafka::protocol::api_version::ApiVersion;
use rskafka::protocol::messages::ReadVersionedType;
use rskafka::protocol::primitives::Int16;

use super::wire::{Metadata, Produced, ProducerId, SaslAnswer, SaslMechanisms};

/// Reads the bytes after the first two as one of the messages that we read, which the first
/// chooses, in a version, which the second chooses.
pub fn answer(input: &[u8]) {
    let Some(([message, version], bytes)) = input.split_first_chunk() else {
        return;
    };
    let version = ApiVersion(Int16((version % 12).into()));
    let cursor = &mut Cursor::new(bytes.to_vec());
    match message % 5 {
        0 => drop(Produced::read_versioned(cursor, version)),
        1 => drop(Metadata::read_versioned(cursor, version)),
        2 => drop(ProducerId::read_versioned(cursor, version)),
        3 => drop(SaslMechanisms::read_versioned(cursor, version)),
        _ => drop(SaslAnswer::read_versioned(cursor, version)),
    }
}
