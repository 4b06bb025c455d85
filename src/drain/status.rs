//! What the drain shows of itself. Data only.

use serde::Serialize;

/// The drain at one moment.
#[derive(Debug, Clone, Default, Serialize)]
pub struct DrainStatus {
    /// Turns of the loop; stands still only when the thread hangs.
    pub turns: u64,
    /// Next event to be read for the first time.
    pub position: u64,
    /// When the oldest undelivered event was received, Unix milliseconds.
    pub oldest_undelivered_ms: Option<i64>,
    /// Events that wait for a partition that was stuck.
    pub unplaced_events: u64,
    /// Memory for copies of events that not all routes have sent yet.
    pub copy_bytes: u64,
    /// Bytes of batches built and not yet acknowledged.
    pub buffered_bytes: u64,
    /// Partitions in use.
    pub lanes: Vec<LaneStatus>,
    /// Topics whose events go to the dead letters, with the reason.
    pub doomed: Vec<(String, String)>,
    /// What went wrong last inside the drain.
    pub last_error: Option<String>,
    /// The run in hand, with transactions only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunStatus>,
}

/// A run at one moment.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RunStatus {
    /// Its number since the start.
    pub number: u32,
    /// `waiting`, `filling`, `closing` or `committing`.
    pub stage: &'static str,
    /// Its first event.
    pub first: u64,
    /// One past its last event so far.
    pub end: u64,
    /// Since its first event.
    pub open_ms: Option<u64>,
    /// The event that finds no place, and holds up those behind it.
    pub blocked_at: Option<u64>,
}

/// One partition at one moment.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LaneStatus {
    /// Topic name.
    pub topic: String,
    /// Partition id.
    pub partition: i32,
    /// Batches with the producer.
    pub in_flight: u32,
    /// Batches that wait for the producer, the one being built included.
    pub waiting: usize,
    /// Whether its events are passed over for now.
    pub lagging: bool,
    /// What the broker said last against it.
    pub last_error: Option<String>,
}
