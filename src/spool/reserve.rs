//! The reserve file: space that is given up so that a full disk can be drained.
//!
//! sled needs space to open. When there is none, this file is deleted first; it is made
//! again once there is room. It is never used to take more events.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

/// Measured: 1 MiB was not enough to open and drain a database on a full disk, 2 MiB was.
const SMALLEST: u64 = 2 * 1024 * 1024;
const LARGEST: u64 = 8 * 1024 * 1024;
/// One part in so many of `spool.max_bytes`.
const PART: u64 = 32;

/// The file `reserve` of the spool directory.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    bytes: u64,
}

impl Reserve {
    pub(super) fn new(dir: &Path, max_bytes: u64) -> Self {
        Self {
            path: dir.join("reserve"),
            bytes: (max_bytes / PART).clamp(SMALLEST, LARGEST),
        }
    }

    /// Bytes the file takes now.
    pub(super) fn kept_bytes(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |meta| meta.len())
    }

    /// Bytes the file takes when it is there.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes the file when it is missing.
    pub(super) fn keep(&self) -> io::Result<()> {
        if self.kept_bytes() == self.bytes {
            return Ok(());
        }
        let file = File::create(&self.path)?;
        let made = match fallocate(&file, FallocateFlags::empty(), 0, self.bytes) {
            // Not every file system can; each can be written to.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.fill(&file),
            other => other.map_err(Into::into),
        };
        if made.is_err() {
            self.release();
        }
        made
    }

    /// Writes the file full, durably: only then is the space really taken.
    fn fill(&self, mut file: &File) -> io::Result<()> {
        io::copy(&mut io::repeat(0).take(self.bytes), &mut file)?;
        file.sync_all()
    }

    /// Gives the space back to the file system.
    pub(super) fn release(&self) {
        if let Err(error) = fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot release the reserve");
        }
    }
}
