//! The keys of the small tables.

use super::{Key, Kind};

/// Above all tables.
pub(super) const TOP: [Key; 1] = [Key {
    name: "stop_timeout",
    kind: Kind::Duration,
    also: &[],
    default: "`\"10s\"`",
    range: "1s to 1h",
    effect: "deadline of an ordered stop (SIGTERM, SIGINT); what is not delivered by then \
            stays in the spool; has to be below `TimeoutStopSec` of the unit, 30 s",
}];

/// `[spool]`
pub(super) const SPOOL: [Key; 11] = [
    Key {
        name: "dir",
        kind: Kind::Text,
        also: &[],
        default: "required",
        range: "",
        effect: "directory of the queue; made when missing, mode 0700 (one that is there keeps its \
            mode); `--spool-dir` wins",
    },
    Key {
        name: "max_bytes",
        kind: Kind::Size,
        also: &[],
        default: "`\"10GiB\"`",
        range: "8MiB to 64TiB",
        effect: "most bytes the directory may take, dead letters included, and `quarantine/`, \
            which gets a quarter of it; what `intake_memory` holds at that moment comes on top",
    },
    Key {
        name: "min_free",
        kind: Kind::Size,
        also: &[],
        default: "`\"256MiB\"`",
        range: "0B to 1TiB",
        effect: "intake pauses when the file system has fewer bytes free",
    },
    Key {
        name: "max_event_bytes",
        kind: Kind::Size,
        also: &[],
        default: "`\"1MiB\"`",
        range: "1B to 16MiB",
        effect: "a longer line is refused and counted; warned about when more than \
            `max.request.size`",
    },
    Key {
        name: "when_full",
        kind: Kind::Choice(&["block", "reject"]),
        also: &[],
        default: "`\"block\"`",
        range: "`block`, `reject`",
        effect: "full spool: writers wait, or each event is refused by name",
    },
    Key {
        name: "commit_interval",
        kind: Kind::Duration,
        also: &[],
        default: "`\"0s\"`",
        range: "0s to 1min",
        effect: "shortest time between two commits: spares flash, delays acks",
    },
    Key {
        name: "compression",
        kind: Kind::Choice(&["lz4", "zstd", "none"]),
        also: &[],
        default: "`\"lz4\"`",
        range: "`lz4`, `zstd`, `none`",
        effect: "codec of the blocks on disk",
    },
    Key {
        name: "generation_bytes",
        kind: Kind::Size,
        also: &[],
        default: "`\"16MiB\"`",
        range: "1MiB to 4GiB",
        effect: "size at which a new file of the queue is begun; lowered to a quarter of a small \
            `max_bytes`",
    },
    Key {
        name: "intake_memory",
        kind: Kind::Size,
        also: &[],
        default: "`\"4MiB\"`",
        range: "64KiB to 1GiB",
        effect: "most bytes taken from writers and not yet on disk; at least `max_event_bytes`",
    },
    Key {
        name: "cache_bytes",
        kind: Kind::Size,
        also: &[],
        default: "`\"4MiB\"`",
        range: "1MiB to 1GiB",
        effect: "cache of each open file of the queue",
    },
    Key {
        name: "dead_letter_max_bytes",
        kind: Kind::Size,
        also: &[],
        default: "`\"256MiB\"`",
        range: "1MiB to 1TiB",
        effect: "most bytes of dead letters, the events that cannot be delivered; at the limit \
            they stay in the queue; lowered to a quarter of a small `max_bytes`",
    },
];

/// `[control]`
pub(super) const CONTROL: [Key; 1] = [Key {
    name: "path",
    kind: Kind::Text,
    also: &[],
    default: "`control.sock` in the spool directory",
    range: "107 bytes",
    effect: "socket of `spoolway status`, `spoolway tail` and `spoolway dead-letter`; mode 0600",
}];

/// `[log]`
pub(super) const LOG: [Key; 3] = [
    Key {
        name: "filter",
        kind: Kind::Text,
        also: &[],
        default: "`\"info\"`",
        range: "level, or `target=level` with commas",
        effect: "what is written, e.g. `\"info,spoolway::kafka=debug\"`",
    },
    Key {
        name: "format",
        kind: Kind::Choice(&["text", "json"]),
        also: &[],
        default: "`\"text\"`",
        range: "`text`, `json`",
        effect: "always on standard error; with `JOURNAL_STREAM` set, lines begin with their \
            priority (`<4>`)",
    },
    Key {
        name: "repeat_interval",
        kind: Kind::Duration,
        also: &[],
        default: "`\"10s\"`",
        range: "0s to 24h",
        effect: "a repeated line is written once in this time, the next one with `(suppressed \
            N)`; 0s writes all",
    },
];
