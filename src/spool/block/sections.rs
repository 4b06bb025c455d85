//! The sections of a block's body: how each table is written and read.
//!
//! Pure. Owns no block; whether the tables fit each other is checked by [`super::Block`].

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use super::header::{BlockError, Bytes};
use crate::event::{Checkpoint, FileSource, Peer, Source, UnixMillis};

pub(super) const SECTION_HEADER: usize = 8;
pub(super) const SECTION_OPTIONAL: u16 = 1;

pub(super) const KIND_BYTES: u16 = 1;
pub(super) const KIND_LENGTHS: u16 = 2;
pub(super) const KIND_RUNS: u16 = 3;
pub(super) const KIND_SOURCES: u16 = 4;
pub(super) const KIND_CHECKPOINTS: u16 = 5;
pub(super) const KIND_FILES: u16 = 6;
pub(super) const KIND_PLACES: u16 = 7;

/// Bytes of an entry of the runs.
const RUN_BYTES: usize = 14;
/// Bytes of an entry of the places.
pub(super) const PLACE_BYTES: usize = 18;
const PLACE_IS_CUT: u8 = 1;

/// Events of one source that arrived in one read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::spool) struct Run {
    pub(super) source: u16,
    pub(super) count: u32,
    pub(super) received: UnixMillis,
}

/// Events that lie one behind the other in their file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Index of the first event within the block.
    pub(super) first: u32,
    pub(super) count: u32,
    pub(super) offset: u64,
    pub(super) gap: u8,
    pub(super) is_cut: bool,
}

impl Place {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.first.to_le_bytes());
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(&[self.gap, if self.is_cut { PLACE_IS_CUT } else { 0 }]);
    }

    pub(super) fn parse(entry: &[u8]) -> Result<Self, BlockError> {
        let mut at = Bytes(entry);
        Ok(Self {
            first: at.u32()?,
            count: at.u32()?,
            offset: at.u64()?,
            gap: at.u8()?,
            is_cut: at.u8()? & PLACE_IS_CUT != 0,
        })
    }
}

/// Whether `content` holds ascending, disjoint places of at most `events` events.
pub(super) fn are_places(content: &[u8], events: u32) -> bool {
    let mut end = 0;
    let mut entries = content.chunks_exact(PLACE_BYTES);
    let in_order = entries.by_ref().all(|entry| {
        let Ok(place) = Place::parse(entry) else {
            return false;
        };
        let fits = place.first >= end && place.count > 0;
        end = place.first.saturating_add(place.count);
        fits && end <= events
    });
    in_order && entries.remainder().is_empty()
}

pub(super) fn header(kind: u16, flags: u16, len: usize) -> [u8; SECTION_HEADER] {
    let [k0, k1] = kind.to_le_bytes();
    let [f0, f1] = flags.to_le_bytes();
    let [l0, l1, l2, l3] = (len as u32).to_le_bytes();
    [k0, k1, f0, f1, l0, l1, l2, l3]
}

