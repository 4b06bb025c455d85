//! Told by inotify(7) when something may have changed in a directory, to look sooner.
//!
//! Only a hint: network file systems and some bind mounts say nothing, and a full queue
//! loses events. What is there is found by looking; see `scan`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, Event, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Bytes of one read of the queue; the longest event takes 272.
const READ_BYTES: usize = 16 << 10;

/// Reads of the queue in one go; the rest waits, so that a storm of events stays cheap.
const READS_AT_ONCE: usize = 8;

/// Most directories that are watched; the others are found by looking.
const WATCHES_MAX: usize = 8192;

/// What has changed since the last look.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Files that were written to.
    pub(super) written: BTreeSet<PathBuf>,
    /// Names came, went, or events were lost: the directories have to be looked through.
    pub(super) names: bool,
}

/// A set of watched directories.
#[derive(Debug)]
pub(super) struct Wake {
    queue: AsyncFd<OwnedFd>,
    folders: BTreeMap<i32, PathBuf>,
    watched: BTreeMap<PathBuf, i32>,
}

impl Wake {
    /// None watched yet.
    ///
    /// # Errors
    /// When the user has too many inotify instances (`fs.inotify.max_user_instances`).
    pub(super) fn new() -> io::Result<Self> {
        let queue = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        #[expect(
            deprecated,
            reason = "unsound only for types whose descriptor may change"
        )]
        let queue = AsyncFd::with_interest(queue, Interest::READABLE)?;
        Ok(Self {
            queue,
            folders: BTreeMap::new(),
            watched: BTreeMap::new(),
        })
    }

    /// Watches exactly these directories from now on. Those that cannot be watched are
    /// left to looking.
    pub(super) fn watch(&mut self, folders: &BTreeSet<PathBuf>) {
        let gone: Vec<PathBuf> = self
            .watched
            .keys()
            .filter(|folder| !folders.contains(*folder))
            .cloned()
            .collect();
        for folder in gone {
            if let Some(wd) = self.watched.remove(&folder) {
                self.folders.remove(&wd);
                // The kernel removes the watch of a deleted directory itself.
                let _ = inotify::remove_watch(&self.queue, wd);
            }
        }
        for folder in folders {
            if !self.watched.contains_key(folder) && self.watched.len() < WATCHES_MAX {
                self.add(folder);
            }
        }
    }

    fn add(&mut self, folder: &Path) {
        let flags = WatchFlags::MODIFY
            | WatchFlags::CREATE
            | WatchFlags::MOVE
            | WatchFlags::DELETE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ATTRIB
            | WatchFlags::ONLYDIR
            | WatchFlags::EXCL_UNLINK;
        if let Ok(wd) = inotify::add_watch(&self.queue, folder, flags) {
            self.folders.insert(wd, folder.to_owned());
            self.watched.insert(folder.to_owned(), wd);
        }
    }

    /// Waits until there is something to hear.
    pub(super) async fn ready(&self) {
        if self.queue.readable().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Takes what is there, without waiting.
    pub(super) fn take(&mut self) -> Changes {
        let mut changes = Changes::default();
        let mut ended = Vec::new();
        let mut buffer = [MaybeUninit::uninit(); READ_BYTES];
        for _ in 0..READS_AT_ONCE {
            let read = self.queue.try_io(Interest::READABLE, |queue| {
                read(queue, &mut buffer, |event| {
                    if ends_watch(event.events()) {
                        ended.push(event.wd());
                    }
                    note(event, self.folders.get(&event.wd()), &mut changes);
                })
            });
            if read.is_err() {
                break;
            }
        }
        for wd in ended {
            if let Some(folder) = self.folders.remove(&wd) {
                self.watched.remove(&folder);
                // Gone by itself when the directory is deleted; not when it is renamed.
                let _ = inotify::remove_watch(&self.queue, wd);
            }
        }
        changes
    }
}

/// Reads the queue once.
fn read(
    queue: &OwnedFd,
    buffer: &mut [MaybeUninit<u8>],
    mut each: impl FnMut(&Event<'_>),
) -> io::Result<()> {
    let mut reader = Reader::new(queue, buffer);
    loop {
        match reader.next() {
            Ok(event) => each(&event),
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        if reader.is_buffer_empty() {
            return Ok(());
        }
    }
}

/// Whether the watched directory is no longer the one at its path.
fn ends_watch(flags: ReadFlags) -> bool {
    flags.intersects(ReadFlags::IGNORED | ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF)
}

fn note(event: &Event<'_>, folder: Option<&PathBuf>, changes: &mut Changes) {
    match (folder, event.file_name()) {
        (Some(folder), Some(name)) if event.events() == ReadFlags::MODIFY => {
            let name = OsStr::from_bytes(name.to_bytes());
            changes.written.insert(folder.join(name));
        }
        // Of a watch that has ended: nothing to look for.
        (None, _) if !event.events().contains(ReadFlags::QUEUE_OVERFLOW) => {}
        _ => changes.names = true,
    }
}

/// The directory that a file is in.
pub(super) fn folder_of(path: &Path) -> PathBuf {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    folder.map_or_else(|| PathBuf::from("."), Path::to_owned)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::time::Duration;

    use super::*;

    async fn heard(wake: &mut Wake, what: impl Fn(&Changes) -> bool) {
        let within = tokio::time::timeout(Duration::from_secs(10), async {
            loop {
                wake.ready().await;
                if what(&wake.take()) {
                    return;
                }
            }
        });
        within.await.unwrap();
    }

    #[tokio::test]
    async fn writes_are_told_by_file_and_all_else_by_the_word_that_names_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let mut wake = Wake::new().unwrap();
        wake.watch(&BTreeSet::from([folder.path().to_owned()]));
        assert_eq!(wake.take(), Changes::default());
        let mut file = fs::File::create(&path).unwrap();
        heard(&mut wake, |changes| changes.names).await;
        file.write_all(b"x").unwrap();
        heard(&mut wake, |changes| changes.written.contains(&path)).await;
        fs::rename(&path, folder.path().join("b")).unwrap();
        heard(&mut wake, |changes| changes.names).await;
    }

    #[tokio::test]
    async fn a_directory_that_was_moved_away_is_watched_anew() {
        let folder = tempfile::tempdir().unwrap();
        let logs = folder.path().join("logs");
        let watched = BTreeSet::from([logs.clone()]);
        fs::create_dir(&logs).unwrap();
        let mut wake = Wake::new().unwrap();
        wake.watch(&watched);
        fs::rename(&logs, folder.path().join("old")).unwrap();
        heard(&mut wake, |changes| changes.names).await;
        fs::create_dir(&logs).unwrap();
        wake.watch(&watched);
        fs::write(logs.join("a"), "x").unwrap();
        heard(&mut wake, |changes| changes.names).await;
    }

    #[tokio::test]
    async fn lost_events_are_told_as_changed_names() {
        let folder = tempfile::tempdir().unwrap();
        let mut wake = Wake::new().unwrap();
        wake.watch(&BTreeSet::from([folder.path().to_owned()]));
        let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
        let limit: usize = limit.trim().parse().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        fs::write(&a, "").unwrap();
        fs::write(&b, "").unwrap();
        let mut files = [a, b].map(|path| fs::File::options().append(true).open(path).unwrap());
        for at in 0..limit + 10 {
            files[at % 2].write_all(b"x").unwrap();
        }
        heard(&mut wake, |changes| {
            changes.written.is_empty() && changes.names
        })
        .await;
    }
}
