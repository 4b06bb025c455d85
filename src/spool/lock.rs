//! Keeps a second daemon out of the spool directory.
//!
//! Owns the file `LOCK` and nothing else. The kernel lets go of the lock when the process
//! ends, however it ends, so there is no stale lock to clear.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::error::{OpenError, io_at};

/// Longest text read back from `LOCK`: a process id has at most 10 digits.
const PID_TEXT: usize = 16;
/// How long a child may take from fork to exec, on a busy host.
const CHILD_PATIENCE: Duration = Duration::from_secs(5);
/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(10);

/// Held for as long as the spool is open.
#[derive(Debug)]
pub(super) struct DirLock {
    /// The lock lives as long as it is open.
    _file: File,
}

impl DirLock {
    /// Takes the lock of `dir`. One that another process holds is not waited for; one of this
    /// process is for a moment, because a child that it starts holds a copy until it runs its
    /// own program.
    pub(super) fn take(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join("LOCK");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io_at(&path))?;
        let deadline = Instant::now() + CHILD_PATIENCE;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK) => {}
                Err(errno) => {
                    return Err(OpenError::Io {
                        path,
                        source: errno.into(),
                    });
                }
            }
            let pid = holder(&file);
            if pid != Some(std::process::id()) || Instant::now() >= deadline {
                return Err(OpenError::Locked {
                    dir: dir.to_owned(),
                    pid,
                });
            }
            std::thread::park_timeout(PAUSE);
        }
        file.set_len(0).map_err(io_at(&path))?;
        // Only a hint; on a full disk it may fail.
        let _ = write!(file, "{}", std::process::id());
        Ok(Self { _file: file })
    }
}

/// The process that says it has the lock.
fn holder(file: &File) -> Option<u32> {
    let mut text = [0; PID_TEXT];
    let read = file.read_at(&mut text, 0).ok()?;
    let text = std::str::from_utf8(text.get(..read)?).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_a_child_is_about_to_let_go_of_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let held = DirLock::take(dir.path()).unwrap();
        // What a child has between fork and exec.
        let copy = held._file.try_clone().unwrap();
        drop(held);
        let child = std::thread::spawn(move || {
            std::thread::park_timeout(Duration::from_millis(300));
            drop(copy);
        });
        drop(DirLock::take(dir.path()).unwrap());
        child.join().unwrap();
    }

    #[test]
    fn the_lock_of_another_process_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let held = DirLock::take(dir.path()).unwrap();
        std::fs::write(dir.path().join("LOCK"), "1").unwrap();
        let began = Instant::now();
        let refused = DirLock::take(dir.path()).expect_err("it is held");
        assert!(refused.to_string().contains("process 1"), "{refused}");
        assert!(began.elapsed() < CHILD_PATIENCE);
        drop(held);
    }
}
