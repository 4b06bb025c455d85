//! The codec against random events, random damage, and samples of each release.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::header::VERSION;
use super::*;
use crate::config::SpoolCodec;
use crate::event::{Checkpoint, EventBuf, FilePlace, FileRun, FileSource, Peer};

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

/// A read from a file: its number, the runs of its events, its checkpoint.
type FileRead = (u8, Vec<(u64, u8, bool, Vec<Vec<u8>>)>, Option<Vec<u8>>);

fn file_reads() -> impl Strategy<Value = Vec<FileRead>> {
    let event = prop::collection::vec(any::<u8>(), 0..100);
    let events = prop::collection::vec(event, 1..10);
    let run = (0..u64::MAX / 2, any::<u8>(), any::<bool>(), events);
    let runs = prop::collection::vec(run, 1..4);
    let value = prop::option::of(prop::collection::vec(any::<u8>(), 0..300));
    prop::collection::vec((0..3u8, runs, value), 1..8)
}

fn file_source(number: u8) -> Arc<Source> {
    let path = [b"/var/log/\xff".as_slice(), &[b'a' + number]].concat();
    let captures = (0..number).map(|n| (format!("name-{n}").into(), "caf\u{e9}".into()));
    Arc::new(Source {
        file: Some(Arc::new(FileSource {
            inode: u64::from(number) << 40,
            device: 2049,
            path: Path::new(OsStr::from_bytes(&path)).into(),
            captures: captures.collect(),
        })),
        ..Source::of_input("logs")
    })
}

fn encode_files(first: Seq, codec: SpoolCodec, reads: &[FileRead]) -> Vec<u8> {
    let mut builder = Builder::default();
    for (number, runs, value) in reads {
        let mut events = EventBuf::default();
        let mut places = Vec::new();
        for (offset, gap, is_cut, run) in runs {
            run.iter().for_each(|event| events.push(event));
            places.push(FileRun {
                count: run.len() as u32,
                offset: *offset,
                gap: *gap,
                is_cut: *is_cut,
            });
        }
        assert!(builder.has_room_for(&events));
        let read = Read {
            events: &events,
            source: &file_source(*number),
            received: 5,
            runs: &places,
        };
        assert_eq!(builder.push(read, 0), events.len());
        builder.carry(&Checkpoint {
            key: u64::from(*number),
            value: value.as_deref().map(Into::into),
        });
    }
    let mut stored = Vec::new();
    builder.finish(first, codec, &mut stored).unwrap();
    stored
}

/// Source, place and bytes of each event.
fn expected_files(reads: &[FileRead]) -> Vec<(Arc<Source>, FilePlace, &[u8])> {
    let mut all = Vec::new();
    for (number, runs, _) in reads {
        for (start, gap, is_cut, run) in runs {
            let mut offset = *start;
            for event in run {
                let is_cut = *is_cut;
                all.push((file_source(*number), FilePlace { offset, is_cut }, &**event));
                offset += event.len() as u64 + u64::from(*gap);
            }
        }
    }
    all
}

fn check_files(block: &Block, reads: &[FileRead]) {
    let mut stored = block.events();
    for (source, place, bytes) in expected_files(reads) {
        let event = stored.next().unwrap();
        assert_eq!((event.source, event.place), (&*source, Some(place)));
        assert_eq!(event.bytes, bytes);
    }
    assert_eq!(stored.next(), None);
    let last: BTreeMap<u64, Option<Arc<[u8]>>> = reads
        .iter()
        .map(|(number, _, value)| (u64::from(*number), value.as_deref().map(Into::into)))
        .collect();
    let found = block.checkpoints().unwrap();
    let found: Vec<_> = found.into_iter().map(|one| (one.key, one.value)).collect();
    assert_eq!(found, Vec::from_iter(last));
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
    fn files_places_and_checkpoints_come_back_as_they_went_in(
        codec in codec(), reads in file_reads()
    ) {
        check_files(&Block::decode(&encode_files(9, codec, &reads)).unwrap(), &reads);
    }

    #[test]
    fn damaged_tables_of_files_are_refused_and_never_panic(
        reads in file_reads(), at in any::<prop::sample::Index>(), byte: u8
    ) {
        let stored = encode_files(1, SpoolCodec::None, &reads);
        let count = Header::parse(&stored).unwrap().count;
        let mut raw = stored[HEADER_BYTES..].to_vec();
        let at = at.index(raw.len());
        raw[at] = byte;
        if let Ok(block) = Block::from_raw(1, count, raw) {
            assert_eq!(block.events().count(), count as usize);
            let _ = block.checkpoints();
        }
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
    let reads = golden();
    for (name, codec) in [
        ("none", SpoolCodec::None),
        ("lz4", SpoolCodec::Lz4),
        ("zstd", SpoolCodec::Zstd),
    ] {
        let path = fixture(&format!("block-{name}.bin"));
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

#[test]
fn blocks_with_files_and_checkpoints_are_read_for_ever() {
    let path = fixture("block-files.bin");
    let run = |offset, is_cut, line: &str| (offset, 1, is_cut, vec![line.into(), Vec::new()]);
    let reads: Vec<FileRead> = vec![
        (
            1,
            vec![run(0, false, "first"), run(70, true, "cut")],
            Some(b"to here".to_vec()),
        ),
        (2, vec![run(4096, false, "other file")], None),
        (
            1,
            vec![run(1000, false, "second")],
            Some(b"and on".to_vec()),
        ),
    ];
    if std::env::var_os("SPOOLWAY_WRITE_FIXTURES").is_some() {
        std::fs::write(&path, encode_files(1000, SpoolCodec::Lz4, &reads)).unwrap();
    }
    let block = Block::decode(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!((block.first(), block.len()), (1000, 8));
    check_files(&block, &reads);
}

fn fixture(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    dir.join("tests/fixtures/spool_v1").join(name)
}

/// What the sample blocks hold.
fn golden() -> Vec<(u8, i64, Vec<Vec<u8>>)> {
    let lines = (0..40).map(|n| format!("{{\"n\":{n},\"text\":\"a line\"}}").into_bytes());
    vec![
        (0, 1_795_000_000_000, lines.collect()),
        (1, -4, vec![vec![0, 255, 10]]),
    ]
}
