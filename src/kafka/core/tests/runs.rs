//! Runs of the model: steps as they come, and what has to be true at the end.

use super::*;

/// Every batch once and in order; the refused ones are reported and not there.
fn run(steps: Vec<Step>) {
    let mut world = prepared(steps.len(), None);
    for step in steps {
        world.step(step);
    }
    world.heal();
    let (refused, stored): (Vec<u64>, Vec<u64>) =
        (1..world.next).partition(|n| n.is_multiple_of(TOO_LARGE));
    assert_eq!(world.log, stored, "in the log");
    assert_eq!(world.acked, stored, "acknowledged");
    assert_eq!(world.refused, refused, "refused");
    assert_eq!(world.core.totals().maybe_duplicate_records, 0);
}

/// Every batch once and in order or given up for its age, and never both acknowledged and
/// given up.
fn run_with_a_lifetime(steps: Vec<Step>, lifetime: Duration) {
    let mut world = prepared(steps.len(), None);
    world.lifetime = Some(lifetime);
    for step in steps {
        world.step(step);
    }
    world.heal();
    assert!(world.log.is_sorted_by(|a, b| a < b), "{:?}", world.log);
    let mut resolved = [&world.acked[..], &world.refused, &world.expired].concat();
    resolved.sort_unstable();
    assert_eq!(resolved, (1..world.next).collect::<Vec<u64>>());
}

/// Every batch once and in order or given up, and never both acknowledged and given up. One
/// that comes back to be sent again is not in the log; the world sees to that.
fn run_with_retries(steps: Vec<Step>, retries: u32) -> World {
    let mut world = prepared(steps.len(), Some(retries));
    for step in steps {
        world.step(step);
    }
    world.heal();
    assert!(world.log.is_sorted_by(|a, b| a < b), "{:?}", world.log);
    let mut resolved = [&world.acked[..], &world.refused, &world.given_up].concat();
    resolved.sort_unstable();
    assert_eq!(resolved, (1..world.next).collect::<Vec<u64>>());
    assert_eq!(world.core.totals().maybe_duplicate_records, 0);
    world
}

/// A world that knows the records of the first `count` batches.
fn prepared(count: usize, retries: Option<u32>) -> World {
    let mut world = World::new(retries);
    for number in 1..=count as u64 {
        let stamp = crate::kafka::batch::Stamp {
            producer_id: 0,
            epoch: 0,
            base_sequence: 0,
            time_ms: 0,
            transactional: false,
        };
        let records = sealed(number).stamp(stamp).bytes().slice(61..);
        world.numbers.insert(records, number);
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn every_batch_is_stored_once_and_in_order(steps in prop::collection::vec(step(), 1..150)) {
        run(steps);
    }

    #[test]
    fn an_expired_batch_costs_the_others_neither_order_nor_uniqueness(
        steps in prop::collection::vec(step(), 1..150),
        lifetime in 50..1500_u64,
    ) {
        run_with_a_lifetime(steps, Duration::from_millis(lifetime));
    }

    #[test]
    fn a_batch_that_is_given_up_costs_the_others_neither_order_nor_uniqueness(
        steps in prop::collection::vec(step(), 1..150),
        retries in 0..4_u32,
    ) {
        run_with_retries(steps, retries);
    }
}

/// A broker's answer to the oldest request, and some time after it.
fn answered(code: i16) -> [Step; 3] {
    let (broker, after, throttle) = (1, false, false);
    [
        Step::Work {
            broker,
            code,
            after,
        },
        Step::Answer { broker, throttle },
        Step::Time { ms: 300 },
    ]
}

#[test]
fn a_batch_is_sent_again_as_often_as_retries_says_and_then_given_up() {
    for retries in [0, 1, 3] {
        let mut steps = vec![Step::Send, Step::Send];
        steps.extend((0..=retries).flat_map(|_| answered(19)));
        let world = run_with_retries(steps.clone(), retries);
        assert_eq!(world.given_up, [1], "retries = {retries}");
        assert_eq!(world.acked, [2]);
        // One failure less, and the next try stores it.
        steps.truncate(steps.len() - 3);
        let world = run_with_retries(steps, retries);
        assert_eq!(world.given_up, [0_u64; 0], "retries = {retries}");
        assert_eq!(world.acked, [1, 2]);
    }
}

#[test]
fn batches_whose_answers_are_lost_are_given_up_together_and_sent_no_second_time() {
    let mut steps = vec![Step::Send];
    steps.extend(answered(0));
    steps.extend(vec![Step::Send; 3]);
    let (broker, worked, late) = (1, 2, false);
    steps.push(Step::Drop {
        broker,
        worked,
        late,
    });
    steps.push(Step::Send);
    let world = run_with_retries(steps, 0);
    // The broker has the first two of the three; nobody can know.
    assert_eq!(world.given_up, [2, 3, 4]);
    assert_eq!(world.acked, [1, 5]);
    assert_eq!(world.log, [1, 2, 3, 5]);
}

#[test]
fn a_restart_that_remembers_only_the_last_of_three_is_no_loss() {
    let mut steps = vec![
        Step::Send,
        Step::Work {
            broker: 1,
            code: 0,
            after: false,
        },
        Step::Answer {
            broker: 1,
            throttle: false,
        },
    ];
    steps.extend(vec![Step::Send; 3]);
    steps.extend(vec![
        Step::Work {
            broker: 1,
            code: 0,
            after: false
        };
        3
    ]);
    steps.push(Step::Restart { broker: 1 });
    run(steps);
}

#[test]
fn a_first_batch_that_fails_is_not_overtaken_at_a_broker_without_memory() {
    // With more than one on the wire the broker, knowing nothing of the producer, would
    // take the second as new, and the first could never be appended.
    let mut steps = vec![Step::Send; 3];
    steps.push(Step::Work {
        broker: 1,
        code: 19,
        after: false,
    });
    steps.extend(vec![
        Step::Work {
            broker: 1,
            code: 0,
            after: false
        };
        2
    ]);
    run(steps);
}

/// With the first id again, the second batch would be answered "duplicate" and be lost.
#[test]
fn a_forgotten_partition_begins_again_under_another_id() {
    let mut steps = vec![Step::Send];
    steps.extend(answered(0));
    let round = steps.clone();
    steps.push(Step::Forget);
    steps.extend(round);
    run(steps);
}

/// Under another id nothing would keep the late request out of the log.
#[test]
fn what_was_given_up_in_doubt_is_remembered_until_it_can_come_no_more() {
    let broker = 1;
    let mut steps = vec![Step::Send];
    steps.extend(answered(0));
    steps.push(Step::Send);
    steps.push(Step::Drop {
        broker,
        worked: 0,
        late: true,
    });
    steps.extend([Step::Time { ms: 300 }, Step::Forget, Step::Send]);
    steps.extend(answered(0));
    let world = run_with_retries(steps, 0);
    assert_eq!(world.given_up, [2]);
    assert_eq!(world.acked, [1, 3]);
    assert_eq!(world.log, [1, 3]);
}
