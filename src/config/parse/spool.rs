//! `[spool]`: where the queue lies and how large it may grow.

use std::path::Path;
use std::time::Duration;

use crate::config::report::Sink;
use crate::config::section::{Entry, Section};
use crate::config::{SpoolCodec, SpoolConfig, WhenFull};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// Largest `max_event_bytes`: an event has to fit in memory several times over.
const EVENT_BYTES_MAX: u64 = 16 * MIB;

/// Longest `commit_interval`; beyond it a writer would take the daemon for dead.
const COMMIT_INTERVAL_MAX: Duration = Duration::from_secs(60);

/// Reads the table; `dir` is `--spool-dir`.
pub(super) fn read(
    entry: Option<&Entry<'_>>,
    dir: Option<&Path>,
    sink: &mut Sink,
) -> Option<SpoolConfig> {
    let Some(entry) = entry else {
        if dir.is_none() {
            let help = "add it with dir = \"/var/lib/spoolway\", or pass --spool-dir";
            sink.missing(
                None,
                "[spool]: is missing".to_owned(),
                Some(help.to_owned()),
            );
        }
        return dir.map(|dir| SpoolConfig::new(dir.to_owned()));
    };
    let mut section = super::table("[spool]", entry, sink)?;
    let in_file = section.path("dir").map(|path| path.into_inner());
    let chosen = dir.map(Path::to_owned).or(in_file);
    if chosen.is_none() {
        section.absent(
            "dir",
            "set it, e.g. dir = \"/var/lib/spoolway\", or pass --spool-dir",
        );
    }
    // Without a directory the rest is still worth reading for its mistakes.
    let mut spool = SpoolConfig::new(chosen.clone().unwrap_or_default());
    let max_bytes = section.size("max_bytes", spool.max_bytes, 8 * MIB..=64 * TIB);
    spool.limit(max_bytes);
    read_limits(&mut section, &mut spool);
    let when_full = [("block", WhenFull::Block), ("reject", WhenFull::Reject)];
    spool.when_full = section.choice("when_full", spool.when_full, &when_full);
    let codecs = [
        ("lz4", SpoolCodec::Lz4),
        ("zstd", SpoolCodec::Zstd),
        ("none", SpoolCodec::None),
    ];
    spool.compression = section.choice("compression", spool.compression, &codecs);
    let interval = Duration::ZERO..=COMMIT_INTERVAL_MAX;
    spool.commit_interval = section.duration("commit_interval", spool.commit_interval, interval);
    section.finish();
    chosen.map(|_| spool)
}

fn read_limits(section: &mut Section<'_, '_>, spool: &mut SpoolConfig) {
    spool.min_free = section.size("min_free", spool.min_free, 0..=TIB);
    let default = u64::from(spool.max_event_bytes);
    let event = section.size("max_event_bytes", default, 1..=EVENT_BYTES_MAX);
    spool.max_event_bytes = u32::try_from(event).unwrap_or(spool.max_event_bytes);
    let default = u64::from(spool.intake_memory);
    let memory = section.size("intake_memory", default, 64 << 10..=GIB);
    spool.intake_memory = u32::try_from(memory).unwrap_or(spool.intake_memory);
    spool.generation_bytes =
        section.size("generation_bytes", spool.generation_bytes, MIB..=4 * GIB);
    spool.cache_bytes = section.size("cache_bytes", spool.cache_bytes, MIB..=GIB);
    spool.dead_letter_max_bytes = section.size(
        "dead_letter_max_bytes",
        spool.dead_letter_max_bytes,
        MIB..=TIB,
    );
}
