//! The producer against brokers that fail: nothing lost, nothing doubled, order kept.

use std::time::{Duration, Instant};

use spoolway::kafka::{Refusal, Report, TopicView};
use spoolway_test_support::scripted::{Action, Api, Cluster, When, code};

use crate::producer_rig::{PATIENCE, Rig, config, log, topic};

/// A cluster with one topic `t` of `partitions`, and a producer on it.
fn rig(brokers: i32, partitions: i32) -> (Cluster, Rig) {
    let cluster = Cluster::start(brokers);
    cluster.create_topic("t", partitions);
    let rig = Rig::start(&config(&cluster.bootstrap()));
    (cluster, rig)
}

#[test]
fn batches_arrive_once_and_in_order() {
    let (cluster, mut rig) = rig(1, 1);
    for _ in 0..20 {
        rig.send("t", 0, 10);
    }
    rig.settle();
    let all: Vec<u64> = (1..=200).collect();
    assert_eq!(log(&cluster, "t", 0), all);
    assert_eq!(rig.acked, all);
}

#[test]
fn a_throttled_answer_is_a_success_and_mutes_the_broker() {
    let (cluster, mut rig) = rig(1, 1);
    let throttle = Duration::from_millis(300);
    rig.send("t", 0, 1);
    rig.settle();
    cluster.script(When::produce(), Action::Throttle(throttle));
    rig.send("t", 0, 1);
    rig.settle();
    let muted = Instant::now();
    rig.send("t", 0, 1);
    rig.settle();
    assert!(
        muted.elapsed() > throttle - Duration::from_millis(100),
        "the broker was not muted"
    );
    assert_eq!(log(&cluster, "t", 0), [1, 2, 3]);
    assert_eq!(rig.producer.status().totals.resent_batches, 0);
}

#[test]
fn a_silent_broker_is_left_at_the_deadline_and_gets_the_same_batch_again() {
    for action in [Action::SilenceAfter, Action::Silence] {
        let (cluster, mut rig) = rig(1, 1);
        cluster.script(When::produce().nth(2), action);
        for _ in 0..6 {
            rig.send("t", 0, 3);
        }
        rig.settle();
        assert_eq!(log(&cluster, "t", 0), (1..=18).collect::<Vec<u64>>());
        assert_eq!(rig.producer.status().totals.maybe_duplicate_records, 0);
    }
}

#[test]
fn a_connection_that_drops_after_the_append_doubles_nothing() {
    for nth in 1..=4 {
        let (cluster, mut rig) = rig(1, 1);
        cluster.script(When::produce().nth(nth), Action::DropAfter);
        for _ in 0..8 {
            rig.send("t", 0, 3);
        }
        rig.settle();
        assert_eq!(log(&cluster, "t", 0), (1..=24).collect::<Vec<u64>>());
        assert_eq!(rig.acked, (1..=24).collect::<Vec<u64>>());
    }
}

#[test]
fn a_restarted_broker_that_remembers_only_the_last_batch_gets_nothing_twice() {
    let (cluster, mut rig) = rig(1, 1);
    rig.send("t", 0, 1);
    rig.settle();
    // Three are appended and their answers never come; then the broker restarts.
    cluster.script(When::produce().times(3), Action::SilenceAfter);
    for _ in 0..3 {
        rig.send("t", 0, 2);
    }
    cluster.wait_until("all appended", PATIENCE, |s| s.topic_record_count("t") == 7);
    cluster.restart(1);
    rig.settle();
    rig.send("t", 0, 1);
    rig.settle();
    assert_eq!(log(&cluster, "t", 0), (1..=8).collect::<Vec<u64>>());
    assert_eq!(rig.producer.status().totals.maybe_duplicate_records, 0);
}

#[test]
fn data_that_the_broker_lost_is_sent_again_under_a_new_epoch() {
    let (cluster, mut rig) = rig(1, 1);
    rig.send("t", 0, 1);
    rig.send("t", 0, 1);
    rig.settle();
    cluster.lose_tail("t", 0, 1);
    rig.send("t", 0, 1);
    rig.settle();
    // Event 2 was acknowledged by all replicas and lost by the cluster: not ours to find.
    assert_eq!(log(&cluster, "t", 0), [1, 3]);
    let epochs: Vec<i16> = cluster
        .batches("t", 0)
        .iter()
        .map(|b| b.batch.epoch)
        .collect();
    assert_eq!(epochs, [0, 1]);
}

#[test]
fn a_moved_leader_is_followed() {
    let (cluster, mut rig) = rig(3, 1);
    rig.send("t", 0, 1);
    rig.settle();
    for to in [2, 3, 1] {
        cluster.move_leader("t", 0, to);
        for _ in 0..7 {
            rig.send("t", 0, 1);
        }
        rig.settle();
    }
    assert_eq!(log(&cluster, "t", 0), (1..=22).collect::<Vec<u64>>());
    assert_eq!(cluster.requests().last().expect("a request").broker, 1);
}

