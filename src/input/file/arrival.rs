//! A file that a look around found and that is not followed yet: whether it is a new one, and
//! where reading it begins.
//!
//! Follows no file that is already known; `scan` does.

use std::path::Path;
use std::time::Duration;

use tracing::{debug, info};

use super::checkpoint::{PATH_BYTES_MAX, fits, pattern_id};
use super::copies::{Likeness, likeness};
use super::files::FILES_MAX;
use super::follow::{Follow, Presence};
use super::identity::{HEAD_BYTES, Print, Stat};
use super::names::{is_rotated_name, original_names};
use super::open::{OpenError, read_at};
use super::packed::is_packed;
use super::scan::Scan;
use super::start::end_of;
use super::wake::folder_of;
use super::walk::Found;
use crate::clock::unix_ms;
use crate::config::StartAt;

/// A file that begins like a followed one and is shorter may be a copy in the making until
/// it was left alone for this long; then it is a file of its own.
const COPYING: Duration = Duration::from_secs(10);

impl Scan<'_> {
    /// A file that is not followed yet.
    pub(super) fn appeared(&mut self, found: &Found) {
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
                follow.keep("it was not read from its beginning");
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
            if is_known || is_meant || self.files.is_full() {
                continue;
            }
            if !self.is_legible_and_new(&found.path, head) {
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

    /// Whether the file can be read line by line, and does not begin as `head` does: that
    /// would be a copy of a file whose lines are read already.
    fn is_legible_and_new(&self, path: &Path, head: Print) -> bool {
        let Ok((file, _)) = self.input.guard.file(path) else {
            return false;
        };
        let mut first = [0; HEAD_BYTES];
        let read = read_at(&file, &mut first, 0).unwrap_or(0);
        let is_copy = head.len > 0 && head.begins(first.get(..read).unwrap_or_default());
        !is_packed(&file) && !is_copy
    }
}

/// Whether a file was written to a moment ago, or the clock cannot tell.
fn is_fresh(stat: &Stat) -> bool {
    let age_ms = unix_ms().saturating_sub(stat.modified.0.saturating_mul(1000));
    u64::try_from(age_ms).map_or(true, |age| Duration::from_millis(age) < COPYING)
}
