//! The spool against a model: whatever is done to it, nothing is lost, changed or reordered.

use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::prelude::*;
use proptest::sample::Index;

use crate::spool_rig::{Rig, config, copy_dir, noise};

#[derive(Debug, Clone)]
enum Step {
    /// Small events with any bytes.
    Append(Vec<Vec<u8>>),
    /// One event of this many KiB that does not compress.
    AppendLarge(u64, usize),
    Read,
    Ack(Vec<Index>),
    DeadLetter(Index),
    /// Reads from the first unresolved event again.
    Reread,
    Reopen,
    /// What is left when the process is killed.
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let event = prop::collection::vec(any::<u8>(), 0..300);
    prop_oneof![
        4 => prop::collection::vec(event, 1..60).prop_map(Step::Append),
        3 => (any::<u64>(), 1usize..900).prop_map(|(seed, kib)| Step::AppendLarge(seed, kib)),
        4 => Just(Step::Read),
        6 => prop::collection::vec(any::<Index>(), 1..40).prop_map(Step::Ack),
        1 => any::<Index>().prop_map(Step::DeadLetter),
        2 => Just(Step::Reread),
        1 => Just(Step::Reopen),
        1 => Just(Step::Crash),
    ]
}

/// What must be in the spool.
#[derive(Default)]
struct Model {
    accepted: u64,
    unresolved: BTreeMap<u64, Vec<u8>>,
    /// Resolved since the last crash image could have been written down.
    resolved: BTreeMap<u64, Vec<u8>>,
}

impl Model {
    fn append(&mut self, rig: &Rig, events: Vec<Vec<u8>>) {
        let range = rig.append(&events);
        assert_eq!(range.first, self.accepted + 1, "sequence numbers are dense");
        assert_eq!(range.count as usize, events.len());
        self.unresolved.extend((range.first..).zip(events));
        self.accepted = range.end() - 1;
    }

    fn resolve(&mut self, seqs: &[u64]) {
        for seq in seqs {
            let event = self.unresolved.remove(seq).unwrap();
            self.resolved.insert(*seq, event);
        }
    }

    /// After a start, everything unresolved is there, in order. After a crash, some of what
    /// was resolved may be there again, unchanged.
    fn check_start(&mut self, rig: &mut Rig, crashed: bool) {
        let read = rig.read_all();
        assert!(
            read.is_sorted_by_key(|(seq, _)| *seq),
            "events come in order"
        );
        if !crashed {
            assert!(read.iter().map(|(seq, _)| seq).eq(self.unresolved.keys()));
        }
        for (seq, bytes) in &read {
            if let Some(event) = self.resolved.remove(seq) {
                self.unresolved.insert(*seq, event);
            }
            assert!(
                self.unresolved.get(seq) == Some(bytes),
                "event {seq} is what it was"
            );
        }
        assert_eq!(read.len(), self.unresolved.len(), "nothing is missing");
    }

    fn check_ledger(&self, rig: &Rig) {
        let ledger = rig.ledger();
        assert_eq!(ledger.accepted, self.accepted);
        assert_eq!(ledger.in_spool, self.unresolved.len() as u64);
        assert_eq!(ledger.lost, 0);
    }
}

fn pick(seqs: &[u64], indexes: &[Index]) -> Vec<u64> {
    let mut picked: Vec<u64> = indexes.iter().map(|index| *index.get(seqs)).collect();
    picked.sort_unstable();
    picked.dedup();
    picked
}

fn run(steps: Vec<Step>) {
    let dir = tempfile::tempdir().unwrap();
    let mut place = dir.path().join("0");
    let mut rig = Rig::open(&config(&place));
    let mut model = Model::default();
    for (number, step) in steps.into_iter().enumerate() {
        let seqs: Vec<u64> = model.unresolved.keys().copied().collect();
        match step {
            Step::Append(events) => model.append(&rig, events),
            Step::AppendLarge(seed, kib) => model.append(&rig, vec![noise(seed, kib * 1024)]),
            Step::Read => drop(rig.read_all()),
            Step::Ack(indexes) if !seqs.is_empty() => {
                let seqs = pick(&seqs, &indexes);
                rig.ack(seqs.iter().copied());
                model.resolve(&seqs);
            }
            Step::DeadLetter(index) if !seqs.is_empty() => {
                let seq = *index.get(&seqs);
                rig.dead_letter(&[seq]);
                model.resolve(&[seq]);
                let letter = rig.opened.dead_letters.get(seq).unwrap().unwrap();
                assert_eq!(letter.bytes, seq.to_string().as_bytes());
            }
            Step::Reread => {
                let block = rig.opened.cursor.reread(1).unwrap();
                let first = block.map(|block| {
                    let mut events = block.events();
                    let event = events
                        .find(|e| rig.opened.cursor.is_unresolved(e.seq))
                        .unwrap();
                    (event.seq, event.bytes.to_vec())
                });
                let expected = model.unresolved.first_key_value();
                assert!(first == expected.map(|(seq, bytes)| (*seq, bytes.clone())));
            }
            Step::Reopen => {
                rig.close();
                rig = Rig::open(&config(&place));
                model.check_start(&mut rig, false);
            }
            Step::Crash => {
                let next: PathBuf = dir.path().join((number + 1).to_string());
                copy_dir(&place, &next);
                rig.close();
                place = next;
                rig = Rig::open(&config(&place));
                model.check_start(&mut rig, true);
            }
            Step::Ack(_) | Step::DeadLetter(_) => {}
        }
        model.check_ledger(&rig);
    }
    rig.close();
    let mut rig = Rig::open(&config(&place));
    model.check_start(&mut rig, false);
    model.check_ledger(&rig);
    let left: Vec<u64> = model.unresolved.keys().copied().collect();
    rig.ack(left);
    rig.wait_until("all generations but the newest are deleted", |rig| {
        rig.opened.status.snapshot().generations == 1
    });
    rig.close();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..Default::default() })]

    #[test]
    fn the_spool_does_what_the_model_does(steps in prop::collection::vec(step(), 1..40)) {
        run(steps);
    }
}
