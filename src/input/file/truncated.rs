//! A file that was truncated and written anew in place: what was not read of its old content
//! is sought in the copy that copytruncate made, and the new one is read from its beginning.
//!
//! That it was truncated, `turn` finds out.

use tracing::warn;

use super::copies;
use super::follow::Follow;
use super::tailer::Tailer;
use super::wake::folder_of;
use super::walk::siblings;

impl Tailer {
    /// The file holds other content than before. What was not read of the old one is in the
    /// copy that was made of it, or lost to us; and what was written between the copy and the
    /// truncation nobody can know.
    pub(super) fn rewritten(&mut self, key: u64) {
        let Some(follow) = self.files.remove(key) else {
            return;
        };
        let Some(input) = self.inputs.get_mut(follow.input) else {
            return;
        };
        let beside = siblings(&folder_of(&follow.at), &input.guard).into_values();
        let beside =
            beside.filter(|found| self.files.with_id(follow.input, found.stat.id).is_none());
        let beside = beside.map(|found| (found.path, found.stat));
        let copy = copies::find(&input.guard, &follow, beside);
        let lost = match copy {
            Some(_) => 0,
            None => follow.unread_for_sure(),
        };
        input.stats.possible_loss(lost);
        warn!(path = %follow.at.display(), lost, copy = ?copy.as_ref().map(|(path, _)| path),
            "truncated and written anew; read from its beginning");
        input.handles.closed(key);
        self.lively.remove(&key);
        self.dirty.insert(key);
        if let Some((path, stat)) = copy {
            self.files.insert(follow.moved_to_copy(&path, &stat));
            self.queue(key);
        }
        self.begin_anew(follow);
    }

    fn begin_anew(&mut self, mut follow: Follow) {
        follow.rewritten();
        let key = follow.key;
        self.dirty.insert(key);
        if let Some(input) = self.inputs.get_mut(follow.input)
            && follow.handle.is_some()
        {
            input.handles.used(key);
        }
        self.files.insert(follow);
        self.queue(key);
    }
}
