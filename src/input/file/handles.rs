//! Which files of an input are held open, least recently used first.
//!
//! Thousands of files are followed with a few descriptors: one that has nothing to read is
//! closed when another needs its place. Chooses; opens and closes nothing.

use std::collections::{BTreeMap, HashMap};

/// Open files in the order of their last use.
#[derive(Debug, Default)]
pub(super) struct Handles {
    tick: u64,
    by_use: BTreeMap<u64, u64>,
    used: HashMap<u64, u64>,
}

impl Handles {
    /// Notes that the file `key` is open and was used just now.
    pub(super) fn used(&mut self, key: u64) {
        self.closed(key);
        self.tick += 1;
        self.by_use.insert(self.tick, key);
        self.used.insert(key, self.tick);
    }

    /// Notes that it is closed.
    pub(super) fn closed(&mut self, key: u64) {
        if let Some(tick) = self.used.remove(&key) {
            self.by_use.remove(&tick);
        }
    }

    /// How many are open.
    pub(super) fn len(&self) -> usize {
        self.by_use.len()
    }

    /// The files that are open, the longest unused first.
    pub(super) fn oldest_first(&self) -> impl Iterator<Item = u64> {
        self.by_use.values().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_unused_comes_first() {
        let mut handles = Handles::default();
        for key in [1, 2, 3, 1, 4] {
            handles.used(key);
        }
        handles.closed(3);
        assert_eq!(handles.oldest_first().collect::<Vec<_>>(), [2, 1, 4]);
        assert_eq!(handles.len(), 3);
    }
}
