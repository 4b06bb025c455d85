//! Keeps `quarantine/` within its share of the spool: measures it, and deletes the oldest
//! things in it. Puts nothing there.

use std::cmp::Reverse;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// It may take one part in so many of `spool.max_bytes`, of which it is a part.
const PART: u64 = 4;
/// Most things in it: bounds the time to measure them.
const MOST_THINGS: usize = 256;

/// What `quarantine/` takes, and may take.
#[derive(Debug)]
pub(in crate::spool) struct Limit {
    room: PathBuf,
    most: u64,
    used: AtomicU64,
}

/// One file or directory in quarantine.
#[derive(Debug)]
struct Thing {
    path: PathBuf,
    bytes: u64,
    /// When it was put there, seconds and nanoseconds: renaming sets a file's change time.
    since: (i64, i64),
}

impl Limit {
    pub(in crate::spool) fn new(spool: &Path, max_bytes: u64) -> Self {
        Self {
            room: super::room(spool),
            most: max_bytes / PART,
            used: AtomicU64::new(0),
        }
    }

    /// Bytes in quarantine when it was measured last.
    pub(in crate::spool) fn used_bytes(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Measures, and deletes the oldest things while there is too much. The newest stays
    /// whatever its size: somebody may want to know what happened last.
    ///
    /// # Errors
    /// When the disk refuses; what was measured before stays the measure.
    pub(in crate::spool) fn keep(&self) -> io::Result<()> {
        let mut things = self.things()?;
        things.sort_by_key(|thing| Reverse(thing.since));
        let mut used = 0;
        for (place, thing) in things.into_iter().enumerate() {
            let is_too_much = place >= MOST_THINGS || used + thing.bytes > self.most;
            if place > 0 && is_too_much {
                self.delete(&thing)?;
            } else {
                used += thing.bytes;
            }
        }
        self.used.store(used, Ordering::Relaxed);
        Ok(())
    }

    fn things(&self) -> io::Result<Vec<Thing>> {
        let entries = match fs::read_dir(&self.room) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let thing = |entry: io::Result<fs::DirEntry>| -> io::Result<Thing> {
            let path = entry?.path();
            let meta = fs::symlink_metadata(&path)?;
            Ok(Thing {
                bytes: bytes_of(&path, &meta)?,
                since: (meta.ctime(), meta.ctime_nsec()),
                path,
            })
        };
        let mut things = Vec::new();
        for entry in entries {
            match thing(entry) {
                Ok(thing) => things.push(thing),
                // Somebody has deleted it meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(things)
    }

    fn delete(&self, thing: &Thing) -> io::Result<()> {
        if fs::symlink_metadata(&thing.path)?.is_dir() {
            fs::remove_dir_all(&thing.path)?;
        } else {
            fs::remove_file(&thing.path)?;
        }
        tracing::warn!(
            path = %thing.path.display(),
            bytes = thing.bytes,
            "quarantine/ is over a quarter of spool.max_bytes; the oldest in it is deleted"
        );
        File::open(&self.room)?.sync_all()
    }
}

/// Bytes of a file, or of everything in a directory; links are not followed.
fn bytes_of(path: &Path, meta: &fs::Metadata) -> io::Result<u64> {
    if !meta.is_dir() {
        return Ok(meta.len());
    }
    let mut sum = 0;
    for entry in fs::read_dir(path)? {
        let inner = entry?.path();
        sum += bytes_of(&inner, &fs::symlink_metadata(&inner)?)?;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::quarantine::set_aside;

    /// A generation's directory with so many bytes, put into quarantine; where it is now.
    fn damaged(spool: &Path, name: &str, bytes: usize) -> PathBuf {
        let dir = spool.join(name);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("db"), vec![7; bytes]).unwrap();
        set_aside(spool, &dir).unwrap().unwrap()
    }

    #[test]
    fn the_oldest_goes_when_quarantine_is_over_its_share() {
        let spool = tempfile::tempdir().unwrap();
        let limit = Limit::new(spool.path(), 4 * 1000);
        limit.keep().unwrap();
        assert_eq!(limit.used_bytes(), 0, "there is no quarantine yet");
        let first = damaged(spool.path(), "gen-9", 500);
        let second = damaged(spool.path(), "gen-1", 400);
        limit.keep().unwrap();
        assert_eq!(limit.used_bytes(), 900);
        let third = damaged(spool.path(), "gen-5", 300);
        limit.keep().unwrap();
        let there = [first, second, third].map(|place| place.exists());
        assert_eq!(there, [false, true, true]);
        assert_eq!(limit.used_bytes(), 700);
    }

    #[test]
    fn the_newest_stays_whatever_its_size() {
        let spool = tempfile::tempdir().unwrap();
        let limit = Limit::new(spool.path(), 4 * 1000);
        let small = damaged(spool.path(), "gen-1", 10);
        let large = damaged(spool.path(), "gen-2", 5000);
        limit.keep().unwrap();
        assert!(!small.exists() && large.exists());
        assert_eq!(limit.used_bytes(), 5000);
        fs::remove_dir_all(&large).unwrap();
        limit.keep().unwrap();
        assert_eq!(limit.used_bytes(), 0, "somebody has deleted it");
    }

    #[test]
    fn many_small_things_do_not_pile_up() {
        let spool = tempfile::tempdir().unwrap();
        let limit = Limit::new(spool.path(), 1 << 30);
        for number in 0..=MOST_THINGS {
            damaged(spool.path(), &format!("gen-{number}"), 1);
        }
        limit.keep().unwrap();
        assert_eq!(limit.used_bytes(), MOST_THINGS as u64);
    }
}
