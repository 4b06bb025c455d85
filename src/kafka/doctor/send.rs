//! One marked record into a test topic, and where it landed. Only when asked for.
//!
//! Sent without a producer id, so that it cannot disturb the daemon's own sequence.

use std::sync::Arc;
use std::time::Instant;

use super::clock::{Skew, judge, now_ms};
use super::{Exam, Finding, Kind, Step, Verdict};
use crate::config::Compression;
use crate::kafka::batch::Stamp;
use crate::kafka::outcome::{Outcome, verdict};
use crate::kafka::wire::{Cluster, Produce, ProducedPart, TopicBatches};
use crate::kafka::{BatchBuilder, HeaderRef, RecordRef};

/// Header by which the record is known; its value is the mark.
const MARK_HEADER: &str = "spoolway-test";

/// What a batch carries that belongs to no producer id.
const NO_PRODUCER: i64 = -1;

/// Part of the request deadline that the broker may wait for its replicas.
const REPLICA_WAIT: f64 = 0.66;

impl Exam<'_> {
    /// Writes the record to the first partition that can be written.
    pub(super) async fn send(&mut self, cluster: &Cluster, topic: &Arc<str>) {
        let known = cluster.topics.iter().find(|t| *t.name == **topic);
        let partitions = known.map(|t| t.partitions.as_slice()).unwrap_or_default();
        let found = partitions.iter().find_map(|partition| {
            let session = self.sessions.get(&partition.leader?)?;
            Some((partition.id, session))
        });
        let Some((partition, session)) = found else {
            let what = "no partition has a leader that can be reached; see the steps above";
            self.note(Finding::skip(Step::Send, topic, what));
            return;
        };
        let mark = format!("{:016x}", fastrand::u64(..));
        let begin = Instant::now();
        let before = now_ms();
        let wait = self.plan.kafka.request_timeout.mul_f64(REPLICA_WAIT);
        let answer = match record(&mark, before) {
            Ok(bytes) => {
                let batches = vec![(partition, bytes)];
                let topic = topic.clone();
                let request = Produce {
                    acks: -1,
                    transactional_id: None,
                    timeout_ms: i32::try_from(wait.as_millis()).unwrap_or(i32::MAX),
                    topics: vec![TopicBatches { topic, batches }],
                };
                session.ask(request).await
            }
            Err(reason) => Err(reason),
        };
        let after = now_ms();
        let part = answer.and_then(|a| a.parts.into_iter().next().ok_or("an empty answer".into()));
        let finding = landed(topic, partition, &mark, &part).since(begin);
        let stored = finding.verdict == Verdict::Ok;
        self.note(finding);
        if let Ok(part) = &part
            && stored
            && part.append_time_ms > 0
        {
            let skew = Skew::between(before, part.append_time_ms, after);
            self.note(judge(skew, self.window));
        }
    }
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
        producer_id: NO_PRODUCER,
        epoch: -1,
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
    if part.code == 0 {
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
