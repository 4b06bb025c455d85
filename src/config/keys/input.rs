//! The keys of `[[input]]`, by its type, and of `[input.multiline]`.

use super::{Key, Kind};

/// `name` of every input.
const NAME: Key = Key {
    name: "name",
    kind: Kind::Text,
    also: &[],
    default: "required",
    range: "1 to 64 of `a-z A-Z 0-9 . _ -`",
    effect: "unique; recorded with every event",
};

/// `[[input]]` of type `unix`
pub(super) const UNIX: [Key; 9] = [
    NAME,
    Key {
        name: "type",
        kind: Kind::Choice(&["unix"]),
        also: &[],
        default: "required",
        range: "`unix`",
        effect: "a Unix stream socket that takes newline-delimited events",
    },
    Key {
        name: "path",
        kind: Kind::Text,
        also: &[],
        default: "required",
        range: "107 bytes",
        effect: "path of the socket, unique",
    },
    Key {
        name: "mode",
        kind: Kind::Text,
        also: &[],
        default: "`\"0660\"`",
        range: "octal, up to 0777",
        effect: "permission bits of the socket file",
    },
    Key {
        name: "group",
        kind: Kind::Text,
        also: &[],
        default: "the daemon's own",
        range: "name or number",
        effect: "group of the socket file",
    },
    Key {
        name: "ack",
        kind: Kind::Choice(&["none", "durable", "broker"]),
        also: &[],
        default: "`\"none\"`",
        range: "`none`, `durable`, `broker`",
        effect: "what writers are told: nothing, `{\"ack\":N}` once their first N lines are on \
            disk, or once Kafka has them",
    },
    Key {
        name: "max_connections",
        kind: Kind::Number,
        also: &[],
        default: "`512`",
        range: "1 to 65536",
        effect: "most connections at once",
    },
    Key {
        name: "accept_unterminated",
        kind: Kind::Flag,
        also: &[],
        default: "`true`",
        range: "",
        effect: "whether a last line without a newline is an event when the writer closes",
    },
    Key {
        name: "idle_timeout",
        kind: Kind::Duration,
        also: &[],
        default: "`\"0s\"`",
        range: "0s to 7days",
        effect: "a connection without a byte for this long is closed; 0s = never",
    },
];

