//! Looks through directories for the files that patterns mean.
//!
//! Bounded in depth and number, whatever the tree; opens directories only as `open` allows.
//! Does not know which files are followed already.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, OsStr};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, FileType};
use rustix::io::Errno;

use super::identity::{FileId, Stat};
use super::open::{Guard, OpenError};

/// Deepest directory below the first wildcard of a pattern that is looked into.
pub(super) const DEPTH_MAX: usize = 32;

/// Most names that one look reads; what lies beyond is not found, and that is reported.
pub(super) const NAMES_MAX: usize = 1 << 20;

/// Most refused paths that are remembered for status.
pub(super) const REFUSED_MAX: usize = 100;

/// Which paths are meant.
pub(super) trait Wanted {
    /// Whether something below this directory may be meant.
    fn may_hold(&self, folder: &Path) -> bool;
    /// Whether this file is meant.
    fn is_meant(&self, file: &Path) -> bool;
}

/// A file that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) stat: Stat,
}

/// What one look found.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// Regular files; of several names of one file the first.
    pub(super) files: BTreeMap<FileId, Found>,
    /// Directories that were read.
    pub(super) folders: BTreeSet<PathBuf>,
    /// Directories that exist and could not be read: nothing is known of what is in them.
    pub(super) unreadable: Vec<PathBuf>,
    /// What is meant and may not be read, with the reason.
    pub(super) refused: Vec<(PathBuf, OpenError)>,
    /// [`NAMES_MAX`] was reached.
    pub(super) is_cut_short: bool,
    names: usize,
    seen: BTreeSet<FileId>,
}

impl Looked {
    /// Whether nothing can be said of a path, because its directory could not be read.
    pub(super) fn is_unknown(&self, path: &Path) -> bool {
        self.is_cut_short
            || self
                .unreadable
                .iter()
                .any(|folder| path.starts_with(folder))
    }

    /// Looks through `root` and what is below it.
    pub(super) fn below(&mut self, root: &Path, wanted: &impl Wanted, guard: &Guard) {
        self.seen.clear();
        let mut open = vec![(root.to_owned(), 0)];
        while let Some((folder, depth)) = open.pop() {
            let found = self.folder(&folder, wanted, guard);
            if depth < DEPTH_MAX {
                open.extend(found.into_iter().map(|folder| (folder, depth + 1)));
            }
        }
    }

    /// Looks through one directory; returns those in it to look through next.
    fn folder(&mut self, path: &Path, wanted: &impl Wanted, guard: &Guard) -> Vec<PathBuf> {
        let mut next = Vec::new();
        let opened = guard.folder(path).and_then(|folder| {
            let stat = Stat::of(&folder).map_err(OpenError::System)?;
            Ok((stat, Dir::new(folder).map_err(OpenError::System)?))
        });
        let mut names = match opened {
            // Reached before, by a symlink.
            Ok((stat, _)) if !self.seen.insert(stat.id) => return next,
            Ok((_, names)) => names,
            Err(OpenError::Gone | OpenError::Own) => return next,
            Err(error) => {
                self.unreadable.push(path.to_owned());
                self.refuse(path, error);
                return next;
            }
        };
        self.folders.insert(path.to_owned());
        while let Some(entry) = names.read() {
            self.names += 1;
            let entry = match entry {
                Ok(entry) if self.names <= NAMES_MAX => entry,
                Ok(_) => {
                    self.is_cut_short = true;
                    return next;
                }
                Err(_) => {
                    self.unreadable.push(path.to_owned());
                    return next;
                }
            };
            let name = entry.file_name();
            if name != c"." && name != c".." {
                let file = path.join(OsStr::from_bytes(name.to_bytes()));
                let Ok(folder) = names.fd() else { return next };
                self.entry(
                    folder,
                    name,
                    entry.file_type(),
                    file,
                    wanted,
                    guard,
                    &mut next,
                );
            }
        }
        next
    }

    #[expect(clippy::too_many_arguments, reason = "one entry, taken apart once")]
    fn entry(
        &mut self,
        folder: impl AsFd,
        name: &CStr,
        kind: FileType,
        path: PathBuf,
        wanted: &impl Wanted,
        guard: &Guard,
        next: &mut Vec<PathBuf>,
    ) {
        let may_be_folder = !matches!(kind, FileType::RegularFile);
        let holds = may_be_folder && wanted.may_hold(&path);
        let is_meant = kind != FileType::Directory && wanted.is_meant(&path);
        if !holds && !is_meant {
            return;
        }
        if kind == FileType::Symlink && !guard.follows() {
            if is_meant {
                self.refuse(&path, OpenError::Symlink);
            }
            return;
        }
        match Stat::within(folder, name, guard.follows()) {
            Ok(stat) if stat.is_folder && holds => next.push(path),
            Ok(stat) if stat.is_regular && is_meant => {
                let found = Found { path, stat };
                self.files.entry(stat.id).or_insert(found);
            }
            Ok(stat) if is_meant && !stat.is_folder => self.refuse(&path, OpenError::NotRegular),
            Ok(_) | Err(Errno::NOENT) => {}
            Err(errno) => self.refuse(&path, OpenError::System(errno)),
        }
    }

