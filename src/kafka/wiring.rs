//! What each task of the producer is given: how it connects, what it is told to do, and whom it
//! tells.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::connect::Connector;
use crate::config::KafkaConfig;

/// `M` is what comes; `emit` takes what goes back.
pub(super) struct Wiring<M, F> {
    pub(super) connector: Arc<Connector>,
    /// Closed once nobody wants anything of the task any more: it ends then.
    pub(super) mail: mpsc::UnboundedReceiver<M>,
    pub(super) emit: F,
    pub(super) rng: fastrand::Rng,
}

impl<M, F> Wiring<M, F> {
    pub(super) fn config(&self) -> &KafkaConfig {
        self.connector.config()
    }
}
