//! The transactional id and the position topic, as the daemon will use them.
//!
//! Takes no producer id: that would fence the daemon that runs. Whether the id may be used is
//! seen by the end of a transaction that cannot be: the coordinator looks at the right first
//! and refuses the unknown producer then (`kafka.server.KafkaApis`, 3.9 and 4.4).

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::topic::Wanted;
use super::{Exam, Finding, Kind, NOT_LED, Step};
use crate::clock::unix_ms;
use crate::config::{KafkaConfig, TransactionConfig};
use crate::kafka::TopicPartition;
use crate::kafka::code;
use crate::kafka::core::Identity;
use crate::kafka::outcome::verdict;
use crate::kafka::rights::{self, On, Right};
use crate::kafka::session::Session;
use crate::kafka::tools;
use crate::kafka::wire::{
    CoordinatorQuery, EndTxn, Fetch, Metadata, MetadataTopic, Settings, SettingsOf, SettingsQuery,
    StateQuery, TransactionState,
};

/// A producer that no coordinator knows: they count up from 0.
const UNKNOWN: Identity = Identity {
    id: i64::MAX,
    epoch: 0,
};

/// Kafka's word for a transaction that is neither committed nor aborted.
const ONGOING: &str = "Ongoing";

/// The broker's setting that bounds `transaction.timeout.ms`, in milliseconds.
const LONGEST: &str = "transaction.max.timeout.ms";

/// What the position topic has to be created with.
const COMPACT: [&str; 2] = ["--config", "cleanup.policy=compact"];

impl Exam<'_> {
    pub(super) async fn transaction(
        &mut self,
        session: &Session,
        cluster: &Metadata,
        config: &TransactionConfig,
    ) {
        let begin = Instant::now();
        match self.coordinator(session, config).await {
            Ok(broker) => {
                let finding = self.transactional_id(broker, config).await;
                self.note(finding.since(begin));
                let begin = Instant::now();
                let finding = self.longest(broker, config).await;
                self.note(finding.since(begin));
            }
            Err(finding) => self.note(finding.since(begin)),
        }
        let wanted = Wanted {
            name: &config.position_topic,
            rights: &rights::OF_POSITIONS,
            options: &COMPACT,
        };
        let Some(topic) = self.existing(session, cluster, wanted).await else {
            return;
        };
        let name = &config.position_topic;
        let settings = self.settings(session, name).await;
        self.partitions(topic, settings.as_ref());
        if let Some(settings) = &settings {
            self.note(compaction(name, settings, &self.plan.kafka));
        }
        self.may_write(session, topic, name).await;
        self.may_read(topic, name).await;
    }

    /// The broker that coordinates the id.
    async fn coordinator(
        &self,
        session: &Session,
        config: &TransactionConfig,
    ) -> Result<i32, Finding> {
        let subject = &*config.id;
        let query = CoordinatorQuery {
            transactional_id: config.id.clone(),
        };
        let skip = |reason: String| Finding::skip(Step::Transaction, subject, reason);
        let found = session.ask(query).await.map_err(skip)?;
        match found.code {
            code::NONE => Ok(found.broker.id),
            code::TRANSACTIONAL_ID_AUTHORIZATION_FAILED => Err(self.no_right(subject, "see")),
            code => {
                let what = format!("no coordinator: {}", verdict(code));
                let todo = "a cluster says this for a moment at the first transaction of all; if \
                            it stays so, it has fewer brokers than \
                            transaction.state.log.replication.factor";
                let kind = Kind::Partition;
                Err(Finding::warn(Step::Transaction, subject, kind, what, todo))
            }
        }
    }

    /// Whether the id may be used, and what it is doing.
    async fn transactional_id(&self, broker: i32, config: &TransactionConfig) -> Finding {
        let subject = &*config.id;
        let skip = |what: String| Finding::skip(Step::Transaction, subject, what);
        let coordinator = format!("coordinator: broker {broker}");
        let Some(session) = self.sessions.get(&broker) else {
            return skip(format!("{coordinator}, which cannot be reached; see above"));
        };
        let end = EndTxn {
            transactional_id: config.id.clone(),
            identity: UNKNOWN,
            commit: false,
        };
        match session.ask(end).await.map(|ended| ended.code) {
            Ok(code::INVALID_PRODUCER_ID_MAPPING) => {}
            Ok(code::TRANSACTIONAL_ID_AUTHORIZATION_FAILED) => {
                return self.no_right(subject, "use");
            }
            Ok(code) => {
                let words = verdict(code);
                return skip(format!(
                    "{coordinator}, which does not tell rights: {words}"
                ));
            }
            Err(reason) => return skip(format!("{coordinator}: {reason}")),
        }
        let query = StateQuery {
            transactional_id: config.id.clone(),
        };
        let may = format!("{coordinator}, this login may use it");
        match session.ask(query).await {
            Ok(state) => in_use(subject, &may, &state, config.timeout),
            // As from a broker before Kafka 3.0.
            Err(reason) => {
                let what = format!("{may}; its state is not told: {reason}");
                Finding::ok(Step::Transaction, subject, what)
            }
        }
    }

    /// Whether the coordinator takes our timeout. By its settings: the question itself would
    /// fence the daemon where the answer is yes.
    async fn longest(&self, broker: i32, config: &TransactionConfig) -> Finding {
        let skip = |why: &str| {
            let what = format!(
                "{LONGEST} is not told ({why}): that takes the right DESCRIBE_CONFIGS on the \
                 cluster, which delivery does not need"
            );
            Finding::skip(Step::Transaction, &config.id, what)
        };
        let Some(session) = self.sessions.get(&broker) else {
            return skip("the coordinator cannot be reached");
        };
        let query = SettingsQuery {
            of: SettingsOf::Broker(broker),
            names: &[LONGEST],
        };
        match session.ask(query).await {
            Ok(settings) if settings.code == code::NONE => match settings.number(LONGEST) {
                Some(longest) => fits(&config.id, config.timeout, longest),
                None => skip("no such setting"),
            },
            Ok(settings) => skip(verdict(settings.code).name),
            Err(reason) => skip(&reason),
        }
    }

    fn no_right(&self, id: &str, verb: &str) -> Finding {
        let what = format!("this login may not {verb} it (TRANSACTIONAL_ID_AUTHORIZATION_FAILED)");
        let on = On::TransactionalId(id);
        let grant = rights::grant(&self.plan.kafka, on, &rights::OF_TRANSACTIONAL_ID);
        Finding::fail(Step::Transaction, id, Kind::Permission, what, grant)
    }

    /// By a fetch of nothing from the leader.
    async fn may_read(&mut self, topic: &MetadataTopic, name: &Arc<str>) {
        let Some((partition, session)) = self.led(topic) else {
            return self.note(Finding::skip(Step::Transaction, name, NOT_LED));
        };
        let begin = Instant::now();
        let topic = name.clone();
        let query = Fetch {
            of: TopicPartition { topic, partition },
            offset: 0, // below the first one is no matter: the right is looked at before
            max_bytes: 1,
        };
        let finding = match session.ask(query).await.map(|fetched| fetched.code) {
            Ok(code::TOPIC_AUTHORIZATION_FAILED) => {
                let what = "this login may not read the position back \
                            (TOPIC_AUTHORIZATION_FAILED)";
                let grant = rights::grant(&self.plan.kafka, On::Topic(name), &[Right::Read]);
                Finding::fail(Step::Transaction, name, Kind::Permission, what, grant)
            }
            Ok(_) => Finding::ok(Step::Transaction, name, "the position can be read back"),
            Err(reason) => Finding::skip(Step::Transaction, name, reason),
        };
        self.note(finding.since(begin));
    }
}

