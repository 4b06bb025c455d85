//! One route and what surrounds all routes, as the configuration gives them. Data only.

use std::sync::Arc;

use super::payload::PayloadSpec;
use super::template::{Pick, Template};
use super::timestamp::TimestampSpec;
use super::topic::TopicSpec;
use super::trigger::Trigger;

/// Which of the routes that would take an event get it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Matching {
    /// The first.
    #[default]
    First,
    /// Each of them: the event is sent several times.
    All,
}

/// What becomes of an event that no route takes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum NoMatch {
    /// It goes to the dead letters.
    #[default]
    DeadLetter,
    /// It is dropped, and counted.
    Drop,
    /// It goes to this topic as it is, without a key.
    Topic(Arc<str>),
}

/// Where events without partition and key go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Spread {
    /// One batch after the other, each to an available partition (KIP-480, KIP-794).
    #[default]
    Sticky,
    /// One event after the other, over the available partitions in turn.
    RoundRobin,
}

/// The key of a record.
#[derive(Debug, Clone)]
pub enum KeySpec {
    /// The first field that is there.
    Fields(Pick),
    /// A text; no key when a field of it is not there.
    Template(Template),
}

/// The partition that an event asks for.
#[derive(Debug, Clone)]
pub enum PartitionSpec {
    /// Always the same.
    Fixed(i32),
    /// The first field that is there; a whole number, also as a string.
    Fields(Pick),
}

/// One header.
#[derive(Debug, Clone)]
pub struct HeaderSpec {
    /// Its name; several headers may have the same.
    pub name: String,
    /// Its value; null when absent, or when a field of it is not there.
    pub value: Option<Template>,
}

/// One route.
#[derive(Debug, Clone)]
pub struct RouteSpec {
    /// Name in status, logs and dead letters.
    pub name: Arc<str>,
    /// Whether it takes part at all.
    pub enabled: bool,
    /// Which events it takes; all of them when absent.
    pub trigger: Option<Trigger>,
    /// Name under which Segment's integrations object speaks of this route; the object is
    /// not looked at when absent.
    pub integrations: Option<String>,
    /// Where its events go.
    pub topic: TopicSpec,
    /// Their key.
    pub key: Option<KeySpec>,
    /// Their partition; comes before everything else.
    pub partition: Option<PartitionSpec>,
    /// The partition of an event that names none; comes before the key.
    pub default_partition: Option<i32>,
    /// What decides where nothing else does.
    pub spread: Spread,
    /// Whether the key decides the partition; else it is only sent along (KIP-794).
    pub partition_by_key: bool,
    /// Their headers, in this order.
    pub headers: Vec<HeaderSpec>,
    /// Whether each record carries its stable id.
    pub id_header: bool,
    /// Their value.
    pub payload: PayloadSpec,
    /// Their timestamp; when absent the time at which they are sent.
    pub timestamp: Option<TimestampSpec>,
    /// Events for which this holds become tombstones: their value is null.
    pub tombstone: Option<Trigger>,
}

impl RouteSpec {
    /// Everything to `topic` as it is, without a key.
    pub fn new(topic: TopicSpec) -> Self {
        Self {
            name: topic.source().into(),
            enabled: true,
            trigger: None,
            integrations: None,
            topic,
            key: None,
            partition: None,
            default_partition: None,
            spread: Spread::Sticky,
            partition_by_key: true,
            headers: Vec::new(),
            id_header: true,
            payload: PayloadSpec::Event,
            timestamp: None,
            tombstone: None,
        }
    }
}
