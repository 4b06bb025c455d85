//! Which events are in no batch: passed over because their partition was stuck, or given
//! back by the producer.
//!
//! Pure. Knows one bit an event, and only of stretches that have such events, however small
//! the blocks are that these came in. A stretch without any other event costs no bits.

use std::collections::BTreeMap;

use crate::proof::Seq;

/// Events of one stretch.
const STRETCH: u64 = 4096;

/// Words of its bits.
const WORDS: usize = STRETCH as usize / 64;

/// Most memory that a stretch takes, in bytes: its bits, and about as much around them as a
/// map and an allocation have. So a partition that is stuck while 10 GiB of events come for
/// all of them, each of 200 bytes on disk, costs 8 MiB; alone in its spool, 1 MiB.
const STRETCH_BYTES_MAX: usize = 640;

const _: () = assert!(WORDS * 8 + 4 * size_of::<(u64, Marks)>() <= STRETCH_BYTES_MAX);

/// The events that wait to be read again.
#[derive(Debug, Default)]
pub(super) struct Unplaced {
    /// By number: the first event, divided by [`STRETCH`].
    stretches: BTreeMap<u64, Marks>,
    events: u64,
}

/// The marks of one stretch, at least one.
#[derive(Debug)]
struct Marks {
    /// `None` when every event is marked.
    words: Option<Box<[u64; WORDS]>>,
    left: u16,
}

impl Marks {
    fn bits(&self, word: usize) -> u64 {
        let words = self.words.as_ref();
        words.map_or(u64::MAX, |words| words.get(word).copied().unwrap_or(0))
    }

    /// Sets or takes away one mark; false when it was so before.
    fn set(&mut self, (word, bit): (usize, u64), is_marked: bool) -> bool {
        if (self.bits(word) & bit != 0) == is_marked {
            return false;
        }
        let words = self
            .words
            .get_or_insert_with(|| Box::new([u64::MAX; WORDS]));
        if let Some(word) = words.get_mut(word) {
            *word ^= bit;
        }
        self.left = if is_marked {
            self.left + 1
        } else {
            self.left - 1
        };
        if u64::from(self.left) == STRETCH {
            self.words = None;
        }
        true
    }

    /// The first mark at or after the event with this number in the stretch.
    fn next(&self, from: u64) -> Option<u64> {
        let (first, bit) = place_of(from);
        (first..WORDS).find_map(|word| {
            let skipped = if word == first { bit - 1 } else { 0 };
            let bits = self.bits(word) & !skipped;
            (bits != 0).then(|| word as u64 * 64 + u64::from(bits.trailing_zeros()))
        })
    }
}

impl Unplaced {
    /// Marks an event.
    pub(super) fn mark(&mut self, seq: Seq) {
        let marks = self
            .stretches
            .entry(seq / STRETCH)
            .or_insert_with(|| Marks {
                words: Some(Box::new([0; WORDS])),
                left: 0,
            });
        self.events += u64::from(marks.set(place_of(seq % STRETCH), true));
    }

    /// Takes the mark of an event away.
    pub(super) fn clear(&mut self, seq: Seq) {
        let number = seq / STRETCH;
        let Some(marks) = self.stretches.get_mut(&number) else {
            return;
        };
        self.events -= u64::from(marks.set(place_of(seq % STRETCH), false));
        if marks.left == 0 {
            self.stretches.remove(&number);
        }
    }

    /// Whether an event is marked.
    pub(super) fn contains(&self, seq: Seq) -> bool {
        let (word, bit) = place_of(seq % STRETCH);
        let marks = self.stretches.get(&(seq / STRETCH));
        marks.is_some_and(|marks| marks.bits(word) & bit != 0)
    }

    /// The first marked event at or after `from`.
    pub(super) fn next(&self, from: Seq) -> Option<Seq> {
        self.stretches
            .range(from / STRETCH..)
            .find_map(|(number, marks)| {
                let first = number * STRETCH;
                let found = marks.next(from.saturating_sub(first))?;
                Some(first + found)
            })
    }

    /// Number of events marked.
    pub(super) fn len(&self) -> u64 {
        self.events
    }
}

/// Word and bit of the event with this number in its stretch.
fn place_of(number: u64) -> (usize, u64) {
    ((number / 64) as usize, 1 << (number % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    impl Unplaced {
        /// About what it takes.
        fn bytes(&self) -> usize {
            let bits = |marks: &Marks| marks.words.as_deref().map_or(0, size_of_val);
            // A node of the map is half full at worst.
            let around = 2 * size_of::<(u64, Marks)>();
            self.stretches.values().map(|m| bits(m) + around).sum()
        }
    }

    #[test]
    fn a_stuck_partition_costs_a_bit_for_each_event_behind_it_however_small_the_blocks() {
        const EVENTS: u64 = 1 << 20;
        let mut unplaced = Unplaced::default();
        (0..EVENTS).step_by(2).for_each(|seq| unplaced.mark(seq));
        let bound = (EVENTS / STRETCH) as usize * STRETCH_BYTES_MAX;
        assert!(unplaced.bytes() <= bound, "{} bytes", unplaced.bytes());
        (1..EVENTS).step_by(2).for_each(|seq| unplaced.mark(seq));
        assert!(unplaced.bytes() <= bound / 8, "{} bytes", unplaced.bytes());
        assert_eq!(unplaced.len(), EVENTS);
    }

    proptest! {
        #[test]
        fn marks_are_those_of_a_plain_set(
            steps in prop::collection::vec((0u8..4, 0u64..3 * STRETCH, 0u64..300), 1..60),
        ) {
            let (mut unplaced, mut plain) = (Unplaced::default(), BTreeSet::new());
            for (step, first, count) in steps {
                // Long runs, so that stretches fill up.
                let count = if step == 0 { STRETCH + count } else { count };
                for seq in first..first + count {
                    if step < 3 {
                        unplaced.mark(seq);
                        plain.insert(seq);
                    } else {
                        unplaced.clear(seq);
                        plain.remove(&seq);
                    }
                }
                prop_assert_eq!(unplaced.len(), plain.len() as u64);
                for from in [0, first, first + count / 2, first + count] {
                    prop_assert_eq!(unplaced.next(from), plain.range(from..).next().copied());
                    prop_assert_eq!(unplaced.contains(from), plain.contains(&from));
                }
            }
            while let Some(seq) = unplaced.next(0) {
                unplaced.clear(seq);
                prop_assert!(plain.remove(&seq));
            }
            prop_assert!(plain.is_empty() && unplaced.stretches.is_empty());
        }
    }
}
