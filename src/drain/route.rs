//! Routes: which topic, key, partition, headers and payload an event gets.
//!
//! Applied when the spool is drained, so a changed route also governs the backlog. Decides
//! per event and holds no state; which partition an event without a key goes to is the
//! batching's choice.

use std::borrow::Cow;
use std::sync::Arc;

use super::json_key::JsonPath;
use crate::config::RouteConfig;
use crate::proof::Seq;
use crate::route::partition::keyed_partition;
use crate::spool::StoredEvent;

/// Name of the header that carries an event's stable id.
pub const ID_HEADER: &[u8] = b"spoolway-id";

/// What a route decided for one event.
#[derive(Debug)]
pub(super) struct Routed<'a> {
    /// Index of the topic in [`Router::topics`].
    pub(super) topic: usize,
    /// The record key.
    pub(super) key: Option<Cow<'a, [u8]>>,
    /// The record value.
    pub(super) value: Option<&'a [u8]>,
    /// Whether the record carries its stable id.
    pub(super) id_header: bool,
}

impl Routed<'_> {
    /// The partition that the key asks for among `partitions`; `None` = any will do.
    pub(super) fn partition(&self, partitions: i32) -> Option<i32> {
        self.key
            .as_deref()
            .map(|key| keyed_partition(key, partitions))
    }
}

/// All routes, ready to be applied.
#[derive(Debug)]
pub struct Router {
    routes: Vec<Route>,
    topics: Vec<Arc<str>>,
}

#[derive(Debug)]
struct Route {
    topic: usize,
    key: Option<JsonPath>,
    id_header: bool,
}

impl Router {
    /// Prepares the routes of a checked configuration.
    pub fn new(configs: &[RouteConfig]) -> Self {
        let mut topics: Vec<Arc<str>> = Vec::new();
        let routes = configs
            .iter()
            .map(|config| {
                let known = topics.iter().position(|topic| *topic == config.topic);
                let topic = known.unwrap_or_else(|| {
                    topics.push(config.topic.clone());
                    topics.len() - 1
                });
                let key = config.key_field.as_deref().map(JsonPath::new);
                Route {
                    topic,
                    key,
                    id_header: config.id_header,
                }
            })
            .collect();
        Self { routes, topics }
    }

    /// Every topic that a route names.
    pub fn topics(&self) -> &[Arc<str>] {
        &self.topics
    }

    /// Applies the first route. `None` only when there is no route at all, which a checked
    /// configuration excludes.
    pub(super) fn route<'a>(&self, event: &StoredEvent<'a>) -> Option<Routed<'a>> {
        let route = self.routes.first()?;
        Some(Routed {
            topic: route.topic,
            key: route.key.as_ref().and_then(|path| path.find(event.bytes)),
            value: Some(event.bytes),
            id_header: route.id_header,
        })
    }
}

/// Writes stable ids: spool id, a dash, the sequence number.
#[derive(Debug, Clone)]
pub(super) struct StableId {
    bytes: Vec<u8>,
    prefix: usize,
}

impl StableId {
    /// Ids of the events of one spool.
    pub(super) fn new(spool_id: u64) -> Self {
        let bytes = format!("{spool_id:016x}-").into_bytes();
        Self {
            prefix: bytes.len(),
            bytes,
        }
    }

    /// The id of event `seq`; the same after every retry and restart.
    pub(super) fn of(&mut self, seq: Seq) -> &[u8] {
        self.bytes.truncate(self.prefix);
        self.bytes
            .extend_from_slice(itoa::Buffer::new().format(seq).as_bytes());
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stable_id_names_spool_and_sequence() {
        let mut id = StableId::new(0xab);
        assert_eq!(id.of(17), b"00000000000000ab-17");
        assert_eq!(id.of(2), b"00000000000000ab-2");
    }
}
