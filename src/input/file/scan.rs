//! One look around for one input: which followed file is where now, and which are new.
//!
//! What is there is the truth; notifications only say when to look. Renamed files are known
//! by their identity and sought among their siblings. Reads nothing but first bytes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tracing::{debug, info, warn};

use super::checkpoint::{Known, PATH_BYTES_MAX, fits, pattern_id};
use super::copies::{Likeness, likeness, original_names};
use super::files::{FILES_MAX, Files};
use super::follow::{Follow, Presence};
use super::identity::{FileId, HEAD_BYTES, Print, Stat};
use super::input::Input;
use super::open::{OpenError, read_at};
use super::packed::is_packed;
use super::start::end_of;
use super::wake::folder_of;
use super::walk::{Found, Looked, siblings};
use crate::config::StartAt;
use crate::event::Checkpoint;

/// A file that is nowhere to be found is remembered for this long: it may come back, with
/// its directory or from a backup.
const MISSING_KEPT: Duration = Duration::from_secs(60 * 60);

/// A file that begins like a followed one and is shorter may be a copy in the making until
/// it was left alone for this long; then it is a file of its own.
const COPYING: Duration = Duration::from_secs(10);

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
    looked: Looked,
    /// Directories searched for renamed files.
    searched: HashMap<PathBuf, BTreeMap<FileId, Found>>,
    out: Outcome,
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

    fn siblings(&mut self, folder: &Path) -> &BTreeMap<FileId, Found> {
        let guard = &self.input.guard;
        self.searched
            .entry(folder.to_owned())
            .or_insert_with(|| siblings(folder, guard))
    }

    /// A file that is not followed yet.
    fn appeared(&mut self, found: &Found) {
        let (index, id) = (self.input.index, found.stat.id);
        if found.stat.links > 1 && !self.input.guard.follows() {
            let error = OpenError::HardLinks(found.stat.links);
            self.looked.refuse(&found.path, error);
            return;
        }
        if self.files.is_full() {
            self.looked
                .refuse(&found.path, OpenError::TooMany(FILES_MAX));
            return;
        }
        if !fits(&found.path) {
            self.looked
                .refuse(&found.path, OpenError::LongPath(PATH_BYTES_MAX));
            return;
        }
        if self.is_copy_of_followed(found) {
            return;
        }
        let before = self.files.with_path(index, &found.path);
        self.missed_generations(before, found);
        let source = self.input.source(&found.path, id);
        let mut follow = Follow::new(index, &found.path, &found.stat, source);
        if self.begins_at_end(&found.path) && before.is_none() {
            self.move_to_end(&mut follow);
        } else {
            self.out.ready.push(follow.key);
        }
        debug!(path = %found.path.display(), at = follow.progress.consumed(), "followed");
        self.out.dirty.insert(follow.key);
        self.files.insert(follow);
    }

    /// Whether copytruncate made it, or is making it, of a file that is followed: its content
    /// is read there. Once the other is truncated, the copy takes over what is left of it.
    fn is_copy_of_followed(&self, found: &Found) -> bool {
        original_names(&found.path).any(|original| {
            let key = self.files.with_path(self.input.index, &original);
            let follow = key.and_then(|key| self.files.get(key));
            let follow = follow.filter(|follow| follow.presence == Presence::Listed);
            follow.is_some_and(
                |follow| match likeness(&self.input.guard, &found.path, follow) {
                    Likeness::Copy => true,
                    Likeness::Shorter => is_fresh(&found.stat),
                    Likeness::Other => false,
                },
            )
        })
    }

    /// Whether a file was there before its pattern was looked for the first time.
    fn begins_at_end(&self, path: &Path) -> bool {
        let patterns = self.input.config.patterns.included();
        let known = &self.input.known_patterns;
        let mut meant = patterns.iter().filter(|pattern| pattern.matches(path));
        self.input.config.start == StartAt::End
            && meant.all(|pattern| !known.contains(&pattern_id(pattern.as_str())))
    }

    fn move_to_end(&mut self, follow: &mut Follow) {
        let opened = self.input.guard.file(&follow.at);
        let Ok((file, stat)) = opened.inspect_err(|error| {
            info!(path = %follow.at.display(), %error, "read from its beginning");
        }) else {
            return;
        };
        if is_packed(&file) {
            follow.finished = true;
            return;
        }
        match end_of(&file, stat.size, self.input.config.encoding) {
            Ok(end) => {
                follow.progress = end.progress;
                follow.mark = end.mark;
                follow.head = end.head;
                follow.delivered = false;
                follow.kept = Some("it was not read from its beginning");
            }
            Err(error) => info!(path = %follow.at.display(), %error, "read from its beginning"),
        }
    }

    /// Files that had the path before the one that is there now and were rotated before
    /// anybody looked. They are known by a name that rotation gives, and are younger than the
    /// file that was followed there, or than the input's first look. Not where copies are
    /// made of a file that is then truncated: they have such names as well.
    fn missed_generations(&mut self, before: Option<u64>, now: &Found) {
        let before = before.and_then(|key| self.files.get(key));
        let (older, head, contents) = match before {
            Some(before) => (before.id.born, before.head, before.contents),
            None => (self.input.since, Print::default(), 0),
        };
        let (index, path, younger) = (self.input.index, now.path.clone(), now.stat.id.born);
        if older == 0 || younger <= older || contents > 0 {
            return;
        }
        let between: Vec<Found> = self
            .siblings(&folder_of(&path))
            .values()
            .filter(|found| {
                let born = found.stat.id.born;
                (older < born && born <= younger)
                    && found.stat.id != now.stat.id
                    && is_rotated_name(&found.path, &path)
            })
            .cloned()
            .collect();
        for found in between {
            let is_known = self.files.with_id(index, found.stat.id).is_some();
            let is_meant = self.input.config.patterns.captures(&found.path).is_some();
            if is_known || is_meant || self.files.is_full() || self.is_copy(&found.path, head) {
                continue;
            }
            let source = self.input.source(&path, found.stat.id);
            let mut follow = Follow::new(index, &path, &found.stat, source);
            follow.at.clone_from(&found.path);
            follow.presence = Presence::Moved;
            info!(path = %found.path.display(), rotated_from = %path.display(),
                "found after it was rotated; read from its beginning");
            self.out.ready.push(follow.key);
            self.out.dirty.insert(follow.key);
            self.files.insert(follow);
        }
    }

    /// Whether the file begins as one that is followed does.
    fn is_copy(&self, path: &Path, head: Print) -> bool {
        let Ok((file, _)) = self.input.guard.file(path) else {
            return true;
        };
        if is_packed(&file) {
            return true;
        }
        let mut first = [0; HEAD_BYTES];
        let read = read_at(&file, &mut first, 0).unwrap_or(0);
        head.len > 0 && head.begins(first.get(..read).unwrap_or_default())
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

/// Whether a file was written to a moment ago, or the clock cannot tell.
fn is_fresh(stat: &Stat) -> bool {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let age = now
        .as_secs()
        .checked_sub(u64::try_from(stat.modified.0).unwrap_or(0));
    age.is_none_or(|age| age < COPYING.as_secs())
}

/// Whether `path` is a name that rotation gives to files called `original`: with a number or
/// a date behind it, or before its extension, or `.old`.
fn is_rotated_name(path: &Path, original: &Path) -> bool {
    let name = |path: &Path| {
        path.file_name()
            .map(|name| name.as_encoded_bytes().to_vec())
    };
    let (Some(name), Some(original)) = (name(path), name(original)) else {
        return false;
    };
    let is_number = |part: &[u8]| {
        let is_separator = part.first().is_some_and(|first| b".-_".contains(first));
        let mut rest = part.iter().skip(1).peekable();
        let is_any = rest.peek().is_some();
        is_separator && is_any && rest.all(|byte| b"0123456789.-_:TZ".contains(byte))
    };
    if let Some(rest) = name.strip_prefix(&*original) {
        return is_number(rest) || rest == b".old";
    }
    let Some(dot) = memchr::memrchr(b'.', &original).filter(|dot| *dot > 0) else {
        return false;
    };
    let (stem, extension) = original.split_at(dot);
    let middle = name
        .strip_prefix(stem)
        .and_then(|rest| rest.strip_suffix(extension));
    middle.is_some_and(is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_rotation_are_told_from_names_of_others() {
        let is = |name: &str| is_rotated_name(Path::new(name), Path::new("/l/app.log"));
        for name in [
            "app.log.1",
            "app.log-20260102",
            "app.1.log",
            "app-2026-01-02.log",
            "app.log.old",
        ] {
            assert!(is(name), "{name}");
        }
        for name in [
            "app.log",
            "app.log.1.gz",
            "app-access.log.1",
            "app.log.",
            "apps.log",
            "app.log.bak.1",
        ] {
            assert!(!is(name), "{name}");
        }
    }
}
