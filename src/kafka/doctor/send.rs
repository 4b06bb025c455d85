//! One marked record into a test topic, where it landed, and whether consumers see it. Only
//! when asked for.
//!
//! Sent without a producer id and outside of a transaction, so that it cannot disturb the
//! daemon's own sequence, nor fence it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::clock::{Skew, judge};
use super::{Exam, Finding, Kind, NOT_LED, Step};
use crate::clock::unix_ms;
use crate::config::{Compression, KafkaConfig};
use crate::kafka::batch::Stamp;
use crate::kafka::code;
use crate::kafka::core::Identity;
use crate::kafka::outcome::{Outcome, verdict};
use crate::kafka::session::Session;
use crate::kafka::tools;
use crate::kafka::wire::{
    Metadata, Produce, ProducedPart, StableEndQuery, TopicBatches, broker_share,
};
use crate::kafka::{BatchBuilder, HeaderRef, RecordRef, TopicPartition};

/// Header by which the record is known; its value is the mark.
const MARK_HEADER: &str = "spoolway-test";

/// Longest wait for the end of transactions that hide the record, and how often it is asked
/// for: a healthy one ends within a second.
const VISIBLE_WITHIN: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(100);

impl Exam<'_> {
    /// Writes the record to the first partition that can be written.
    pub(super) async fn send(&mut self, cluster: &Metadata, topic: &Arc<str>) {
        let known = cluster.topics.iter().find(|t| *t.name == **topic);
        let Some((partition, session)) = known.and_then(|known| self.led(known)) else {
            self.note(Finding::skip(Step::Send, topic, NOT_LED));
            return;
        };
        let config = &self.plan.kafka;
        let of = TopicPartition {
            topic: topic.clone(),
            partition,
        };
        let mark = format!("{:016x}", fastrand::u64(..));
        let begin = Instant::now();
        let before = unix_ms();
        let part = write(session, &of, &mark, before, config.request_timeout).await;
        let after = unix_ms();
        let finding = landed(topic, partition, &mark, &part).since(begin);
        let stored = part.as_ref().ok().filter(|part| part.code == code::NONE);
        let seen = match stored {
            Some(part) => Some(visible(session, &of, part.base_offset, config).await),
            None => None,
        };
        self.note(finding);
        if let Some(seen) = seen {
            self.note(seen);
        }
        if let Some(part) = stored.filter(|part| part.append_time_ms > 0) {
            let skew = Skew::between(before, part.append_time_ms, after);
            self.note(judge(skew, self.window));
        }
    }
}

async fn write(
    session: &Session,
    of: &TopicPartition,
    mark: &str,
    now_ms: i64,
    limit: Duration,
) -> Result<ProducedPart, String> {
    let request = Produce {
        acks: -1,
        transactional_id: None,
        timeout_ms: broker_share(limit),
        topics: vec![TopicBatches {
            topic: of.topic.clone(),
            batches: vec![(of.partition, record(mark, now_ms)?)],
        }],
    };
    let answer = session.ask(request).await?;
    let part = answer.parts.into_iter().next();
    part.ok_or("an empty answer".to_owned())
}

/// Whether readers of committed records see this offset, or a transaction before it that is
/// still open keeps them from it.
async fn visible(
    session: &Session,
    of: &TopicPartition,
    offset: i64,
    config: &KafkaConfig,
) -> Finding {
    let begin = Instant::now();
    loop {
        let query = StableEndQuery { of: of.clone() };
        let end = match session.ask(query).await {
            Ok(end) if end.code == code::NONE => end.offset,
            Ok(end) => {
                return Finding::skip(Step::Send, &of.topic, verdict(end.code).to_string());
            }
            Err(reason) => return Finding::skip(Step::Send, &of.topic, reason),
        };
        if end > offset {
            let what = "consumers can read it, those of committed records too";
            return Finding::ok(Step::Send, &of.topic, what).since(begin);
        }
        if begin.elapsed() >= VISIBLE_WITHIN {
            return hidden(of, end, config).since(begin);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn hidden(of: &TopicPartition, from: i64, config: &KafkaConfig) -> Finding {
    let TopicPartition { topic, partition } = of;
    let what = format!(
        "consumers with isolation.level=read_committed do not see it: a transaction is open \
         since offset {from} of partition {partition}"
    );
    let number = partition.to_string();
    let words = [
        "describe-producers",
        "--topic",
        topic,
        "--partition",
        &number,
    ];
    let todo = format!(
        "they see it once its producer has ended it or, after the transaction's time-out, the \
         broker; {} shows whose it is",
        tools::command(config, "kafka-transactions.sh", &words)
    );
    Finding::warn(Step::Send, topic, Kind::Partition, what, todo)
}

/// A batch of one record that says what it is.
fn record(mark: &str, now_ms: i64) -> Result<bytes::Bytes, String> {
    let value = format!(
        "{{\"spoolway_test\":\"{mark}\",\"sent_ms\":{now_ms},\"version\":\"{}\"}}",
        env!("CARGO_PKG_VERSION")
    );
    let mut builder = BatchBuilder::new();
    builder.push(&RecordRef {
        key: None,
        value: Some(value.as_bytes()),
        timestamp: None,
        headers: &[HeaderRef {
            name: MARK_HEADER.as_bytes(),
            value: Some(mark.as_bytes()),
        }],
    });
    let sealed = builder.seal(Compression::None).map_err(|e| e.to_string())?;
    let stamp = Stamp {
        producer_id: Identity::NOBODY.id,
        epoch: Identity::NOBODY.epoch,
        base_sequence: -1,
        time_ms: now_ms,
        transactional: false,
    };
    Ok(sealed.stamp(stamp).bytes())
}

fn landed(topic: &str, partition: i32, mark: &str, part: &Result<ProducedPart, String>) -> Finding {
    let part = match part {
        Ok(part) => part,
        Err(reason) => {
            let todo = "look into the broker's log; the record may be in the topic or not";
            return Finding::fail(Step::Send, topic, Kind::Connection, reason, todo);
        }
    };
    if part.code == code::NONE {
        let offset = part.base_offset;
        let what =
            format!("one record marked {mark} is in partition {partition} at offset {offset}");
        return Finding::ok(Step::Send, topic, what);
    }
    let meant = verdict(part.code);
    let said = part.message.as_deref().map(|m| format!(": {m}"));
    let what = format!("{meant}{}", said.unwrap_or_default());
    let (kind, todo) = match meant.outcome {
        Outcome::Deny => (Kind::Permission, "grant WRITE on the topic to this login"),
        Outcome::Restamp => (
            Kind::Clock,
            "compare the clocks of this host and the broker",
        ),
        Outcome::Split => (
            Kind::Size,
            "the topic takes not even a small record: raise max.message.bytes",
        ),
        Outcome::Reject => (
            Kind::Topic,
            "a test topic has to take any record: see its policies",
        ),
        _ => (
            Kind::Partition,
            "try again; if it stays so, look at the topic's replicas",
        ),
    };
    Finding::fail(Step::Send, topic, kind, what, todo)
}
