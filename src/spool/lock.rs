//! Keeps a second daemon out of the spool directory.
//!
//! Owns the file `LOCK` and nothing else. The kernel lets go of the lock when the process
//! ends, however it ends, so there is no stale lock to clear.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::error::{OpenError, io_at};

/// Longest text read back from `LOCK`: a process id has at most 10 digits.
const PID_TEXT: u64 = 16;

/// Held for as long as the spool is open.
#[derive(Debug)]
pub(super) struct DirLock(#[expect(dead_code, reason = "the lock lives as long as the file")] File);

impl DirLock {
    /// Takes the lock of `dir`, at once or not at all.
    pub(super) fn take(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join("LOCK");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io_at(&path))?;
        if let Err(errno) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            if errno != rustix::io::Errno::WOULDBLOCK {
                return Err(OpenError::Io {
                    path,
                    source: errno.into(),
                });
            }
            let mut text = String::new();
            let read = Read::by_ref(&mut file)
                .take(PID_TEXT)
                .read_to_string(&mut text);
            let pid = read.ok().and_then(|_| text.trim().parse().ok());
            return Err(OpenError::Locked {
                dir: dir.to_owned(),
                pid,
            });
        }
        file.set_len(0).map_err(io_at(&path))?;
        // Only a hint for the message above; on a full disk it may fail.
        let _ = write!(file, "{}", std::process::id());
        Ok(Self(file))
    }
}