#[test]
fn every_retriable_code_is_retried_without_loss_or_doubles() {
    for error in [
        -1, 2, 3, 5, 6, 7, 8, 9, 13, 19, 20, 56, 72, 74, 75, 89, 100, 999,
    ] {
        for action in [Action::Error(error), Action::ErrorAfter(error)] {
            let after = matches!(action, Action::ErrorAfter(_));
            if after && !matches!(error, -1 | 7 | 13 | 20 | 999) {
                continue; // these codes say that nothing was appended
            }
            let (cluster, mut rig) = rig(1, 1);
            cluster.script(When::produce().partition("t", 0).nth(2).times(2), action);
            for _ in 0..8 {
                rig.send("t", 0, 2);
            }
            rig.settle();
            let all: Vec<u64> = (1..=16).collect();
            assert_eq!(
                log(&cluster, "t", 0),
                all,
                "code {error}, after append: {after}"
            );
        }
    }
}

#[test]
fn identity_errors_lead_to_a_new_identity() {
    for error in [47, 59, 90] {
        let (cluster, mut rig) = rig(1, 1);
        rig.send("t", 0, 1);
        rig.settle();
        cluster.script(
            When::produce().partition("t", 0).times(4),
            Action::Error(error),
        );
        for _ in 0..4 {
            rig.send("t", 0, 1);
        }
        rig.settle();
        assert_eq!(log(&cluster, "t", 0), [1, 2, 3, 4, 5], "code {error}");
    }
}

#[test]
fn a_batch_too_large_comes_back_with_those_behind_it() {
    for error in [10, 18] {
        let (cluster, mut rig) = rig(1, 1);
        rig.send("t", 0, 1);
        rig.settle();
        cluster.script(
            When::produce().partition("t", 0).nth(2),
            Action::Error(error),
        );
        for _ in 0..4 {
            rig.send("t", 0, 2);
        }
        rig.settle();
        assert_eq!(rig.acked, [1, 2, 3]);
        let mut reports = std::mem::take(&mut rig.back).into_iter();
        let Some(Report::Refused {
            refused,
            verdict,
            mut returned,
            ..
        }) = reports.next()
        else {
            panic!("no refusal comes first")
        };
        assert!(matches!(verdict, Refusal::TooLarge { .. }), "{verdict:?}");
        assert_eq!(refused.iter().collect::<Vec<_>>(), [4, 5]);
        // What was sent before the refusal was known comes back by itself.
        for report in reports {
            let Report::Returned { returned: late, .. } = report else {
                panic!("{report:?}")
            };
            returned.batches.extend(late.batches);
        }
        rig.resend("t", 0, &refused);
        for ranges in &returned.batches {
            rig.resend("t", 0, ranges);
        }
        rig.settle();
        assert_eq!(log(&cluster, "t", 0), (1..=9).collect::<Vec<u64>>());
    }
}

#[test]
fn an_invalid_record_is_named_by_its_index() {
    let (cluster, mut rig) = rig(1, 1);
    rig.send("t", 0, 1);
    rig.settle();
    cluster.script(When::produce(), Action::RejectRecord(2, "not wanted"));
    rig.send("t", 0, 4);
    rig.settle();
    let back = rig.back.pop().expect("a report");
    let Report::Refused { verdict, .. } = back else {
        panic!("{back:?}")
    };
    let Refusal::Invalid { record_index, .. } = verdict else {
        panic!("{verdict:?}")
    };
    assert_eq!(record_index, Some(2));
}

#[test]
fn malformed_answers_cost_the_connection_and_nothing_else() {
    let bad = [
        Action::Malformed(vec![0xff; 40]),
        Action::Malformed(vec![0x7f, 0xff, 0xff, 0xff]),
        Action::FrameLength(i32::MAX),
        Action::FrameLength(-1),
        Action::WrongCorrelationId,
        Action::Truncated(3),
        Action::CutShort,
    ];
    for action in bad {
        let (cluster, mut rig) = rig(1, 1);
        let words = format!("{action:?}");
        cluster.script(When::produce().nth(2), action);
        for _ in 0..5 {
            rig.send("t", 0, 2);
        }
        rig.settle();
        assert_eq!(
            log(&cluster, "t", 0),
            (1..=10).collect::<Vec<u64>>(),
            "{words}"
        );
    }
}

#[test]
fn no_record_is_sent_before_there_is_a_producer_id() {
    let cluster = Cluster::start(1);
    cluster.create_topic("t", 1);
    let loading = Action::Error(code::COORDINATOR_LOAD_IN_PROGRESS);
    cluster.script(When::api(Api::InitProducerId).times(3), loading);
    let mut rig = Rig::start(&config(&cluster.bootstrap()));
    rig.send("t", 0, 5);
    rig.settle();
    assert_eq!(cluster.count(Api::InitProducerId), 4);
    assert!(
        cluster
            .batches("t", 0)
            .iter()
            .all(|b| b.batch.producer_id >= 0)
    );
}

