//! What is known of the cluster: topics and partitions as the drain sees them.
//!
//! Plain values; fetching them is the actor's part.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

/// The wanted topics at one moment. Cheap to share; a new one replaces it at every change.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ClusterView {
    /// Grows with every change.
    pub version: u64,
    /// Wanted topics that a broker has answered about; absent = not known yet.
    pub topics: HashMap<Arc<str>, TopicView>,
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicView {
    /// It exists and may be written as far as is known.
    Known {
        /// All its partitions, ascending by id.
        partitions: Vec<PartitionView>,
    },
    /// It cannot be written at present.
    Failing {
        /// For a person.
        reason: String,
        /// Since when, without a success in between.
        since: Instant,
        /// Unknown or forbidden: perhaps for ever. False for passing trouble.
        permanent_candidate: bool,
    },
}

/// One partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionView {
    /// Its number.
    pub id: i32,
    /// Whether it has a leader whose connection is not known to be down.
    pub available: bool,
}
