//! Transactions of a login that has not all rights, or loses one: the daemon runs and takes
//! events, says what is missing and what gives it, and goes on by itself once it has it.

use spoolway_test_support::daemon::{Daemon, Writer};
use spoolway_test_support::kafka::wait::wait_for;
use spoolway_test_support::kafka::{Kafka, Listener, Version};
use spoolway_test_support::wire::{Access, Admin, Operation, Resource};

use crate::transaction_rig::{
    WITHIN, as_alice, assert_each_once, daemon, positions, transaction, wait_drained, write,
};

const ALICE: &str = "User:alice";

/// A daemon of user alice, who may write the topic of the events and nothing else.
fn of_alice(kafka: &Kafka, id: &str) -> Daemon {
    let daemon = as_alice(daemon(kafka, id, 2), kafka);
    kafka.admin().allow_produce("alice", id).unwrap();
    daemon.start().unwrap()
}

fn allow(admin: &Admin, resource: Resource<'_>, operation: Operation) {
    admin
        .create_acl(ALICE, resource, operation, Access::Allow)
        .unwrap();
}

/// Waits until the daemon says these words, and shows that it still takes events.
fn says(daemon: &Daemon, writer: &mut Writer, next: &mut u64, words: &[&str]) {
    let found = wait_for(WITHIN, &words.join(" … "), || {
        let status = daemon.status_json()?;
        let halted = status["kafka"]["halted"].as_str().unwrap_or_default();
        Ok(words.iter().all(|words| halted.contains(words)))
    });
    if let Err(error) = found {
        panic!("{error:#}\n{:#}", daemon.status_json().unwrap()["kafka"]);
    }
    write(writer, *next..*next + 10);
    *next += 10;
}

fn each_missing_right_is_named_and_taken_up(kafka: &Kafka) {
    let id = "txn-rights";
    let topic = positions(id);
    let admin = kafka.admin();
    let daemon = of_alice(kafka, id);
    let (on_id, on_topic) = (Resource::TransactionalId(id), Resource::Topic(&topic));
    let mut writer = daemon.writer().unwrap();
    let mut next = 0;
    let mut says = |words: &[&str]| says(&daemon, &mut writer, &mut next, words);

    let server = kafka.address(Listener::SaslPlaintext);
    let whole = format!(
        "`kafka-acls.sh --bootstrap-server {server} --add --allow-principal User:alice \
         --operation Write --operation Describe --transactional-id txn-rights`"
    );
    says(&["no right to use transactional.id", &whole]);
    // Enough to find the coordinator, and not to be its producer.
    allow(&admin, on_id, Operation::Describe);
    says(&["no right to use transactional.id", &whole]);
    allow(&admin, on_id, Operation::Write);

    let both = format!("--operation Write --operation Read --topic {topic}`");
    says(&["no right to write and read the position topic", &both]);
    allow(&admin, on_topic, Operation::Describe);
    says(&["no right to write and read the position topic", &both]);
    allow(&admin, on_topic, Operation::Read);
    let one = format!("--allow-principal User:alice --operation Write --topic {topic}`");
    says(&["no right to write the position topic", &one]);
    let records = admin.read_all(id).unwrap();
    assert!(
        records.is_empty(),
        "nothing is sent that cannot be committed"
    );
    allow(&admin, on_topic, Operation::Write);
    wait_drained(&daemon);
    assert_each_once(kafka, id, 50);

    // And taken away while events flow.
    for (lost, operations, words) in [
        (on_id, &[Operation::Write][..], &*whole),
        (on_topic, &[Operation::Read, Operation::Write], &*both),
    ] {
        admin.delete_acls(ALICE, lost).unwrap();
        // The broker takes the change up a moment later, so that some are still committed.
        wait_for(WITHIN, words, || {
            let next = next_of(&daemon);
            write(&mut daemon.writer()?, next..next + 10);
            let halted = daemon.status_json()?["kafka"]["halted"].clone();
            Ok(halted.as_str().unwrap_or_default().contains(words))
        })
        .unwrap_or_else(|error| panic!("{error:#}\n{}", daemon.log()));
        for operation in operations {
            allow(&admin, lost, *operation);
        }
        wait_drained(&daemon);
        assert_each_once(kafka, id, next_of(&daemon));
    }
    assert_ne!(transaction(&daemon, "aborted"), 0);
}

/// The number of the next event: as many as were taken.
fn next_of(daemon: &Daemon) -> u64 {
    daemon.status_json().unwrap()["ledger"]["accepted"]
        .as_u64()
        .unwrap()
}

#[test]
fn each_missing_right_is_named_and_taken_up_on_the_newest_kafka() {
    each_missing_right_is_named_and_taken_up(Kafka::shared());
}

#[test]
fn each_missing_right_is_named_and_taken_up_on_kafka_3_9() {
    let kafka = Kafka::builder().version(Version::V3_9).start().unwrap();
    each_missing_right_is_named_and_taken_up(&kafka);
}
