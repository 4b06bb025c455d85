//! What `check` finds on this host about the patterns of a file input. Warnings only: the
//! daemon may run as another user, and files may come later.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use toml::Spanned;

use crate::config::section::Section;
use crate::config::{FilePatterns, PathPattern};

/// Most directory entries looked at for one pattern; more take too long for a check.
const ENTRIES_MAX: usize = 20_000;

/// Files that are no lines of text, which a wide pattern takes in by mistake: a path like
/// theirs, and what to do instead.
const BINARY: [(&str, &str); 4] = [
    ("/var/log/journal/0/system.journal", JOURNAL),
    ("/run/log/journal/0/system.journal", JOURNAL),
    ("/var/log/wtmp", LOGINS),
    ("/var/log/lastlog", LOGINS),
];

const JOURNAL: &str = "exclude it, and send the journal with journalctl -f -o json | spoolway push";

const LOGINS: &str = "exclude it; logins are also in auth.log and in the journal";

/// Warns about each pattern that cannot be what was meant on this host. `texts` are the
/// patterns as written, with their places.
pub(super) fn files(
    section: &mut Section<'_, '_>,
    patterns: &FilePatterns,
    texts: &[Spanned<String>],
) {
    for (pattern, text) in patterns.included().iter().zip(texts) {
        let words = [binary(patterns, pattern), Search::of(patterns, pattern)];
        for (what, help) in words.into_iter().flatten() {
            let what = format!("{:?} {what}", pattern.as_str());
            section.caution("include", text.span(), &what, Some(help));
        }
    }
}

/// What is wrong, and what to do.
type Words = (String, String);

fn binary(patterns: &FilePatterns, pattern: &PathPattern) -> Option<Words> {
    let taken = |path: &str| {
        let path = Path::new(path);
        pattern.matches(path) && patterns.captures(path).is_some()
    };
    let (path, help) = BINARY.into_iter().find(|(path, _)| taken(path))?;
    Some((
        format!("takes in files that are no text, such as {path}"),
        help.to_owned(),
    ))
}

/// The search for one file that a pattern describes.
struct Search<'p> {
    patterns: &'p FilePatterns,
    pattern: &'p PathPattern,
    left: usize,
    refused: Option<(PathBuf, io::Error)>,
}

impl<'p> Search<'p> {
    fn of(patterns: &'p FilePatterns, pattern: &'p PathPattern) -> Option<Words> {
        let mut search = Self {
            patterns,
            pattern,
            left: ENTRIES_MAX,
            refused: None,
        };
        let found = search.finds_in(pattern.root());
        if let Some((path, error)) = search.refused {
            let what = format!("cannot be searched here: {}: {error}", path.display());
            let help = match error.kind() {
                io::ErrorKind::PermissionDenied => {
                    "let the daemon's group read it, e.g. with systemd/read-logs.conf; this check \
                     ran as its own user"
                }
                _ => "look for a mistyped directory, or make it",
            };
            return Some((what, help.to_owned()));
        }
        let is_empty = !found && search.left > 0;
        let help = "files that appear later are found; look for a mistyped name";
        is_empty.then(|| ("matches no file now".to_owned(), help.to_owned()))
    }

    /// Whether a file below `dir` matches. Links to directories are not followed.
    fn finds_in(&mut self, dir: &Path) -> bool {
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) => {
                self.refused.get_or_insert_with(|| (dir.to_owned(), error));
                return false;
            }
        };
        let mut below = Vec::new();
        for entry in entries.flatten() {
            if self.left == 0 {
                return false;
            }
            self.left -= 1;
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => below.push(path),
                Ok(_) if self.pattern.matches(&path) => {
                    if self.patterns.captures(&path).is_none() {
                        continue;
                    }
                    if let Err(error) = readable(&path) {
                        self.refused.get_or_insert((path, error));
                    }
                    return true;
                }
                _ => {}
            }
        }
        below.retain(|dir| self.pattern.may_hold(dir) && self.patterns.may_hold(dir));
        below.iter().any(|dir| self.finds_in(dir))
    }
}

/// Whether this user may read a file. A FIFO is not opened: that would wait for a writer.
fn readable(path: &Path) -> io::Result<()> {
    if fs::metadata(path)?.is_file() {
        fs::File::open(path)?;
    }
    Ok(())
}
