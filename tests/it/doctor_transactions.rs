//! `spoolway kafka test` with a transactional id: each trouble is named, the daemon that runs
//! is not disturbed, and a record that readers of committed records cannot see is said to be
//! so.

use spoolway_test_support::kafka::wait::wait_for;
use spoolway_test_support::kafka::{Kafka, Listener, Version};
use spoolway_test_support::wire::{Access, Operation, Resource};

use crate::doctor::{Config, Exam, at, plain};
use crate::transaction_rig::{WITHIN, daemon, positions, transaction, wait_drained, write};

fn lines(id: &str) -> String {
    let topic = positions(id);
    format!("transactional.id = \"{id}\"\ntransactional.position.topic = \"{topic}\"\n")
}

fn every_trouble_of_transactions_is_named(kafka: &Kafka) {
    let id = "doctor-txn";
    let topic = positions(id);
    let admin = kafka.admin();
    admin.create_topic(id, 1, &[]).unwrap();
    admin.allow_produce("alice", id).unwrap();
    let login = "allow_sasl_plaintext = true\nsasl.mechanism = \"PLAIN\"\n\
                 sasl.username = \"alice\"\nsasl.password = \"alice-secret\"\n";
    let alice = at(kafka, Listener::SaslPlaintext, "SASL_PLAINTEXT") + login + &lines(id);
    let alice = Config::new(&alice, &[id]);
    let root = Config::new(&(plain(kafka) + &lines(id)), &[id]);
    let allow = |resource, operation| {
        let allow = Access::Allow;
        admin.create_acl("User:alice", resource, operation, allow)
    };
    let denied = |step: &str, cause: &str, advice: &str| {
        alice
            .examine(&[])
            .fails(step, "permission", 77, cause, advice);
    };

    let grant = format!("--operation Write --operation Describe --transactional-id {id}`");
    denied("transaction", "may not see it", &grant);
    allow(Resource::TransactionalId(id), Operation::Describe).unwrap();
    // The first question of all has the broker make its own topic of transactions.
    wait_for(WITHIN, "a coordinator", || {
        let found = alice.examine(&[]).step("transaction");
        Ok(!found[0].1.contains("no coordinator"))
    })
    .unwrap();
    denied("transaction", "may not use it", &grant);
    allow(Resource::TransactionalId(id), Operation::Write).unwrap();
    let grant = format!("--operation Write --operation Read --topic {topic}`");
    denied("topic", "may not see it", &grant);

    let create = format!("--create --topic {topic} --config cleanup.policy=compact`");
    root.examine(&[])
        .fails("topic", "topic", 66, "does not exist", &create);
    admin
        .create_topic(&topic, 1, &[("cleanup.policy", "delete")])
        .unwrap();
    root.examine(&[]).fails(
        "transaction",
        "topic",
        66,
        "positions would be deleted by age",
        "--add-config cleanup.policy=compact`",
    );
    let compact = [("cleanup.policy", Some("compact"))];
    admin.alter_topic_configs(&topic, &compact).unwrap();

    allow(Resource::Topic(&topic), Operation::Describe).unwrap();
    denied("write", "not write it", &format!("Write --topic {topic}`"));
    allow(Resource::Topic(&topic), Operation::Write).unwrap();
    let grant = format!("--operation Read --topic {topic}`");
    denied("transaction", "may not read the position back", &grant);
    allow(Resource::Topic(&topic), Operation::Read).unwrap();
    let exam = alice.examine(&[]);
    exam.is_ok();
    says(&exam, "this login may use it; not used so far");
    says(&exam, "the position can be read back");
    let unasked = "transaction.max.timeout.ms is not told (CLUSTER_AUTHORIZATION_FAILED)";
    let skipped =
        |(result, what, _): &(String, String, String)| result == "SKIP" && what.contains(unasked);
    assert!(
        exam.step("transaction").iter().any(skipped),
        "{:#}",
        exam.answer
    );
    let exam = root.examine(&[]);
    exam.is_ok();
    says(&exam, "compacted, as it has to be");
    says(&exam, "transaction.max.timeout.ms 900000");
    assert!(
        admin.read_all(&topic).unwrap().is_empty(),
        "nothing is written"
    );
}

/// One of the steps about transactions is well and says these words.
#[track_caller]
fn says(exam: &Exam, words: &str) {
    let found = exam.step("transaction");
    let said =
        |(result, what, _): &(String, String, String)| result == "OK" && what.contains(words);
    assert!(found.iter().any(said), "{words}: {:#}", exam.answer);
}

#[test]
fn every_trouble_of_transactions_is_named_on_the_newest_kafka() {
    every_trouble_of_transactions_is_named(Kafka::shared());
}

