//! The table of followed files, found by key, by identity and by path.
//!
//! Bounded by [`FILES_MAX`]. Knows no directory and reads no file.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::follow::Follow;
use super::identity::FileId;

/// Most files that are followed at once, by all inputs; each has a checkpoint in the spool.
pub(super) const FILES_MAX: usize = 60_000;

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Files {
    by_key: BTreeMap<u64, Follow>,
    by_id: HashMap<(usize, FileId), u64>,
    /// The youngest file that each input found at a path.
    by_path: HashMap<(usize, PathBuf), u64>,
}

impl Files {
    /// Whether no further file can be followed.
    pub(super) fn is_full(&self) -> bool {
        self.by_key.len() >= FILES_MAX
    }

    /// Adds a file, or takes it back after [`Files::remove`].
    pub(super) fn insert(&mut self, follow: Follow) {
        self.by_id.insert((follow.input, follow.id), follow.key);
        self.name(follow.key, follow.input, &follow.path, follow.id);
        self.by_key.insert(follow.key, follow);
    }

    /// Notes under which path a file was found last.
    pub(super) fn name(&mut self, key: u64, input: usize, path: &Path, id: FileId) {
        let place = (input, path.to_owned());
        let older = self
            .by_path
            .get(&place)
            .and_then(|key| self.by_key.get(key));
        if older.is_none_or(|older| older.id.born <= id.born) {
            self.by_path.insert(place, key);
        }
    }

    pub(super) fn remove(&mut self, key: u64) -> Option<Follow> {
        let follow = self.by_key.remove(&key)?;
        let id = (follow.input, follow.id);
        if self.by_id.get(&id) == Some(&key) {
            self.by_id.remove(&id);
        }
        let path = (follow.input, follow.path.clone());
        if self.by_path.get(&path) == Some(&key) {
            self.by_path.remove(&path);
        }
        Some(follow)
    }

    pub(super) fn get(&self, key: u64) -> Option<&Follow> {
        self.by_key.get(&key)
    }

    pub(super) fn get_mut(&mut self, key: u64) -> Option<&mut Follow> {
        self.by_key.get_mut(&key)
    }

    /// The file with this identity.
    pub(super) fn with_id(&self, input: usize, id: FileId) -> Option<u64> {
        self.by_id.get(&(input, id)).copied()
    }

    /// The youngest file known under this path.
    pub(super) fn with_path(&self, input: usize, path: &Path) -> Option<u64> {
        self.by_path.get(&(input, path.to_owned())).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Follow> {
        self.by_key.values()
    }

    /// Keys of all files of an input.
    pub(super) fn keys_of(&self, input: usize) -> Vec<u64> {
        let of_input = self.by_key.values().filter(|follow| follow.input == input);
        of_input.map(|follow| follow.key).collect()
    }
}
