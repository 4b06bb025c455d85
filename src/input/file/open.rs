//! Opens a log file without trusting the directory that it is in.
//!
//! The owner of a log directory may be hostile: a symlink to a secret, a FIFO that blocks, a
//! hard link to somebody else's file, or our own spool in disguise must not be read. Knows
//! nothing of what is done with the file.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::identity::Stat;

/// Why a file is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum OpenError {
    /// It is no longer there.
    #[error("is gone")]
    Gone,
    /// A part of the path is a symbolic link.
    #[error("a part of the path is a symbolic link; allow its target in follow_symlinks_into")]
    Symlink,
    /// A symbolic link leads out of the allowed directories.
    #[error("leads to {0}, which is not within follow_symlinks_into")]
    Outside(PathBuf),
    /// A directory, FIFO, socket or device.
    #[error("is not a regular file")]
    NotRegular,
    /// It may be somebody else's file under a second name.
    #[error("has {0} hard links; a file that is followed has one name")]
    HardLinks(u32),
    /// There is no place for it.
    #[error("is one file too many: {0} are followed already")]
    TooMany(usize),
    /// It does not fit into a checkpoint.
    #[error("has a path of more than {0} bytes")]
    LongPath(usize),
    /// All handles are held by deleted files.
    #[error("waits for a file handle; raise max_open_files")]
    NoHandle,
    /// It belongs to this daemon.
    #[error("belongs to spoolway itself")]
    Own,
    /// The system refused.
    #[error("cannot be opened: {0}")]
    System(Errno),
}

impl OpenError {
    fn from_errno(errno: Errno) -> Self {
        match errno {
            Errno::NOENT | Errno::NOTDIR => Self::Gone,
            Errno::LOOP => Self::Symlink,
            // open(2): a socket, or a device without a driver.
            Errno::NXIO | Errno::NODEV => Self::NotRegular,
            other => Self::System(other),
        }
    }
}

/// What may be opened.
#[derive(Debug, Clone, Default)]
pub(super) struct Guard {
    /// Directories that symlinks may lead into, real paths; empty = no symlink is followed.
    allowed: Vec<PathBuf>,
    /// Directories of the daemon's own files, real paths.
    own: Vec<PathBuf>,
}

impl Guard {
    /// Symlinks may lead into `allowed`; what is in `own` is never read.
    pub(super) fn new(allowed: &[PathBuf], own: &[PathBuf]) -> Self {
        let real = |paths: &[PathBuf]| {
            let real = paths.iter().map(|path| path.canonicalize());
            real.zip(paths)
                .map(|(real, path)| real.unwrap_or_else(|_| path.clone()))
                .collect()
        };
        Self {
            allowed: real(allowed),
            own: real(own),
        }
    }

    /// Whether symlinks are followed.
    pub(super) fn follows(&self) -> bool {
        !self.allowed.is_empty()
    }

    /// Opens a regular file for reading. Never blocks on what is no file.
    pub(super) fn file(&self, path: &Path) -> Result<(File, Stat), OpenError> {
        let file = self.open(path, OFlags::NONBLOCK)?;
        let stat = Stat::of(&file).map_err(OpenError::System)?;
        if !stat.is_regular {
            return Err(OpenError::NotRegular);
        }
        // Standard error may go to a file that a pattern finds: each line of ours about it
        // would make another one.
        if Stat::of(std::io::stderr()).is_ok_and(|log| log.id == stat.id) {
            return Err(OpenError::Own);
        }
        Ok((File::from(file), stat))
    }

    /// Opens a directory.
    pub(super) fn folder(&self, path: &Path) -> Result<OwnedFd, OpenError> {
        self.open(path, OFlags::DIRECTORY)
    }

    fn open(&self, path: &Path, more: OFlags) -> Result<OwnedFd, OpenError> {
        let mut flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | more;
        let mut resolve = ResolveFlags::NO_MAGICLINKS;
        if !self.follows() {
            resolve |= ResolveFlags::NO_SYMLINKS;
            // A directory is told from a link to one by NO_SYMLINKS alone.
            if !more.contains(OFlags::DIRECTORY) {
                flags |= OFlags::NOFOLLOW;
            }
        }
        let opened = match rustix::fs::openat2(CWD, path, flags, Mode::empty(), resolve) {
            // Linux before 5.6, and containers whose filter of system calls is as old.
            Err(Errno::NOSYS) => self.open_by_parts(path, flags),
            other => other,
        };
        let opened = opened.map_err(OpenError::from_errno)?;
        self.check_place(&opened, path)?;
        Ok(opened)
    }

    /// What openat2(2) does, part by part: nobody can slip a symlink in between, because each
    /// part is opened within the one before.
    fn open_by_parts(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        if self.follows() {
            return rustix::fs::open(path, flags, Mode::empty());
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return rustix::fs::open(path, flags, Mode::empty());
        };
        let way = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut folder = rustix::fs::open("/", way, Mode::empty())?;
        for part in parent.components() {
            match part {
                Component::RootDir | Component::CurDir => {}
                Component::Normal(part) => folder = open_part(&folder, part.as_ref(), way)?,
                Component::ParentDir | Component::Prefix(_) => return Err(Errno::LOOP),
            }
        }
        open_part(&folder, name.as_ref(), flags)
    }

    /// Looks where the handle leads, after it is open: nobody can change that any more.
    fn check_place(&self, opened: &OwnedFd, path: &Path) -> Result<(), OpenError> {
        let real = real_path(opened).map_err(OpenError::System)?;
        if self.own.iter().any(|own| real.starts_with(own)) {
            return Err(OpenError::Own);
        }
        let is_allowed = |real: &Path| self.allowed.iter().any(|dir| real.starts_with(dir));
        if self.follows() && real != path && !is_allowed(&real) {
            return Err(OpenError::Outside(real));
        }
        Ok(())
    }
}