#[test]
fn every_trouble_of_transactions_is_named_on_kafka_3_9() {
    let kafka = Kafka::builder().version(Version::V3_9).start().unwrap();
    every_trouble_of_transactions_is_named(&kafka);
}

#[test]
fn a_test_beside_the_running_daemon_ends_and_fences_nothing() {
    let kafka = Kafka::shared();
    let id = "doctor-beside";
    let daemon = daemon(kafka, id, 1)
        .kafka("linger.ms = 3000")
        .start()
        .unwrap();
    let config = Config::new(&(plain(kafka) + &lines(id)), &[id]);
    let mut writer = daemon.writer().unwrap();
    let mut sent = 0;
    // Larger than a batch, so that some of it is sent while the run is still filled.
    wait_for(WITHIN, "a look at an open transaction", || {
        write(&mut writer, sent..sent + 20_000);
        sent += 20_000;
        let exam = config.examine(&[]);
        exam.is_ok();
        let found = exam.step("transaction");
        Ok(found[0].1.contains("a transaction is open for") && found[0].1.contains("partitions"))
    })
    .unwrap();
    config.examine(&["--send", "--topic", id]).is_ok();
    write(&mut writer, sent..sent + 10);
    wait_drained(&daemon);
    assert_eq!(transaction(&daemon, "aborted"), 0, "{}", daemon.log());
    let sent = sent + 10;
    let records = kafka.admin().read_committed(id).unwrap();
    assert_eq!(records.len() as u64, sent + 1, "and the marked one");
}

#[test]
fn a_record_that_an_open_transaction_hides_is_said_to_be_hidden() {
    let kafka = Kafka::shared();
    let id = "doctor-hidden-txn";
    let mut daemon = daemon(kafka, id, 1)
        .kafka("transaction.timeout.ms = 600000\nlinger.ms = 10000")
        .start()
        .unwrap();
    write(&mut daemon.writer().unwrap(), 0..40_000);
    wait_for(WITHIN, "an open transaction", || {
        Ok(kafka.admin().count(id)? > 0)
    })
    .unwrap();
    daemon.kill9().unwrap();
    let config = Config::new(&plain(kafka), &[id]);
    let exam = config.examine(&["--send", "--topic", id]);
    // It is stored, and other consumers see it.
    exam.is_ok();
    let hidden = exam.step("send").pop().unwrap();
    assert_eq!(hidden.0, "WARN");
    let cause = "read_committed do not see it: a transaction is open since offset 0";
    assert!(hidden.1.contains(cause), "{}", hidden.1);
    let advice = format!("describe-producers --topic {id} --partition 0`");
    assert!(hidden.2.contains(&advice), "{}", hidden.2);
    daemon.start().unwrap();
    wait_drained(&daemon);
    let exam = config.examine(&["--send", "--topic", id]);
    let seen = exam.step("send").pop().unwrap();
    assert!(
        seen.0 == "OK" && seen.1.contains("consumers can read it"),
        "{seen:?}"
    );
}

#[test]
fn a_timeout_that_the_broker_does_not_take_is_named_with_its_cure_by_the_test_and_the_daemon() {
    let kafka = Kafka::builder()
        .property("transaction.max.timeout.ms", "20000")
        .start()
        .unwrap();
    let id = "doctor-long";
    let mut daemon = daemon(&kafka, id, 1).start().unwrap();
    let mut writer = daemon.writer().unwrap();
    writer.send(b"{\"n\":0}").unwrap();
    wait_for(WITHIN, "the words in status", || {
        let words = daemon.status_json()?["kafka"]["halted"].to_string();
        let is_named = words.contains("transaction.timeout.ms = 60000 is above the broker's");
        Ok(is_named && words.contains("lower it"))
    })
    .unwrap();
    let config = Config::new(&(plain(&kafka) + &lines(id)), &[id]);
    config.examine(&[]).fails(
        "transaction",
        "setting",
        65,
        "transaction.timeout.ms is 60000, the broker's transaction.max.timeout.ms 20000",
        "set transaction.timeout.ms = 20000 or less",
    );
    let shorter = lines(id) + "transaction.timeout.ms = 20000\n";
    let config = Config::new(&(plain(&kafka) + &shorter), &[id]);
    config.examine(&[]).is_ok();
    // The advice is taken, and what waited is delivered.
    daemon.kill9().unwrap();
    let text = std::fs::read_to_string(daemon.config()).unwrap();
    let line = "[kafka]\ntransaction.timeout.ms = 20000\n";
    std::fs::write(daemon.config(), text.replacen("[kafka]\n", line, 1)).unwrap();
    daemon.start().unwrap();
    wait_drained(&daemon);
}
