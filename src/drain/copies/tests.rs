//! The copies of one event, step by step.

use super::*;
use crate::proof;

const BLOCK: SeqRange = SeqRange {
    first: 100,
    count: 70,
};

fn letter(seq: Seq) -> DeadLettered {
    let (disk, _) = proof::issue();
    disk.dead_lettered([(seq, 0)].into_iter().collect())
}

/// Event 101 with copies 1 and 2 under way and copy 3 waiting.
fn three() -> Copies {
    let mut copies = Copies::default();
    copies.put(BLOCK, 101, 1, Place::UnderWay);
    copies.put(BLOCK, 101, 2, Place::UnderWay);
    copies.put(BLOCK, 101, 3, Place::Waiting);
    copies
}

#[test]
fn an_event_is_whole_when_its_last_copy_is_settled_and_is_then_forgotten() {
    let mut copies = three();
    assert!(matches!(copies.settle(101, 2), Settled::Open));
    assert!(copies.has_begun(101));
    assert!(matches!(copies.settle(101, 1), Settled::Open));
    assert_eq!(copies.waiting(101), [3]);
    copies.put(BLOCK, 101, 3, Place::UnderWay);
    assert!(matches!(copies.settle(101, 3), Settled::Whole(None)));
    assert!(copies.is_empty());
    assert_eq!(copies.bytes(), 0);
}

#[test]
fn an_event_with_one_copy_is_whole_at_once_and_costs_nothing() {
    let mut copies = three();
    let bytes = copies.bytes();
    assert!(matches!(copies.settle(102, 1), Settled::Whole(None)));
    copies.came_back(102, 1);
    assert!(!copies.has_begun(102));
    assert_eq!(copies.bytes(), bytes);
}

#[test]
fn a_dead_letter_of_one_copy_outweighs_what_became_of_the_others() {
    let mut copies = three();
    copies.ended(101, Worse::DeadLettered(letter(101)));
    assert!(matches!(copies.settle(101, 1), Settled::Open));
    copies.ended(101, Worse::Dropped);
    assert!(matches!(copies.settle(101, 3), Settled::Open));
    assert!(copies.has_letter(101));
    let Settled::Whole(Some(Worse::DeadLettered(proof))) = copies.settle(101, 2) else {
        panic!("the event is a dead letter");
    };
    assert_eq!(proof.ranges().first(), Some(101));
    assert_eq!(copies.bytes(), 0);
}

#[test]
fn a_copy_that_came_back_waits_and_the_others_stay_where_they_are() {
    let mut copies = three();
    assert!(matches!(copies.settle(101, 1), Settled::Open));
    copies.came_back(101, 2);
    assert_eq!(copies.waiting(101), [2, 3]);
    assert_eq!(copies.place(101, 1), Place::Settled);
}

#[test]
fn an_aborted_run_brings_back_what_was_under_way_and_not_what_is_settled() {
    let mut copies = three();
    assert!(matches!(copies.settle(101, 1), Settled::Open));
    copies.all_came_back();
    assert_eq!(copies.waiting(101), [2, 3]);
    assert_eq!(copies.place(101, 1), Place::Settled);
    copies.forget_before(169);
    assert!(!copies.is_empty(), "its block is not over");
    copies.forget_before(170);
    assert!(copies.is_empty());
}

#[test]
fn a_route_keeps_its_id_over_a_reload_while_a_copy_of_it_is_open() {
    let mut copies = Copies::default();
    let names: Vec<Arc<str>> = ["a", "b", "c"].map(Arc::from).to_vec();
    assert_eq!(copies.ids(names.iter()), [1, 2, 3]);
    copies.put(BLOCK, 100, 2, Place::Waiting);
    let names: Vec<Arc<str>> = ["c", "d", "b"].map(Arc::from).to_vec();
    assert_eq!(copies.ids(names[..2].iter()), [3, 1]);
    assert_eq!(copies.name(2), Some("b"), "still open");
    assert_eq!(copies.ids(names.iter()), [3, 1, 2]);
    copies.forget_block(100);
    copies.ids(names[..1].iter());
    assert_eq!(copies.name(2), None, "free again");
}

#[test]
fn what_lies_outside_a_block_changes_nothing() {
    let mut copies = three();
    copies.put(BLOCK, 99, 1, Place::Waiting);
    copies.put(BLOCK, 170, 1, Place::Waiting);
    assert!(!copies.has_begun(170) && copies.waiting(99).is_empty());
    assert!(copies.forget(101).is_none());
    assert!(copies.is_empty(), "no event outside was counted");
}