/// Opens `name` in `folder` unless it is a symlink: ELOOP then.
fn open_part(folder: &OwnedFd, name: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let opened = rustix::fs::openat(folder, name, flags | OFlags::NOFOLLOW, Mode::empty());
    let Err(Errno::NOTDIR) = opened else {
        return opened;
    };
    // O_DIRECTORY is asked before O_NOFOLLOW.
    let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let is_symlink = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
    Err(if is_symlink {
        Errno::LOOP
    } else {
        Errno::NOTDIR
    })
}

/// The path of an open file, by proc(5).
fn real_path(opened: impl AsFd) -> Result<PathBuf, Errno> {
    use std::os::fd::AsRawFd;
    use std::os::unix::ffi::OsStringExt;
    let link = format!("/proc/self/fd/{}", opened.as_fd().as_raw_fd());
    let target = rustix::fs::readlink(link, Vec::new())?;
    Ok(std::ffi::OsString::from_vec(target.into_bytes()).into())
}

/// Reads from `offset` until `buffer` is full or the file ends. Returns the bytes read.
///
/// # Errors
/// When the file system refuses, e.g. with EIO or ESTALE.
pub(super) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// What is asked of an open file while it is read. A test answers as one that is written anew
/// between two questions.
pub(super) trait Content {
    /// What the file system says of it now.
    fn stat(&self) -> io::Result<Stat>;
    /// As [`read_at`].
    fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl Content for File {
    fn stat(&self) -> io::Result<Stat> {
        Ok(Stat::of(self)?)
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        read_at(self, buffer, offset)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn strict() -> Guard {
        Guard::new(&[], &[])
    }

    /// `real/secret`, and a link to each of the two: `folder`, `file`.
    fn with_links() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("real")).unwrap();
        fs::write(at("real/secret"), "s").unwrap();
        symlink(at("real"), at("folder")).unwrap();
        symlink(at("real/secret"), at("file")).unwrap();
        folder
    }

    #[test]
    fn a_symlink_anywhere_in_the_path_is_refused() {
        let folder = with_links();
        let at = |name: &str| folder.path().join(name);
        assert!(strict().file(&at("real/secret")).is_ok());
        for path in ["folder/secret", "file"] {
            assert_eq!(strict().file(&at(path)).unwrap_err(), OpenError::Symlink);
        }
        assert_eq!(
            strict().folder(&at("folder")).unwrap_err(),
            OpenError::Symlink
        );
    }

    #[test]
    fn without_openat2_symlinks_are_refused_all_the_same() {
        let folder = with_links();
        let at = |name: &str| folder.path().join(name);
        let open = |name: &str, more| {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC | more;
            strict().open_by_parts(&at(name), flags).map(drop)
        };
        assert_eq!(open("real/secret", OFlags::NONBLOCK), Ok(()));
        assert_eq!(open("real", OFlags::DIRECTORY), Ok(()));
        for path in ["folder/secret", "file"] {
            assert_eq!(open(path, OFlags::NONBLOCK), Err(Errno::LOOP), "{path}");
        }
        assert_eq!(open("folder", OFlags::DIRECTORY), Err(Errno::LOOP));
        assert_eq!(
            open("real/../real/secret", OFlags::NONBLOCK),
            Err(Errno::LOOP)
        );
        assert_eq!(open("real/none", OFlags::NONBLOCK), Err(Errno::NOENT));
        assert_eq!(open("real/secret", OFlags::DIRECTORY), Err(Errno::NOTDIR));
    }

    #[test]
    fn symlinks_are_followed_into_allowed_directories_only() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for dir in ["logs", "allowed", "other"] {
            fs::create_dir(at(dir)).unwrap();
        }
        fs::write(at("allowed/a"), "a").unwrap();
        fs::write(at("other/b"), "b").unwrap();
        symlink(at("allowed/a"), at("logs/a")).unwrap();
        symlink("../other/b", at("logs/b")).unwrap();
        let guard = Guard::new(&[at("allowed")], &[]);
        assert!(guard.file(&at("logs/a")).is_ok());
        assert_eq!(
            guard.file(&at("logs/b")).unwrap_err(),
            OpenError::Outside(at("other/b"))
        );
    }

    #[test]
    fn a_fifo_does_not_block_and_only_regular_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(CWD, &fifo, kind, Mode::RUSR, 0).unwrap();
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for path in [
            fifo.as_path(),
            &socket,
            folder.path(),
            Path::new("/dev/null"),
        ] {
            assert_eq!(
                strict().file(path).unwrap_err(),
                OpenError::NotRegular,
                "{path:?}"
            );
        }
    }

    #[test]
    fn our_own_files_are_never_read() {
        let folder = tempfile::tempdir().unwrap();
        let spool = folder.path().join("spool");
        fs::create_dir_all(spool.join("gen-1")).unwrap();
        fs::write(spool.join("gen-1/db"), "x").unwrap();
        let guard = Guard::new(&[], std::slice::from_ref(&spool));
        assert_eq!(
            guard.file(&spool.join("gen-1/db")).unwrap_err(),
            OpenError::Own
        );
        assert_eq!(guard.folder(&spool).unwrap_err(), OpenError::Own);
    }

    #[test]
    fn what_is_not_there_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none");
        assert_eq!(strict().file(&path).unwrap_err(), OpenError::Gone);
    }
}
