//! Which events are in no batch: passed over because their partition was stuck, or given
//! back by the producer.
//!
//! Pure. Knows one bit an event, and only of blocks that have such events, so that a dead
//! partition costs about an eighth of a byte for each event that lies behind it.

use std::collections::BTreeMap;

use crate::proof::{Seq, SeqRange};

/// The events that wait to be read again.
#[derive(Debug, Default)]
pub(super) struct Unplaced {
    blocks: BTreeMap<Seq, Marks>,
}

#[derive(Debug)]
struct Marks {
    words: Vec<u64>,
    left: u32,
}

impl Unplaced {
    /// Marks event `seq` of `block`.
    pub(super) fn mark(&mut self, block: SeqRange, seq: Seq) {
        let Some((word, bit)) = place_of(block.first, seq) else {
            return;
        };
        if seq >= block.end() {
            return;
        }
        let marks = self.blocks.entry(block.first).or_insert_with(|| Marks {
            words: vec![0; (block.count as usize).div_ceil(64)],
            left: 0,
        });
        if let Some(word) = marks.words.get_mut(word)
            && *word & bit == 0
        {
            *word |= bit;
            marks.left += 1;
        }
    }

    /// Takes the mark of `seq` away; forgets a block without marks.
    pub(super) fn clear(&mut self, block: Seq, seq: Seq) {
        let Some((word, bit)) = place_of(block, seq) else {
            return;
        };
        let Some(marks) = self.blocks.get_mut(&block) else {
            return;
        };
        if let Some(word) = marks.words.get_mut(word)
            && *word & bit != 0
        {
            *word &= !bit;
            marks.left -= 1;
        }
        if marks.left == 0 {
            self.blocks.remove(&block);
        }
    }

    /// Whether `seq` of `block` is marked.
    pub(super) fn contains(&self, block: Seq, seq: Seq) -> bool {
        let Some((word, bit)) = place_of(block, seq) else {
            return false;
        };
        let word = self
            .blocks
            .get(&block)
            .and_then(|marks| marks.words.get(word));
        word.is_some_and(|word| word & bit != 0)
    }

    /// The first block at or after `from` with a mark.
    pub(super) fn next_block(&self, from: Seq) -> Option<Seq> {
        self.blocks.range(from..).next().map(|(first, _)| *first)
    }

    /// Forgets a block, because it is gone.
    pub(super) fn forget(&mut self, block: Seq) {
        self.blocks.remove(&block);
    }

    /// Number of events marked.
    pub(super) fn len(&self) -> u64 {
        self.blocks
            .values()
            .map(|marks| u64::from(marks.left))
            .sum()
    }
}

fn place_of(block: Seq, seq: Seq) -> Option<(usize, u64)> {
    let index = seq.checked_sub(block)?;
    Some((usize::try_from(index / 64).ok()?, 1 << (index % 64)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_come_and_go_one_by_one() {
        let mut unplaced = Unplaced::default();
        let block = SeqRange {
            first: 100,
            count: 130,
        };
        for seq in [100, 163, 164, 229, 229] {
            unplaced.mark(block, seq);
        }
        assert_eq!(unplaced.len(), 4);
        assert!(unplaced.contains(100, 164) && !unplaced.contains(100, 165));
        assert_eq!(unplaced.next_block(50), Some(100));
        assert_eq!(unplaced.next_block(101), None);
        for seq in [100, 163, 164, 229] {
            unplaced.clear(100, seq);
        }
        assert!(unplaced.next_block(0).is_none());
    }

    #[test]
    fn a_mark_outside_its_block_changes_nothing() {
        let mut unplaced = Unplaced::default();
        unplaced.mark(
            SeqRange {
                first: 10,
                count: 2,
            },
            9,
        );
        unplaced.mark(
            SeqRange {
                first: 10,
                count: 2,
            },
            80,
        );
        assert!(unplaced.next_block(0).is_none());
    }
}
