//! The codec against random events, random damage, and samples of each release.

use std::path::Path;

use proptest::prelude::*;

use super::header::VERSION;
use super::*;
use crate::config::SpoolCodec;
use crate::event::{EventBuf, Peer};

fn codec() -> impl Strategy<Value = SpoolCodec> {
    prop::sample::select(vec![SpoolCodec::None, SpoolCodec::Lz4, SpoolCodec::Zstd])
}

fn reads() -> impl Strategy<Value = Vec<(u8, i64, Vec<Vec<u8>>)>> {
    let event = prop::collection::vec(any::<u8>(), 0..200);
    let read = (0..4u8, any::<i64>(), prop::collection::vec(event, 1..20));
    prop::collection::vec(read, 1..12)
}

fn source(number: u8) -> Arc<Source> {
    let peer = (number % 2 == 1).then_some(Peer {
        uid: 1,
        gid: 2,
        pid: i32::from(number),
    });
    Arc::new(Source {
        input: format!("input-{number}").into(),
        peer,
        file: None,
    })
}

fn encode(first: Seq, codec: SpoolCodec, reads: &[(u8, i64, Vec<Vec<u8>>)]) -> Vec<u8> {
    let mut builder = Builder::default();
    for (from, received, events) in reads {
        let mut buf = EventBuf::default();
        events.iter().for_each(|event| buf.push(event));
        let read = Read {
            events: &buf,
            source: &source(*from),
            received: *received,
            runs: &[],
        };
        assert_eq!(builder.push(read, 0), buf.len());
    }
    let mut stored = Vec::new();
    builder.finish(first, codec, &mut stored).unwrap();
    stored
}

proptest! {
    #[test]
    fn any_bytes_come_back_as_they_went_in(codec in codec(), reads in reads()) {
        let block = Block::decode(&encode(77, codec, &reads)).unwrap();
        let mut stored = block.events();
        let mut seq = 77;
        for (from, received, events) in &reads {
            for bytes in events {
                let source = source(*from);
                let expected =
                    StoredEvent { seq, source: &source, received: *received, place: None, bytes };
                prop_assert_eq!(stored.next(), Some(expected));
                seq += 1;
            }
        }
        prop_assert_eq!(stored.next(), None);
        prop_assert_eq!(block.end(), seq);
    }

    #[test]
    fn a_changed_byte_is_always_noticed(
        codec in codec(), reads in reads(), at in any::<prop::sample::Index>(), bit in 0..8u8
    ) {
        let mut stored = encode(5, codec, &reads);
        let at = at.index(stored.len());
        stored[at] ^= 1 << bit;
        prop_assert!(Block::decode(&stored).is_err());
    }

    #[test]
    fn random_bytes_never_panic_even_with_a_right_checksum(
        mut bytes in prop::collection::vec(any::<u8>(), 0..400), codec in 0..4u8
    ) {
        let _ = Block::decode(&bytes);
        if bytes.len() >= HEADER_BYTES {
            bytes[..4].copy_from_slice(b"SPWB");
            bytes[4..8].copy_from_slice(&[VERSION, codec, 0, 0]);
            let stored = (bytes.len() - HEADER_BYTES) as u32;
            bytes[20..24].copy_from_slice(&(stored * 2).to_le_bytes());
            bytes[24..28].copy_from_slice(&stored.to_le_bytes());
            let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..28]), &bytes[32..]);
            bytes[28..32].copy_from_slice(&crc.to_le_bytes());
            let _ = Block::decode(&bytes);
        }
        let _ = Block::from_raw(1, 3, bytes);
    }
}

#[test]
fn an_unknown_section_is_skipped_or_refused_as_its_flag_says() {
    let stored = encode(1, SpoolCodec::None, &[(0, 9, vec![b"event".to_vec()])]);
    let raw = stored[HEADER_BYTES..].to_vec();
    let with = |flags: u8| [&raw[..], &[99, 0, flags, 0, 2, 0, 0, 0, 7, 7]].concat();
    assert!(Block::from_raw(1, 1, with(1)).is_ok());
    assert_eq!(
        Block::from_raw(1, 1, with(0)).unwrap_err(),
        BlockError::Section(99)
    );
}

#[test]
fn blocks_written_by_version_1_are_read_for_ever() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/spool_v1");
    let reads = golden();
    for (name, codec) in [
        ("none", SpoolCodec::None),
        ("lz4", SpoolCodec::Lz4),
        ("zstd", SpoolCodec::Zstd),
    ] {
        let path = dir.join(format!("block-{name}.bin"));
        if std::env::var_os("SPOOLWAY_WRITE_FIXTURES").is_some() {
            std::fs::write(&path, encode(1000, codec, &reads)).unwrap();
        }
        let block = Block::decode(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!((block.first(), block.len()), (1000, 41), "{name}");
        let expected: Vec<&[u8]> = reads
            .iter()
            .flat_map(|(_, _, events)| events)
            .map(Vec::as_slice)
            .collect();
        assert!(
            block.events().map(|event| event.bytes).eq(expected),
            "{name}"
        );
        let last = block.events().last().unwrap();
        assert_eq!(
            (&*last.source.input, last.received),
            ("input-1", -4),
            "{name}"
        );
    }
}

/// What the sample blocks hold.
fn golden() -> Vec<(u8, i64, Vec<Vec<u8>>)> {
    let lines = (0..40).map(|n| format!("{{\"n\":{n},\"text\":\"a line\"}}").into_bytes());
    vec![
        (0, 1_795_000_000_000, lines.collect()),
        (1, -4, vec![vec![0, 255, 10]]),
    ]
}
