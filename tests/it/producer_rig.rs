//! A producer and what the tests of `producer_*` do with it: send, wait for reports, and
//! check that every event is in the log once and in order.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use spoolway::config::{Compression, HostPort, KafkaConfig};
use spoolway::kafka::{
    Batch, BatchBuilder, Expiry, Producer, RecordRef, Report, Returned, TopicPartition,
};
use spoolway::proof::{self, Seq, SeqRange, SeqRanges};
use spoolway_test_support::scripted::Cluster;

/// How long a test waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A configuration with times short enough for tests.
pub(crate) fn config(bootstrap: &str) -> KafkaConfig {
    let bootstrap: Vec<HostPort> = bootstrap
        .split(',')
        .map(|address| {
            let (host, port) = address.rsplit_once(':').expect("host:port");
            HostPort {
                host: host.to_owned(),
                port: port.parse().expect("a port"),
            }
        })
        .collect();
    KafkaConfig {
        client_id: "spoolway-test".into(),
        tls: None,
        request_timeout: Duration::from_millis(1500),
        connect_timeout: Duration::from_millis(1500),
        retry_backoff: Duration::from_millis(20),
        retry_backoff_max: Duration::from_millis(200),
        reconnect_backoff: Duration::from_millis(20),
        reconnect_backoff_max: Duration::from_millis(200),
        topic_patience: None,
        ..KafkaConfig::new(bootstrap)
    }
}

/// A running producer with its reports.
pub(crate) struct Rig {
    runtime: tokio::runtime::Runtime,
    compression: Compression,
    pub(crate) producer: Producer,
    reports: Receiver<Report>,
    builder: BatchBuilder,
    next: Seq,
    /// Sequence numbers of acknowledged events, in the order of the reports.
    pub(crate) acked: Vec<Seq>,
    /// Events that came back: refused or returned.
    pub(crate) back: Vec<Report>,
    unresolved: usize,
    /// Age at which the batches sent from now on expire.
    pub(crate) lifetime: Option<Duration>,
    terms: HashMap<TopicPartition, u32>,
}

impl Rig {
    pub(crate) fn start(config: &KafkaConfig) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let (tx, reports) = channel();
        let (_, authority) = proof::issue();
        let guard = runtime.enter();
        let sink = move |report| drop(tx.send(report));
        let producer = Producer::start(config, authority, sink).expect("a producer");
        drop(guard);
        Self {
            runtime,
            compression: config.compression,
            producer,
            reports,
            builder: BatchBuilder::new(),
            next: 1,
            acked: Vec::new(),
            back: Vec::new(),
            unresolved: 0,
            lifetime: None,
            terms: HashMap::new(),
        }
    }

    /// Sends a batch of `count` events whose values are their sequence numbers.
    pub(crate) fn send(&mut self, topic: &str, partition: i32, count: u32) -> SeqRanges {
        let ranges = SeqRanges::from(SeqRange {
            first: self.next,
            count,
        });
        self.next += Seq::from(count);
        self.resend(topic, partition, &ranges);
        ranges
    }

    /// Sends the events of `ranges` once more, as the drain does with what came back.
    pub(crate) fn resend(&mut self, topic: &str, partition: i32, ranges: &SeqRanges) {
        for seq in ranges.iter() {
            let value = seq.to_string();
            let value = Some(value.as_bytes());
            self.builder.push(&RecordRef {
                key: None,
                value,
                timestamp: None,
                headers: &[],
            });
        }
        self.seal(topic, partition, ranges.clone());
    }

    /// Sends these records as one batch.
    pub(crate) fn send_records(&mut self, topic: &str, records: &[RecordRef<'_>]) {
        let count = u32::try_from(records.len()).expect("few records");
        for record in records {
            self.builder.push(record);
        }
        let first = self.next;
        self.next += Seq::from(count);
        self.seal(topic, 0, SeqRanges::from(SeqRange { first, count }));
    }

    fn seal(&mut self, topic: &str, partition: i32, ranges: SeqRanges) {
        let encoded = self.builder.seal(self.compression).expect("a batch");
        let to = TopicPartition {
            topic: topic.into(),
            partition,
        };
        self.unresolved += 1;
        let term = self.terms.get(&to).copied().unwrap_or_default();
        self.producer.send(Batch {
            to,
            encoded,
            ranges,
            term,
            expires: self.lifetime.map(|lifetime| {
                let at = Instant::now() + lifetime;
                Expiry {
                    oldest: at,
                    newest: at,
                }
            }),
        });
    }

    /// Takes the reports that are there.
    pub(crate) fn poll(&mut self) {
        while let Ok(report) = self.reports.try_recv() {
            self.take(report);
        }
    }

    /// Batches without a report.
    pub(crate) fn unresolved(&self) -> usize {
        self.unresolved
    }

    /// Takes reports until no batch is unresolved.
    #[track_caller]
    pub(crate) fn settle(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while self.unresolved > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(report) = self.reports.recv_timeout(left) else {
                panic!(
                    "{} batches unresolved; {:#?}",
                    self.unresolved,
                    self.producer.status()
                );
            };
            self.take(report);
        }
    }

    fn take(&mut self, report: Report) {
        match report {
            Report::Acked { proof, .. } => {
                self.unresolved -= 1;
                self.acked.extend(proof.ranges().iter());
            }
            Report::Refused { ref returned, .. } => {
                self.returned(returned, 1);
                self.back.push(report);
            }
            Report::Returned { ref returned, .. } => {
                self.returned(returned, 0);
                self.back.push(report);
            }
            Report::GivenUp {
                ref given_up,
                ref returned,
                ..
            } => {
                self.returned(returned, given_up.len());
                self.back.push(report);
            }
            Report::ClusterChanged | Report::Run(_) => {}
        }
    }

    /// What the drain does when batches come back, and `others` with them.
    fn returned(&mut self, returned: &Returned, others: usize) {
        let term = self.terms.entry(returned.to.clone()).or_default();
        if *term == returned.term {
            *term += 1;
        }
        self.unresolved -= returned.batches.len() + others;
    }

    /// Waits for a condition on the producer.
    #[track_caller]
    pub(crate) fn wait(&self, what: &str, done: impl Fn(&Producer) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(&self.producer) {
            let status = self.producer.status();
            assert!(
                Instant::now() < deadline,
                "not in time: {what}; {status:#?}"
            );
            std::thread::yield_now();
        }
    }

    /// Closes the producer and takes its last reports.
    pub(crate) fn close(mut self, deadline: Duration) -> (Vec<Seq>, Vec<Report>) {
        self.runtime.block_on(self.producer.clone().close(deadline));
        while let Ok(report) = self.reports.try_recv() {
            self.take(report);
        }
        (
            std::mem::take(&mut self.acked),
            std::mem::take(&mut self.back),
        )
    }
}

/// The sequence numbers in a partition's log, in its order.
pub(crate) fn log(cluster: &Cluster, topic: &str, partition: i32) -> Vec<Seq> {
    let records = cluster.records(topic, partition);
    let seq = |record: &spoolway_test_support::scripted::Record| {
        let text = std::str::from_utf8(record.value_bytes()).expect("a number as text");
        text.parse().expect("a number")
    };
    records.iter().map(seq).collect()
}

/// Shares a topic name as the daemon does.
pub(crate) fn topic(name: &str) -> Arc<str> {
    name.into()
}
