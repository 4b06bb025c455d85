//! One look around for one input: which followed file is where now. What is new is in
//! `arrival`.
//!
//! What is there is the truth; notifications only say when to look. Renamed files are known
//! by their identity and sought among their siblings. Reads nothing but first bytes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tracing::{debug, warn};

use super::checkpoint::{Known, fits, pattern_id};
use super::files::Files;
use super::follow::Presence;
use super::identity::{FileId, Stat};
use super::input::Input;
use super::wake::folder_of;
use super::walk::{Found, Looked, siblings};
use crate::event::Checkpoint;

/// A file that is nowhere to be found is remembered for this long: it may come back, with
/// its directory or from a backup.
const MISSING_KEPT: Duration = Duration::from_secs(60 * 60);

/// What a look leads to.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Files whose checkpoint has changed, or that are to be forgotten.
    pub(super) dirty: BTreeSet<u64>,
    /// That the patterns were looked for, when that is new.
    pub(super) patterns: Option<Checkpoint>,
    /// Files with something to read.
    pub(super) ready: Vec<u64>,
    /// Directories to be watched.
    pub(super) folders: BTreeSet<PathBuf>,
}

/// One look, while it lasts.
pub(super) struct Scan<'a> {
    pub(super) input: &'a mut Input,
    pub(super) files: &'a mut Files,
    pub(super) now: Instant,
    /// The first look since the daemon started.
    pub(super) is_first: bool,
    pub(super) looked: Looked,
    /// Directories searched for renamed files.
    searched: HashMap<PathBuf, BTreeMap<FileId, Found>>,
    pub(super) out: Outcome,
}

impl<'a> Scan<'a> {
    /// Looks around.
    pub(super) fn run(
        input: &'a mut Input,
        files: &'a mut Files,
        now: Instant,
        is_first: bool,
    ) -> Outcome {
        let mut scan = Self {
            input,
            files,
            now,
            is_first,
            looked: Looked::default(),
            searched: HashMap::new(),
            out: Outcome::default(),
        };
        scan.look();
        scan.place();
        scan.report_refused();
        scan.out
    }

    fn look(&mut self) {
        let patterns = self.input.config.patterns.clone();
        let roots: BTreeSet<&Path> = patterns.included().iter().map(|p| p.root()).collect();
        for root in roots {
            self.looked.below(root, &*self.input, &self.input.guard);
        }
        if self.looked.is_cut_short {
            warn!(input = %self.input.name, "too many names below the patterns' directories; \
                some files are not found");
        }
        self.out.folders = std::mem::take(&mut self.looked.folders);
    }

    /// Counts what is meant and may not be read; says so when the number has changed.
    fn report_refused(&self) {
        let refused = self.looked.refused.len() as u64;
        if self.input.stats.refused.swap(refused, Relaxed) != refused {
            for (path, error) in &self.looked.refused {
                warn!(input = %self.input.name, path = %path.display(), %error, "not read");
            }
        }
    }

    /// Brings what is followed and what was found together.
    fn place(&mut self) {
        if self.is_first {
            self.adopt_moved_devices();
        }
        let mut found = std::mem::take(&mut self.looked.files);
        for key in self.files.keys_of(self.input.index) {
            let id = self.files.get(key).map(|follow| follow.id);
            match id.and_then(|id| found.remove(&id)) {
                Some(found) => self.listed(key, &found),
                None => self.unlisted(key),
            }
        }
        let mut new: Vec<Found> = found.into_values().collect();
        new.sort_by_key(|found| (found.stat.id.born, found.stat.modified));
        for found in new {
            self.appeared(&found);
        }
        self.remember_patterns();
    }

    /// Device numbers of some file systems change with each boot: there the inode and the
    /// birth time say which file it is.
    fn adopt_moved_devices(&mut self) {
        let here: HashMap<(u64, u64), FileId> = self
            .looked
            .files
            .keys()
            .filter(|id| id.born != 0)
            .map(|id| ((id.inode, id.born), *id))
            .collect();
        for key in self.files.keys_of(self.input.index) {
            let moved = self.files.get(key).and_then(|follow| {
                let id = follow.id;
                let new = here.get(&(id.inode, id.born))?;
                (*new != id && !self.looked.files.contains_key(&id)).then_some(*new)
            });
            if let Some(id) = moved
                && let Some(mut follow) = self.files.remove(key)
            {
                follow.id = id;
                self.files.insert(follow);
            }
        }
    }