#[test]
fn a_dead_partition_does_not_hold_up_the_others() {
    let (cluster, mut rig) = rig(1, 3);
    cluster.script(
        When::produce().partition("t", 1).always(),
        Action::Error(19),
    );
    rig.send("t", 1, 1);
    for _ in 0..10 {
        rig.send("t", 0, 1);
        rig.send("t", 2, 1);
    }
    cluster.wait_until("the healthy ones are stored", PATIENCE, |state| {
        state.topic_record_count("t") == 20
    });
    cluster.clear_script();
    rig.settle();
    assert_eq!(log(&cluster, "t", 1), [1]);
}

#[test]
fn a_dead_broker_does_not_hold_up_the_others() {
    let (cluster, mut rig) = rig(2, 2);
    rig.send("t", 0, 1);
    rig.send("t", 1, 1);
    rig.settle();
    cluster.broker_down(1);
    rig.send("t", 0, 1);
    for _ in 0..10 {
        rig.send("t", 1, 1);
    }
    cluster.wait_until("the live one has its records", PATIENCE, |s| {
        s.topic_record_count("t") == 12
    });
    cluster.broker_up(1);
    rig.settle();
    assert_eq!(log(&cluster, "t", 0), [1, 3]);
}

#[test]
fn an_unknown_topic_returns_its_batches_and_shows_in_the_view() {
    let (cluster, mut rig) = rig(1, 1);
    let missing = topic("missing");
    rig.producer.want_topic(&missing);
    rig.wait("the topic fails", |p| {
        matches!(
            p.cluster().topics.get(&missing),
            Some(TopicView::Failing {
                permanent_candidate: true,
                ..
            })
        )
    });
    let ranges = rig.send("missing", 0, 3);
    rig.settle();
    let back = rig.back.pop().expect("a report");
    let Report::Returned { returned, reason } = back else {
        panic!("{back:?}")
    };
    assert_eq!(returned.batches, std::slice::from_ref(&ranges));
    assert!(reason.contains("does not exist"), "{reason}");
    cluster.create_topic("missing", 1);
    rig.wait("the topic is known", |p| {
        matches!(
            p.cluster().topics.get(&missing),
            Some(TopicView::Known { .. })
        )
    });
    rig.resend("missing", 0, &ranges);
    rig.settle();
    assert_eq!(log(&cluster, "missing", 0), [1, 2, 3]);
}

#[test]
fn a_topic_without_the_right_to_write_returns_its_batches_until_the_right_is_there() {
    let (cluster, mut rig) = rig(1, 1);
    let denied = Action::Error(29);
    cluster.script(When::produce().partition("t", 0).always(), denied);
    let ranges = rig.send("t", 0, 3);
    rig.settle();
    let back = rig.back.pop().expect("a report");
    assert!(matches!(back, Report::Returned { .. }), "{back:?}");
    let name = topic("t");
    rig.wait("the topic fails", |p| {
        matches!(
            p.cluster().topics.get(&name),
            Some(TopicView::Failing { .. })
        )
    });
    cluster.clear_script();
    rig.wait("the topic may be tried again", |p| {
        matches!(p.cluster().topics.get(&name), Some(TopicView::Known { .. }))
    });
    rig.resend("t", 0, &ranges);
    rig.settle();
    assert_eq!(log(&cluster, "t", 0), [1, 2, 3]);
}

#[test]
fn a_producer_started_before_its_brokers_delivers_once_they_are_there() {
    let cluster = Cluster::start(1);
    cluster.create_topic("t", 1);
    cluster.broker_down(1);
    let mut rig = Rig::start(&config(&cluster.bootstrap()));
    rig.send("t", 0, 2);
    rig.wait("the failure is told", |p| {
        p.status().control.error.is_some()
    });
    cluster.broker_up(1);
    rig.settle();
    assert_eq!(log(&cluster, "t", 0), [1, 2]);
}

#[test]
fn close_waits_for_answers_and_gives_back_the_rest() {
    let (cluster, mut rig) = rig(1, 1);
    rig.send("t", 0, 1);
    rig.settle();
    cluster.script(When::produce(), Action::Delay(Duration::from_millis(300)));
    for _ in 0..7 {
        rig.send("t", 0, 1);
    }
    cluster.wait_until("on the wire", PATIENCE, |s| s.topic_record_count("t") >= 2);
    let (acked, back) = rig.close(Duration::from_secs(5));
    let returned: usize = back
        .iter()
        .map(|report| match report {
            Report::Returned { returned, .. } => returned.batches.len(),
            other => panic!("{other:?}"),
        })
        .sum();
    assert_eq!(acked.len() + returned, 8);
    assert_eq!(
        log(&cluster, "t", 0),
        acked,
        "everything in the log was acknowledged"
    );
}