/// `[[input]]` of type `file`
pub(super) const FILE: [Key; 17] = [
    NAME,
    Key {
        name: "type",
        kind: Kind::Choice(&["file"]),
        also: &[],
        default: "required",
        range: "`file`",
        effect: "log files, followed through every rotation; see docs/tailing.md",
    },
    Key {
        name: "include",
        kind: Kind::List,
        also: &[],
        default: "required",
        range: "1 to 64 absolute paths",
        effect: "files to read: `*` and `?` within a name, `**` for any directories, `[a-z]`, \
            `{a,b}`; `{app}` captures a part of a name for routes, as `@capture.app`",
    },
    Key {
        name: "exclude",
        kind: Kind::List,
        also: &[],
        default: "`[]`",
        range: "up to 64",
        effect: "files and directories to leave out: a whole path, or without a slash a name \
            wherever it is",
    },
    Key {
        name: "start",
        kind: Kind::Choice(&["end", "beginning"]),
        also: &[],
        default: "`\"end\"`",
        range: "`end`, `beginning`",
        effect: "where files begin that are there before the first start; later ones begin at \
            their first byte",
    },
    Key {
        name: "max_line",
        kind: Kind::Size,
        also: &[],
        default: "`\"1MiB\"`",
        range: "256B to 16MiB",
        effect: "longest line in bytes of the file; the rest is cut, flagged in a header and \
            counted; as UTF-8 it has to fit `max_event_bytes`, to which the default is \
            lowered",
    },
    Key {
        name: "line_ending",
        kind: Kind::Choice(&["auto", "lf"]),
        also: &[],
        default: "`\"auto\"`",
        range: "`auto`, `lf`",
        effect: "`auto`: a CR before the LF is part of the line's end; `lf`: it is content",
    },
    Key {
        name: "encoding",
        kind: Kind::Choice(&["utf-8", "utf-16le", "utf-16be", "latin-1"]),
        also: &[],
        default: "`\"utf-8\"`",
        range: "`utf-8`, `utf-16le`, `utf-16be`, `latin-1`",
        effect: "how characters are stored; events are UTF-8; with `utf-8` bytes pass through \
            unchecked",
    },
    Key {
        name: "multiline",
        kind: Kind::Table("input.multiline"),
        also: &[],
        default: "none",
        range: "",
        effect: "which lines make one event together, below",
    },
    Key {
        name: "read_once",
        kind: Kind::Flag,
        also: &[],
        default: "`false`",
        range: "",
        effect: "files are complete when they appear: each is read to its end and then let go",
    },
    Key {
        name: "delete_after_delivery",
        kind: Kind::Flag,
        also: &[],
        default: "`false`",
        range: "with `start = \"beginning\"`",
        effect: "a file is removed once Kafka has acknowledged all its events and it stayed \
            unchanged for `delete_grace`",
    },
    Key {
        name: "delete_grace",
        kind: Kind::Duration,
        also: &[],
        default: "`\"5m\"`",
        range: "1ms to 1day",
        effect: "how long that is",
    },
    Key {
        name: "follow_symlinks_into",
        kind: Kind::List,
        also: &[],
        default: "`[]`",
        range: "up to 64 absolute paths",
        effect: "a symbolic link is followed only to a file in these directories; empty: no link \
            is followed",
    },
    Key {
        name: "scan_interval",
        kind: Kind::Duration,
        also: &[],
        default: "`\"10s\"`",
        range: "100ms to 1h",
        effect: "time between two looks at the directories; notifications of the kernel come on \
            top",
    },
    Key {
        name: "max_open_files",
        kind: Kind::Number,
        also: &[],
        default: "`256`",
        range: "1 to 65536",
        effect: "most files held open at once; more are followed in turns",
    },
    Key {
        name: "max_deleted_files",
        kind: Kind::Number,
        also: &[],
        default: "`64`",
        range: "1 to 65536",
        effect: "most deleted files with unread bytes that are kept open",
    },
    Key {
        name: "max_deleted_bytes",
        kind: Kind::Size,
        also: &[],
        default: "`\"1GiB\"`",
        range: "0B to 64TiB",
        effect: "most bytes that such files may keep from the disk",
    },
];

/// `[input.multiline]`
pub(super) const MULTILINE: [Key; 6] = [
    Key {
        name: "start",
        kind: Kind::Text,
        also: &[],
        default: "one of the three",
        range: "[regular expression](https://docs.rs/regex/latest/regex/#syntax)",
        effect: "a line in which it is found begins an event; `\\d`, `\\w`, `\\s`, `\\b`, `(?i)` \
            know Unicode, classes such as `\\p{Greek}` are not there",
    },
    Key {
        name: "continue",
        kind: Kind::Text,
        also: &[],
        default: "",
        range: "regular expression",
        effect: "a line in which it is found belongs to the event before it",
    },
    Key {
        name: "end",
        kind: Kind::Text,
        also: &[],
        default: "",
        range: "regular expression",
        effect: "a line in which it is found is the last of its event",
    },
    Key {
        name: "timeout",
        kind: Kind::Duration,
        also: &[],
        default: "`\"2s\"`",
        range: "10ms to 1h",
        effect: "an open event is finished when its file has not grown for this long",
    },
    Key {
        name: "max_lines",
        kind: Kind::Number,
        also: &[],
        default: "`500`",
        range: "1 to 100000",
        effect: "most lines of one event; the next line begins another",
    },
    Key {
        name: "max_bytes",
        kind: Kind::Size,
        also: &[],
        default: "`\"1MiB\"`",
        range: "`max_line` to 16MiB",
        effect: "most bytes of one event in the file; a line that would exceed it begins another",
    },
];