    /// A followed file was found by the patterns.
    fn listed(&mut self, key: u64, found: &Found) {
        let Some(follow) = self.files.get_mut(key) else {
            return;
        };
        follow.presence = Presence::Listed;
        follow.at.clone_from(&found.path);
        if follow.look(&found.stat, self.now) {
            self.out.ready.push(key);
        }
        if follow.path != found.path && fits(&found.path) {
            debug!(from = %follow.path.display(), to = %found.path.display(), "renamed");
            follow.path.clone_from(&found.path);
            follow.source = self.input.source(&found.path, follow.id);
            self.out.dirty.insert(follow.key);
            let id = follow.id;
            self.files.name(key, self.input.index, &found.path, id);
        }
    }

    /// A followed file is not where the patterns look.
    fn unlisted(&mut self, key: u64) {
        let Some(follow) = self.files.get(key) else {
            return;
        };
        if self.looked.is_unknown(&follow.at) {
            return;
        }
        let (id, path, at) = (follow.id, follow.path.clone(), follow.at.clone());
        let open = follow.handle.as_ref().and_then(|file| Stat::of(file).ok());
        if let Some(stat) = open.filter(|stat| stat.links == 0) {
            self.left(key, Presence::Deleted, None, &stat);
            return;
        }
        let found = self.find(id, &[at, path]);
        match (open, found) {
            (_, Some(found)) => {
                self.left(key, Presence::Moved, Some(found.path), &found.stat);
            }
            (Some(stat), None) => self.left(key, Presence::Moved, None, &stat),
            (None, None) => self.missing(key),
        }
    }

    /// A file is known to be elsewhere, or held open without a name.
    fn left(&mut self, key: u64, presence: Presence, at: Option<PathBuf>, stat: &Stat) {
        let Some(follow) = self.files.get_mut(key) else {
            return;
        };
        if follow.presence != presence {
            debug!(path = %follow.path.display(), ?presence, unread = follow.unread(),
                "no longer found by the patterns; read to its end");
        }
        follow.presence = presence;
        if let Some(at) = at {
            follow.at = at;
        }
        if follow.look(stat, self.now) {
            self.out.ready.push(key);
        }
    }

    /// A file that is not open is nowhere.
    fn missing(&mut self, key: u64) {
        let Some(follow) = self.files.get_mut(key) else {
            return;
        };
        let since = match follow.presence {
            Presence::Missing(since) => since,
            _ => {
                let unread = follow.unread();
                if unread > 0 {
                    self.input.stats.possible_loss(unread);
                    warn!(path = %follow.path.display(), unread,
                        "removed before it was read to its end");
                }
                follow.presence = Presence::Missing(self.now);
                self.now
            }
        };
        if self.now.saturating_duration_since(since) >= MISSING_KEPT {
            self.out.dirty.insert(key);
            self.files.remove(key);
        }
    }

    /// Where the file with this identity is: at one of the paths, or beside them.
    fn find(&mut self, id: FileId, paths: &[PathBuf]) -> Option<Found> {
        for path in paths {
            if let Ok(stat) = Stat::at(path)
                && stat.id == id
            {
                let path = path.clone();
                return Some(Found { path, stat });
            }
        }
        for path in paths {
            let found = self.siblings(&folder_of(path)).get(&id);
            if let Some(found) = found {
                return Some(found.clone());
            }
        }
        None
    }

    pub(super) fn siblings(&mut self, folder: &Path) -> &BTreeMap<FileId, Found> {
        let guard = &self.input.guard;
        self.searched
            .entry(folder.to_owned())
            .or_insert_with(|| siblings(folder, guard))
    }

    /// From now on, what these patterns find is new.
    fn remember_patterns(&mut self) {
        let patterns = self.input.config.patterns.included();
        let ids: Vec<u64> = patterns.iter().map(|p| pattern_id(p.as_str())).collect();
        if ids == self.input.known_patterns || self.looked.is_cut_short {
            return;
        }
        if self.input.since == 0 {
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            self.input.since = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        }
        let known = Known::Input {
            name: self.input.name.to_string(),
            since: self.input.since,
            patterns: ids.clone(),
        };
        self.input.known_patterns = ids;
        self.out.patterns = Some(Checkpoint {
            key: self.input.key,
            value: Some(known.encode().into()),
        });
    }
}