/// What the coordinator knows of an id that may be used.
fn in_use(id: &str, may: &str, state: &TransactionState, timeout: Duration) -> Finding {
    let ok = |words: &str| Finding::ok(Step::Transaction, id, format!("{may}; {words}"));
    if state.code == code::TRANSACTIONAL_ID_NOT_FOUND {
        return ok("not used so far");
    }
    if state.code != code::NONE {
        return ok(verdict(state.code).name);
    }
    if state.state != ONGOING {
        return ok(&format!("no transaction is open ({})", state.state));
    }
    let open = u64::try_from(unix_ms().saturating_sub(state.began_ms)).unwrap_or(0);
    let open = Duration::from_millis(open);
    let words = format!(
        "a transaction is open for {:.1} s, in {} partitions",
        open.as_secs_f32(),
        state.partitions
    );
    if open < timeout {
        return ok(&words);
    }
    let what = format!("{may}; {words}, longer than transaction.timeout.ms");
    let todo = "consumers of committed records wait for it in these partitions. A daemon with \
                this id ends it at its start; `kafka-transactions.sh` lists and aborts by hand";
    Finding::warn(Step::Transaction, id, Kind::Partition, what, todo)
}

/// Our timeout against the longest that the coordinator takes, in milliseconds.
fn fits(id: &str, timeout: Duration, longest: i64) -> Finding {
    let sum = format!(
        "transaction.timeout.ms is {}, the broker's {LONGEST} {longest}",
        timeout.as_millis()
    );
    if timeout.as_millis() <= u128::try_from(longest).unwrap_or(0) {
        return Finding::ok(Step::Transaction, id, sum);
    }
    let what = format!("{sum}: the id is refused (INVALID_TRANSACTION_TIMEOUT)");
    let todo = format!(
        "set transaction.timeout.ms = {longest} or less, or raise {LONGEST} in the \
         configuration of every broker"
    );
    Finding::fail(Step::Transaction, id, Kind::Setting, what, todo)
}

/// Whether the topic keeps the positions.
fn compaction(topic: &Arc<str>, settings: &Settings, config: &KafkaConfig) -> Finding {
    match settings.text("cleanup.policy") {
        Some("compact") => Finding::ok(Step::Transaction, topic, "compacted, as it has to be"),
        Some(policy) => {
            let what = format!("cleanup.policy is {policy}: positions would be deleted by age");
            let todo = format!(
                "delivery waits until it is compact: {}",
                tools::set_of_topic(config, topic, "cleanup.policy=compact")
            );
            Finding::fail(Step::Transaction, topic, Kind::Topic, what, todo)
        }
        None => {
            let what = "the broker does not tell cleanup.policy";
            Finding::skip(Step::Transaction, topic, what)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_that_is_over_its_time_is_warned_of() {
        let state = |seconds: i64, state: &str| TransactionState {
            code: 0,
            state: state.to_owned(),
            began_ms: unix_ms() - seconds * 1000,
            partitions: 3,
        };
        let timeout = Duration::from_secs(60);
        let look = |state: &TransactionState| in_use("edge", "may", state, timeout);
        let young = look(&state(5, ONGOING));
        assert!(young.what.contains("open for 5.") && young.what.contains("3 partitions"));
        assert_eq!(young.verdict, super::super::Verdict::Ok);
        let old = look(&state(61, ONGOING));
        assert!(matches!(old.verdict, super::super::Verdict::Warn(_)));
        let done = look(&state(61, "CompleteCommit"));
        assert_eq!(done.what, "may; no transaction is open (CompleteCommit)");
    }
}