    /// Notes a path that may not be read.
    pub(super) fn refuse(&mut self, path: &Path, error: OpenError) {
        if self.refused.len() < REFUSED_MAX {
            self.refused.push((path.to_owned(), error));
        }
    }
}

/// Every regular file right in a directory, by identity: where a renamed file is sought.
pub(super) fn siblings(folder: &Path, guard: &Guard) -> BTreeMap<FileId, Found> {
    let mut looked = Looked::default();
    looked.folder(folder, &Anything, guard);
    looked.files
}

struct Anything;

impl Wanted for Anything {
    fn may_hold(&self, _: &Path) -> bool {
        false
    }

    fn is_meant(&self, _: &Path) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// Every `.log` anywhere below.
    struct Logs;

    impl Wanted for Logs {
        fn may_hold(&self, folder: &Path) -> bool {
            !folder.ends_with("closed")
        }

        fn is_meant(&self, file: &Path) -> bool {
            file.extension().is_some_and(|extension| extension == "log")
        }
    }

    fn look(root: &Path, guard: &Guard) -> (Vec<String>, Looked) {
        let mut looked = Looked::default();
        looked.below(root, &Logs, guard);
        let name = |found: &Found| {
            let path = found.path.strip_prefix(root).unwrap();
            path.to_string_lossy().into_owned()
        };
        let mut names: Vec<String> = looked.files.values().map(name).collect();
        names.sort();
        (names, looked)
    }

    #[test]
    fn files_are_found_at_any_depth_and_once() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::create_dir_all(at("a/b")).unwrap();
        fs::create_dir_all(at("closed")).unwrap();
        for name in ["x.log", "a/b/y.log", "a/z.txt", "closed/w.log"] {
            fs::write(at(name), name).unwrap();
        }
        fs::hard_link(at("x.log"), at("a/x2.log")).unwrap();
        let (names, looked) = look(root.path(), &Guard::default());
        assert_eq!(names, ["a/b/y.log", "x.log"]);
        assert_eq!(looked.folders.len(), 3);
        assert!(!looked.is_unknown(&at("x.log")));
    }

    #[test]
    fn symlinks_are_reported_or_followed_without_end() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::create_dir_all(at("logs/a")).unwrap();
        fs::write(at("x.log"), "x").unwrap();
        symlink(at("x.log"), at("logs/x.log")).unwrap();
        symlink(at("logs"), at("logs/a/loop")).unwrap();
        let (names, looked) = look(&at("logs"), &Guard::default());
        assert!(names.is_empty());
        assert_eq!(looked.refused, [(at("logs/x.log"), OpenError::Symlink)]);
        let guard = Guard::new(&[root.path().to_owned()], &[]);
        assert_eq!(look(&at("logs"), &guard).0, ["x.log"]);
    }

    #[test]
    fn what_is_no_file_is_reported_and_what_is_not_there_is_nothing() {
        let root = tempfile::tempdir().unwrap();
        let fifo = root.path().join("a.log");
        let mode = rustix::fs::Mode::RUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, mode, 0).unwrap();
        let (names, looked) = look(root.path(), &Guard::default());
        assert!(names.is_empty());
        assert_eq!(looked.refused, [(fifo, OpenError::NotRegular)]);
        let (names, looked) = look(Path::new("/nonexistent"), &Guard::default());
        assert!(names.is_empty() && looked.refused.is_empty());
    }

    #[test]
    fn a_directory_that_cannot_be_read_says_nothing_about_its_files() {
        if rustix::process::geteuid().is_root() {
            return;
        }
        let root = tempfile::tempdir().unwrap();
        let shut = root.path().join("shut");
        fs::create_dir(&shut).unwrap();
        fs::set_permissions(&shut, fs::Permissions::from_mode(0o000)).unwrap();
        let (_, looked) = look(root.path(), &Guard::default());
        fs::set_permissions(&shut, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(looked.is_unknown(&shut.join("a.log")));
        assert!(!looked.is_unknown(&root.path().join("a.log")));
    }
}
