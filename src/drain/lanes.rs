//! All lanes, by topic, and which topics are known at all.
//!
//! Topics that the routes name are known as long as the routes are; those that are made from
//! events, and those of earlier routes, until they have been idle for `topic_idle`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::lane::Lane;
use super::topic::Topic;
use crate::proof::Seq;

/// Topics made from events at most, so that a writer cannot fill the memory with them.
const MADE_TOPICS: usize = 1_000;

/// Every topic, in the order of first use.
#[derive(Default)]
pub(super) struct Lanes {
    topics: Vec<Topic>,
    /// Index in `topics` by name.
    by_name: HashMap<Arc<str>, usize>,
    /// Index in `topics` by index in the router's list.
    by_route: Vec<usize>,
}

impl Lanes {
    /// Makes room for the router's topics; those of an earlier router stay.
    pub(super) fn use_topics(&mut self, names: &[Arc<str>]) {
        self.by_route = names.iter().map(|name| self.index(name)).collect();
    }

    /// Forgets what no route names and nothing was sent to for `idle`; the names.
    ///
    /// Whoever else keeps something of a topic has to forget it as well: the next event for it
    /// makes it anew, with nothing remembered.
    pub(super) fn forget_idle(&mut self, idle: Duration, now: Instant) -> Vec<Arc<str>> {
        let is_over = |(index, topic): (usize, &Topic)| {
            topic.is_idle(idle, now) && !self.by_route.contains(&index)
        };
        let over: Vec<bool> = self.topics.iter().enumerate().map(is_over).collect();
        let mut gone = Vec::new();
        if !over.contains(&true) {
            return gone;
        }
        let mut places = Vec::with_capacity(self.topics.len());
        let mut kept = Vec::with_capacity(self.topics.len());
        for (topic, is_over) in std::mem::take(&mut self.topics).into_iter().zip(over) {
            if is_over {
                self.by_name.remove(&topic.name);
                places.push(None);
                gone.push(topic.name);
            } else {
                self.by_name.insert(topic.name.clone(), kept.len());
                places.push(Some(kept.len()));
                kept.push(topic);
            }
        }
        let place = |index: &usize| places.get(*index).copied().flatten();
        self.by_route = self.by_route.iter().filter_map(place).collect();
        self.topics = kept;
        gone
    }

    fn index(&mut self, name: &Arc<str>) -> usize {
        let found = self.by_name.get(name).copied();
        found.unwrap_or_else(|| self.add(name.clone(), false, Instant::now()))
    }

    fn add(&mut self, name: Arc<str>, is_made: bool, now: Instant) -> usize {
        self.topics.push(Topic::new(name.clone(), is_made, now));
        self.by_name.insert(name, self.topics.len() - 1);
        self.topics.len() - 1
    }

    /// The topic that is made from an event; `None` when there are too many already. Tells
    /// `new` of one that was not known.
    pub(super) fn made(
        &mut self,
        name: &str,
        now: Instant,
        new: impl FnOnce(&Arc<str>),
    ) -> Option<&mut Topic> {
        let index = match self.by_name.get(name) {
            Some(index) => *index,
            None if self.topics.iter().filter(|t| t.is_made).count() >= MADE_TOPICS => return None,
            None => {
                let name = Arc::from(name);
                new(&name);
                self.add(name, true, now)
            }
        };
        let topic = self.topics.get_mut(index)?;
        topic.used = now;
        Some(topic)
    }

    /// Unplaced events in `block` or later may belong to any of the router's topics.
    pub(super) fn routed_lag_from(&mut self, block: Seq) {
        for &index in &self.by_route {
            if let Some(topic) = self.topics.get_mut(index) {
                topic.lag_from(block);
            }
        }
    }

    /// The topic by its index in the router's list.
    pub(super) fn routed(&mut self, topic: usize) -> Option<&mut Topic> {
        self.by_route
            .get(topic)
            .and_then(|&index| self.topics.get_mut(index))
    }

    /// The topic by its name.
    pub(super) fn named(&mut self, name: &Arc<str>) -> &mut Topic {
        let index = self.index(name);
        #[expect(clippy::indexing_slicing, reason = "index() has just found or made it")]
        &mut self.topics[index]
    }

    /// All topics.
    pub(super) fn topics(&self) -> &[Topic] {
        &self.topics
    }

    /// All topics.
    pub(super) fn topics_mut(&mut self) -> &mut [Topic] {
        &mut self.topics
    }

    /// Uncompressed bytes of all batches being built.
    pub(super) fn open_bytes(&self) -> usize {
        self.topics
            .iter()
            .flat_map(Topic::lanes)
            .map(Lane::open_bytes)
            .sum()
    }

    /// Batches with the producer.
    pub(super) fn in_flight(&self) -> u32 {
        self.topics
            .iter()
            .flat_map(Topic::lanes)
            .map(Lane::in_flight)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(3600);

    #[test]
    fn a_topic_of_no_route_is_forgotten_once_it_is_idle_and_the_others_keep_their_places() {
        let start = Instant::now();
        let mut lanes = Lanes::default();
        let known = |lanes: &mut Lanes, name: &str, now| {
            let mut is_new = false;
            let topic = lanes.made(name, now, |_| is_new = true);
            assert!(topic.is_some());
            !is_new
        };
        assert!(!known(&mut lanes, "day-1", start));
        lanes.use_topics(&["fixed".into(), "other".into()]);
        assert!(!known(&mut lanes, "day-2", start));
        assert!(!known(&mut lanes, "stuck", start));
        lanes.named(&"stuck".into()).lag_from(7);
        let later = start + IDLE;
        assert!(known(&mut lanes, "day-2", later));
        assert_eq!(lanes.forget_idle(IDLE, later), ["day-1".into()]);
        assert!(lanes.forget_idle(IDLE, later).is_empty());
        let routed = [0, 1].map(|index| lanes.routed(index).unwrap().name.clone());
        assert_eq!(routed, ["fixed".into(), "other".into()]);
        assert!(known(&mut lanes, "stuck", later) && known(&mut lanes, "day-2", later));
        assert!(!known(&mut lanes, "day-1", later));
        // Its route has gone, and so it goes.
        lanes.use_topics(&["fixed".into()]);
        let later = later + Duration::from_secs(1);
        assert_eq!(lanes.forget_idle(IDLE, later), ["other".into()]);
    }

    #[test]
    fn no_more_topics_are_made_than_may_be_until_some_are_idle() {
        let start = Instant::now();
        let mut lanes = Lanes::default();
        for number in 0..MADE_TOPICS {
            assert!(lanes.made(&number.to_string(), start, |_| {}).is_some());
        }
        let later = start + IDLE;
        assert!(lanes.made("0", later, |_| {}).is_some());
        assert!(lanes.made("one more", later, |_| {}).is_none());
        assert_eq!(lanes.forget_idle(IDLE, later).len(), MADE_TOPICS - 1);
        assert!(lanes.made("one more", later, |_| {}).is_some());
    }
}