/// Appends `bytes` after their length, cut to what a u16 counts.
///
/// Names come from the configuration, paths and what is captured of them from the file
/// system: all are far shorter than that.
fn push_short(out: &mut Vec<u8>, bytes: &[u8]) {
    let bytes = bytes.get(..usize::from(u16::MAX)).unwrap_or(bytes);
    out.extend_from_slice(&(bytes.len() as u16).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn text(bytes: &[u8]) -> Result<&str, BlockError> {
    std::str::from_utf8(bytes).map_err(|_| BlockError::Inconsistent)
}

pub(super) fn encode_runs(runs: &[Run], out: &mut Vec<u8>) {
    out.extend_from_slice(&header(KIND_RUNS, 0, runs.len() * RUN_BYTES));
    for run in runs {
        out.extend_from_slice(&run.source.to_le_bytes());
        out.extend_from_slice(&run.count.to_le_bytes());
        out.extend_from_slice(&run.received.to_le_bytes());
    }
}

pub(super) fn parse_runs(content: &[u8]) -> Result<Vec<Run>, BlockError> {
    let mut at = Bytes(content);
    let mut runs = Vec::with_capacity(content.len() / RUN_BYTES);
    while !at.0.is_empty() {
        let (source, count) = (at.u16()?, at.u32()?);
        runs.push(Run {
            source,
            count,
            received: at.u64()?.cast_signed(),
        });
    }
    Ok(runs)
}

pub(super) fn encode_sources(sources: &[Arc<Source>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(48 * sources.len());
    for source in sources {
        push_short(&mut out, source.input.as_bytes());
        out.push(u8::from(source.peer.is_some()));
        let peer = source.peer.unwrap_or(Peer {
            uid: 0,
            gid: 0,
            pid: 0,
        });
        out.extend_from_slice(&peer.uid.to_le_bytes());
        out.extend_from_slice(&peer.gid.to_le_bytes());
        out.extend_from_slice(&peer.pid.to_le_bytes());
    }
    out
}

pub(super) fn parse_sources(content: &[u8]) -> Result<Vec<Source>, BlockError> {
    let mut at = Bytes(content);
    let mut sources = Vec::new();
    while !at.0.is_empty() {
        let name = text(at.short()?)?;
        let known = at.u8()? != 0;
        let peer = Peer {
            uid: at.u32()?,
            gid: at.u32()?,
            pid: at.u32()?.cast_signed(),
        };
        sources.push(Source {
            input: name.into(),
            peer: known.then_some(peer),
            file: None,
        });
    }
    Ok(sources)
}

/// The files of `sources`, each with the number of its source.
pub(super) fn encode_files(sources: &[Arc<Source>]) -> Vec<u8> {
    let mut out = Vec::new();
    for (index, source) in (0u16..).zip(sources) {
        if let Some(file) = &source.file {
            out.extend_from_slice(&index.to_le_bytes());
            encode_file(file, &mut out);
        }
    }
    out
}

/// Gives each of `sources` the file that `content` has for it.
pub(super) fn parse_files(content: &[u8], sources: &mut [Source]) -> Result<(), BlockError> {
    let mut at = Bytes(content);
    while !at.0.is_empty() {
        let index = usize::from(at.u16()?);
        let file = parse_file(&mut at)?;
        let source = sources.get_mut(index).ok_or(BlockError::Inconsistent)?;
        source.file = Some(Arc::new(file));
    }
    Ok(())
}

/// Bytes that [`encode_file`] makes of `file`.
pub(super) fn file_bytes(file: &FileSource) -> usize {
    let captures = file.captures.iter();
    let captures: usize = captures
        .map(|(name, text)| 4 + name.len() + text.len())
        .sum();
    20 + file.path.as_os_str().len() + captures
}

/// Appends inode, device, path and captures.
pub(in crate::spool) fn encode_file(file: &FileSource, out: &mut Vec<u8>) {
    out.extend_from_slice(&file.inode.to_le_bytes());
    out.extend_from_slice(&file.device.to_le_bytes());
    push_short(out, file.path.as_os_str().as_bytes());
    // As many as a u8 counts; a pattern has a handful.
    let captures = file.captures.get(..usize::from(u8::MAX));
    let captures = captures.unwrap_or(&file.captures);
    out.push(captures.len() as u8);
    for (name, text) in captures {
        push_short(out, name.as_bytes());
        push_short(out, text.as_bytes());
    }
}

/// Reads what [`encode_file`] wrote.
pub(in crate::spool) fn parse_file(at: &mut Bytes<'_>) -> Result<FileSource, BlockError> {
    let (inode, device) = (at.u64()?, at.u64()?);
    let path = Path::new(OsStr::from_bytes(at.short()?));
    let captures: Result<Box<[_]>, BlockError> = (0..at.u8()?)
        .map(|_| Ok((text(at.short()?)?.into(), text(at.short()?)?.into())))
        .collect();
    Ok(FileSource {
        inode,
        device,
        path: path.into(),
        captures: captures?,
    })
}

/// Bytes that [`encode_checkpoint`] makes of a value of this length.
pub(in crate::spool) fn checkpoint_bytes(value: usize) -> usize {
    11 + value
}

/// Appends one checkpoint; `CHECKPOINT_VALUE_MAX` of `checkpoints` keeps the length small.
pub(in crate::spool) fn encode_checkpoint(key: u64, value: Option<&[u8]>, out: &mut Vec<u8>) {
    out.extend_from_slice(&key.to_le_bytes());
    out.push(u8::from(value.is_some()));
    push_short(out, value.unwrap_or_default());
}

/// Reads one checkpoint.
pub(in crate::spool) fn parse_checkpoint(at: &mut Bytes<'_>) -> Result<Checkpoint, BlockError> {
    let key = at.u64()?;
    let has_value = match at.u8()? {
        0 => false,
        1 => true,
        _ => return Err(BlockError::Inconsistent),
    };
    let value = at.short()?;
    Ok(Checkpoint {
        key,
        value: has_value.then(|| value.into()),
    })
}
