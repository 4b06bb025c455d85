//! Which file is which: device, inode and birth time by the file system, and prints of the
//! content, because an inode is used again and a file can be written anew in place.
//!
//! Opens and decides nothing.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Statx, StatxFlags};
use rustix::io::Errno;

/// Most first bytes of a file that its print covers; a shorter file's print grows with it.
pub(super) const HEAD_BYTES: usize = 1024;

/// Most bytes before the place read up to that are compared before reading on.
pub(super) const MARK_BYTES: usize = 256;

/// A file as the file system knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct FileId {
    /// `st_dev` as major and minor numbers in one; not the same after each reboot for btrfs,
    /// overlay and network file systems.
    pub(super) device: u64,
    /// `st_ino`
    pub(super) inode: u64,
    /// Birth time, ns since the Unix epoch (statx(2)); 0 where the file system has none.
    pub(super) born: u64,
}

/// What the file system says of a file at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) id: FileId,
    pub(super) size: u64,
    /// Time of the last change of content, compared for equality only: clocks jump.
    pub(super) modified: (i64, u32),
    /// Names that the file has; 0 = deleted and held open.
    pub(super) links: u32,
    /// Bytes it takes on disk.
    pub(super) disk_bytes: u64,
    pub(super) is_regular: bool,
    pub(super) is_folder: bool,
}

const WANTED: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME);

impl Stat {
    /// Of an open file.
    pub(super) fn of(file: impl AsFd) -> Result<Self, Errno> {
        rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, WANTED).map(Self::from)
    }

    /// Of what is at `path`; a symlink is not followed.
    pub(super) fn at(path: &Path) -> Result<Self, Errno> {
        rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, WANTED).map(Self::from)
    }

    /// Of what is called `name` in the open folder; a symlink is followed on wish.
    pub(super) fn within(
        folder: impl AsFd,
        name: &std::ffi::CStr,
        follow: bool,
    ) -> Result<Self, Errno> {
        let flags = if follow {
            AtFlags::empty()
        } else {
            AtFlags::SYMLINK_NOFOLLOW
        };
        rustix::fs::statx(folder, name, flags, WANTED).map(Self::from)
    }
}

impl From<Statx> for Stat {
    fn from(stat: Statx) -> Self {
        let has_birth = stat.stx_mask & StatxFlags::BTIME.bits() != 0;
        let birth = stat.stx_btime;
        let nanos = u64::try_from(birth.tv_sec)
            .unwrap_or(0)
            .saturating_mul(1_000_000_000)
            .saturating_add(u64::from(birth.tv_nsec));
        let kind = FileType::from_raw_mode(u32::from(stat.stx_mode));
        Self {
            id: FileId {
                device: u64::from(stat.stx_dev_major) << 32 | u64::from(stat.stx_dev_minor),
                inode: stat.stx_ino,
                born: if has_birth { nanos } else { 0 },
            },
            size: stat.stx_size,
            modified: (stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec),
            links: stat.stx_nlink,
            disk_bytes: stat.stx_blocks.saturating_mul(512),
            is_regular: kind == FileType::RegularFile,
            is_folder: kind == FileType::Directory,
        }
    }
}

/// Length and hash of a few bytes of a file.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Print {
    /// Bytes covered, at most [`HEAD_BYTES`].
    pub(super) len: u16,
    /// FNV-1a of them, 64 bits (draft-eastlake-fnv).
    pub(super) hash: u64,
}

impl Print {
    /// Of the first bytes of a file, as many as a print covers.
    pub(super) fn of_head(bytes: &[u8]) -> Self {
        Self::of(bytes.get(..HEAD_BYTES).unwrap_or(bytes))
    }

    /// Of the last bytes before the place read up to, as many as a mark covers.
    pub(super) fn of_mark(bytes: &[u8]) -> Self {
        let from = bytes.len().saturating_sub(MARK_BYTES);
        Self::of(bytes.get(from..).unwrap_or_default())
    }

    fn of(bytes: &[u8]) -> Self {
        let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self {
            len: bytes.len() as u16,
            hash,
        }
    }

    /// Whether `bytes` begin with what was printed. Nothing is the beginning of anything.
    pub(super) fn begins(&self, bytes: &[u8]) -> bool {
        let covered = bytes.get(..usize::from(self.len));
        self.len == 0 || covered.is_some_and(|covered| Self::of(covered) == *self)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_keeps_its_identity_when_it_is_renamed_and_grows() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("a"), folder.path().join("b"));
        fs::write(&old, "one\n").unwrap();
        let before = Stat::at(&old).unwrap();
        fs::rename(&old, &new).unwrap();
        fs::write(&new, "one\ntwo\n").unwrap();
        let after = Stat::at(&new).unwrap();
        assert_eq!(before.id, after.id);
        assert_eq!((after.size, after.links, after.is_regular), (8, 1, true));
    }

    #[test]
    fn a_new_file_is_another_also_with_the_inode_of_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "one\n").unwrap();
        let before = Stat::at(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "one\n").unwrap();
        let after = Stat::at(&path).unwrap();
        assert_ne!(
            before.id, after.id,
            "the birth time differs, if not the inode"
        );
    }

    #[test]
    fn a_print_knows_its_beginning_and_nothing_else() {
        let print = Print::of_head(b"hello\n");
        assert!(print.begins(b"hello\nworld\n"));
        assert!(!print.begins(b"hellO\nworld\n"));
        assert!(!print.begins(b"hell"));
        assert!(Print::default().begins(b"anything") && Print::of_head(b"").begins(b""));
        let long = vec![b'x'; 5000];
        assert_eq!(usize::from(Print::of_head(&long).len), HEAD_BYTES);
        assert_eq!(usize::from(Print::of_mark(&long).len), MARK_BYTES);
        assert_eq!(Print::of_mark(b"abc"), Print::of_head(b"abc"));
    }
}
