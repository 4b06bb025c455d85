//! Partitions that are used no more: their memory is given back.
//!
//! A broker remembers what it has under a producer id. A partition that began again at
//! sequence 0 with the same id would be answered "duplicate" for new records, which would lose
//! them. So what is new after a forgetting begins under an id that was not in use then.

use super::Core;

impl Core {
    /// Forgets the partitions of a topic; those in use stay, as `Partition::in_use` says. With
    /// transactions all stay: their id is given from outside, and sequences are needed until
    /// the next one.
    pub(in super::super) fn forget_topic(&mut self, topic: &str) {
        self.failing.remove(topic);
        self.denied.remove(topic);
        if self.authority.is_none() {
            return;
        }
        let slots = self.by_topic.remove(topic).unwrap_or_default();
        for slot in slots {
            let Some(partition) = self.partitions.get_mut(slot) else {
                continue;
            };
            if partition.in_use() {
                if partition.unresolved() == 0 {
                    // Its owner has forgotten the terms, and nothing of one is under way.
                    partition.term = 0;
                }
                let kept = self.by_topic.entry(partition.to.topic.clone()).or_default();
                kept.push(slot);
                continue;
            }
            // Without a leader it sends nothing, whoever still has its place in a queue.
            partition.set_leader(None);
            self.index.remove(&partition.to);
            self.free.push(slot);
            if self.settings.idempotent {
                self.stale = self.newest.map(|newest| newest.id);
            }
        }
    }
}
