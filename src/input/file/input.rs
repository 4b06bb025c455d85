//! One `[[input]]` of type "file" while it runs: its settings made ready, its open files.
//!
//! Opens files within its limit of handles. Does not read, and does not look for files.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::files::Files;
use super::follow::{Follow, Presence};
use super::framing::{Framing, RunLimits};
use super::handles::Handles;
use super::identity::FileId;
use super::open::{Guard, OpenError};
use super::packed::is_packed;
use super::stats::FileStats;
use super::walk::Wanted;
use crate::config::FileConfig;
use crate::event::{FileSource, Source};

/// A file input, ready to be run.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) index: usize,
    pub(super) name: Arc<str>,
    pub(super) config: FileConfig,
    pub(super) framing: Framing,
    pub(super) guard: Guard,
    pub(super) handles: Handles,
    pub(super) stats: Arc<FileStats>,
    /// [`super::checkpoint::pattern_id`] of the patterns that were looked for before.
    pub(super) known_patterns: Vec<u64>,
    /// When that was done for the first time, ns since the Unix epoch; 0 = not yet.
    pub(super) since: u64,
    /// Key of the checkpoint that holds both.
    pub(super) key: u64,
}

impl Wanted for Input {
    fn may_hold(&self, folder: &Path) -> bool {
        self.config.patterns.may_hold(folder)
    }

    fn is_meant(&self, file: &Path) -> bool {
        self.config.patterns.captures(file).is_some()
    }
}

impl Input {
    pub(super) fn new(
        index: usize,
        name: Arc<str>,
        config: FileConfig,
        limits: RunLimits,
        own: &[std::path::PathBuf],
    ) -> Self {
        Self {
            index,
            name,
            framing: Framing::new(&config, limits),
            guard: Guard::new(&config.follow_symlinks_into, own),
            handles: Handles::default(),
            stats: Arc::default(),
            known_patterns: Vec::new(),
            since: 0,
            key: fastrand::u64(..),
            config,
        }
    }

    /// What is recorded with the events of a file found at `path`.
    pub(super) fn source(&self, path: &Path, id: FileId) -> Arc<Source> {
        let captures = self.config.patterns.captures(path).unwrap_or_default();
        let captures = captures
            .into_iter()
            .map(|(name, value)| (name, value.into_boxed_str()))
            .collect();
        Arc::new(Source {
            input: self.name.clone(),
            peer: None,
            file: Some(Arc::new(FileSource {
                inode: id.inode,
                device: id.device,
                path: path.into(),
                captures,
            })),
        })
    }

    /// Opens the file where it is now, if it is still the one that is followed.
    ///
    /// # Errors
    /// Why not; [`OpenError::Gone`] also when another file is there.
    pub(super) fn open(&mut self, follow: &mut Follow) -> Result<(), OpenError> {
        let (file, stat) = self.guard.file(&follow.at)?;
        if stat.id != follow.id {
            return Err(OpenError::Gone);
        }
        follow.is_packed = is_packed(&file);
        self.keep(follow, file);
        Ok(())
    }

    /// Holds a file open.
    pub(super) fn keep(&mut self, follow: &mut Follow, file: File) {
        follow.handle = Some(file);
        self.handles.used(follow.key);
        self.stats.open.store(self.handles.len() as u64, Relaxed);
    }

    /// Closes a file.
    pub(super) fn close(&mut self, follow: &mut Follow) {
        follow.handle = None;
        self.handles.closed(follow.key);
        self.stats.open.store(self.handles.len() as u64, Relaxed);
    }

    /// Makes room for one more open file. False when all are needed.
    pub(super) fn make_room(&mut self, files: &mut Files) -> bool {
        if self.handles.len() < self.config.max_open_files as usize {
            return true;
        }
        let can_close = |follow: &Follow, idle: bool| {
            let is_idle = follow.unread() == 0;
            follow.presence != Presence::Deleted && (is_idle || !idle)
        };
        for idle in [true, false] {
            let may_close =
                |key: &u64| files.get(*key).is_none_or(|follow| can_close(follow, idle));
            let victim = self.handles.oldest_first().find(may_close);
            if let Some(key) = victim {
                match files.get_mut(key) {
                    Some(follow) => self.close(follow),
                    None => self.handles.closed(key),
                }
                return true;
            }
        }
        false
    }
}
