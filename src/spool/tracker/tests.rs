//! The tracker against a model that remembers each event.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Saw(usize),
    Resolve(Seq, Seq, bool),
    Restart,
}

const FIRST: Seq = 100;
const BLOCKS: [u64; 6] = [1, 70, 3, 200, 64, 30];

fn step() -> impl Strategy<Value = Step> {
    let end = FIRST + BLOCKS.iter().sum::<u64>();
    prop_oneof![
        (0..BLOCKS.len()).prop_map(Step::Saw),
        (FIRST..end, 1..90u64, any::<bool>()).prop_map(move |(at, len, lost)| Step::Resolve(
            at,
            (at + len).min(end),
            lost
        )),
        Just(Step::Restart),
    ]
}

/// Writes the changes as the keeper does, and loads them again.
fn restart(tracker: &mut Tracker, disk: &mut (Vec<u8>, BTreeMap<Seq, Vec<u8>>)) -> Tracker {
    if let Some(changes) = tracker.take_changes() {
        disk.1.extend(changes.spans);
        disk.0 = changes.base;
        changes
            .obsolete
            .iter()
            .for_each(|seq| drop(disk.1.remove(seq)));
    }
    let base = (!disk.0.is_empty()).then_some(disk.0.as_slice());
    let spans = disk.1.iter().map(|(seq, value)| (*seq, value.as_slice()));
    Tracker::load(FIRST, base, spans).unwrap()
}

proptest! {
    #[test]
    fn the_tracker_knows_each_event_and_a_restart_changes_nothing(
        steps in prop::collection::vec(step(), 1..60)
    ) {
        let end = FIRST + BLOCKS.iter().sum::<u64>();
        let mut model: BTreeMap<Seq, Ending> = BTreeMap::new();
        let mut tracker = Tracker::new(FIRST);
        let mut disk = (Vec::new(), BTreeMap::new());
        for step in steps {
            match step {
                Step::Saw(index) => {
                    let first = FIRST + BLOCKS[..index].iter().sum::<u64>();
                    tracker.saw(first, BLOCKS[index], 5);
                }
                Step::Resolve(from, to, lost) => {
                    let ending = if lost { Ending::Lost } else { Ending::Delivered };
                    let mut heard = Vec::new();
                    tracker.resolve(from, to, ending, |a, b| heard.extend(a..b));
                    let newly: Vec<Seq> =
                        (from..to).filter(|seq| !model.contains_key(seq)).collect();
                    prop_assert_eq!(heard, newly.clone());
                    model.extend(newly.into_iter().map(|seq| (seq, ending)));
                }
                Step::Restart => tracker = restart(&mut tracker, &mut disk),
            }
            for seq in FIRST..end {
                prop_assert_eq!(tracker.is_unresolved(seq), !model.contains_key(&seq));
            }
            let lost = model.values().filter(|e| **e == Ending::Lost).count() as u64;
            prop_assert_eq!(tracker.counts().lost, lost);
            prop_assert_eq!(tracker.counts().total(), model.len() as u64);
            let first = (FIRST..).find(|seq| !model.contains_key(seq)).unwrap();
            prop_assert_eq!(tracker.first_unresolved_from(FIRST), first);
            prop_assert_eq!(tracker.is_resolved_until(end), first >= end);
        }
    }

    #[test]
    fn damaged_records_are_refused_and_never_panic(
        base in prop::collection::vec(any::<u8>(), 0..60),
        span in prop::collection::vec(any::<u8>(), 0..90),
    ) {
        let _ = Tracker::load(1, Some(&base), std::iter::empty());
        let _ = Tracker::load(1, None, std::iter::once((7, span.as_slice())));
    }
}
