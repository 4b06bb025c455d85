//! The handle that the drain and the daemon hold, and the start of everything behind it.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};

use super::actor::{Actor, Event};
use super::{Batch, ClusterView, KafkaStatus, Position, Report};
use crate::config::KafkaConfig;
use crate::proof::BrokerAuthority;

/// Why the producer could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It lives on tokio.
    #[error("the producer must be started within a tokio runtime")]
    NoRuntime,
}

/// The producer. Clones are handles to the same one; when all are gone it stops.
#[derive(Debug, Clone)]
pub struct Producer {
    events: mpsc::UnboundedSender<Event>,
    cluster: Arc<ArcSwap<ClusterView>>,
    status: Arc<ArcSwap<KafkaStatus>>,
}

impl Producer {
    /// Starts the producer and returns at once, also with every broker away. `reports` is
    /// called from tokio tasks and must not block.
    ///
    /// # Errors
    /// Outside a tokio runtime.
    pub fn start(
        config: &KafkaConfig,
        authority: BrokerAuthority,
        reports: impl Fn(Report) + Send + Sync + 'static,
    ) -> Result<Producer, StartError> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| StartError::NoRuntime)?;
        let (events, mailbox) = mpsc::unbounded_channel();
        let producer = Producer {
            events: events.clone(),
            cluster: Arc::default(),
            status: Arc::default(),
        };
        let views = (producer.cluster.clone(), producer.status.clone());
        let rng = fastrand::Rng::new();
        let actor = Actor::new(
            config,
            authority,
            rng,
            views,
            events.downgrade(),
            Box::new(reports),
        );
        runtime.spawn(actor.run(mailbox));
        Ok(producer)
    }

    /// Takes a batch. Never blocks and never fails: the batch comes back in exactly one
    /// [`Report`]. What may be given at once is bounded by the caller's `buffer.memory`.
    pub fn send(&self, batch: Batch) {
        // The mailbox is closed only after `close`, which has reported everything.
        let _ = self.events.send(Event::Send(batch));
    }

    /// With transactions: gets ready to deliver the spool with this id; the answer is
    /// [`RunReport::Ready`](super::RunReport::Ready). To be called once, before any batch.
    pub fn begin(&self, spool_id: u64) {
        let _ = self.events.send(Event::Begin { spool_id });
    }

    /// With transactions: no more batches of `run` follow; commits it with its end.
    pub fn close_run(&self, run: u32, end: Position) {
        let _ = self.events.send(Event::CloseRun { run, end });
    }

    /// With transactions: gives up `run`, because its owner cannot complete it.
    pub fn abort_run(&self, run: u32, words: String) {
        let _ = self.events.send(Event::AbortRun { run, words });
    }

    /// Finds this topic's partitions and keeps them fresh from now on.
    pub fn want_topic(&self, topic: &Arc<str>) {
        let _ = self.events.send(Event::Want(topic.clone()));
    }

    /// Keeps nothing more of this topic, of which no batch may be unresolved. It may be wanted
    /// again: then its partitions begin under another producer id.
    pub fn forget_topic(&self, topic: &Arc<str>) {
        let _ = self.events.send(Event::Forget(topic.clone()));
    }

    /// The wanted topics as known now. Cheap.
    pub fn cluster(&self) -> Arc<ClusterView> {
        self.cluster.load_full()
    }

    /// The state of things, at most a moment old. Cheap.
    pub fn status(&self) -> Arc<KafkaStatus> {
        self.status.load_full()
    }

    /// Whether it has ended without [`Producer::close`], as only a panic in one of its tasks
    /// makes it: then nothing is sent any more.
    pub fn has_ended(&self) -> bool {
        self.events.is_closed()
    }

    /// Waits for the answers to what is on the wire, `deadline` at most; then reports the
    /// rest as returned and drops the connections.
    pub async fn close(self, deadline: Duration) {
        let (done, closed) = oneshot::channel();
        if self.events.send(Event::Close { deadline, done }).is_ok() {
            let _ = closed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_producer_with_a_broken_part_ends_and_says_so() {
        let (_, authority) = crate::proof::issue();
        let config = KafkaConfig::new(Vec::new());
        let producer = Producer::start(&config, authority, |_| {}).unwrap();
        tokio::task::yield_now().await;
        assert!(!producer.has_ended());
        producer.events.send(Event::Broken).unwrap();
        tokio::time::timeout(Duration::from_secs(30), async {
            while !producer.has_ended() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("it ends");
    }
}
