//! What the wanted topics are like: from metadata, and from what producing to them showed.
//!
//! Pure; feeds the drain's [`ClusterView`](super::ClusterView) and the core.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::code;
use super::outcome::{Outcome, verdict};
use super::wire::{Metadata, MetadataTopic};
use super::{PartitionView, TopicView};

/// A wanted topic.
#[derive(Debug, Default)]
pub(super) struct Topic {
    /// Partition and leader; empty before the first answer.
    partitions: Vec<(i32, Option<i32>)>,
    answered: bool,
    /// By metadata: words, and whether it may be for ever.
    absent: Option<(String, bool)>,
    /// By a produce answer: words, and until when nothing is tried.
    denied: Option<(String, Instant)>,
    /// Refused by the last try; not known yet whether it still is.
    doubted: bool,
    /// Since the first of these failures without a success in between.
    since: Option<Instant>,
}

/// How a topic stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Not answered yet, or in passing trouble: batches wait.
    Wait,
    /// Batches may go.
    Usable,
    /// Batches go back.
    Failing { reason: String, since: Instant },
}

impl Topic {
    pub(super) fn partitions(&self) -> &[(i32, Option<i32>)] {
        &self.partitions
    }

    /// Whether metadata should be asked again soon.
    pub(super) fn unsettled(&self) -> bool {
        let leaderless = self.partitions.iter().any(|(_, leader)| leader.is_none());
        !self.answered || self.absent.is_some() || self.denied.is_some() || leaderless
    }

    /// Takes the metadata's word.
    fn update(&mut self, answer: &MetadataTopic, refused: Option<&String>, now: Instant) {
        self.answered = true;
        if answer.code == code::NONE {
            self.absent = None;
            let partitions = answer.partitions.iter();
            self.partitions = partitions.map(|p| (p.id, p.leader)).collect();
            if self.denied.is_none() && !self.doubted {
                self.since = None;
            }
            return;
        }
        let meant = verdict(answer.code);
        let lasting =
            answer.code == code::UNKNOWN_TOPIC_OR_PARTITION || meant.outcome == Outcome::Deny;
        let words = match (answer.code, refused) {
            (code::UNKNOWN_TOPIC_OR_PARTITION, Some(refused)) => refused.clone(),
            (code::UNKNOWN_TOPIC_OR_PARTITION, None) => format!(
                "topic {:?} does not exist (UNKNOWN_TOPIC_OR_PARTITION); create it",
                answer.name
            ),
            _ => format!("topic {:?}: {meant}", answer.name),
        };
        self.absent = Some((words, lasting));
        self.since.get_or_insert(now);
    }

    /// A produce answer refused the topic; nothing is tried for `pause`.
    pub(super) fn deny(&mut self, words: String, pause: Duration, now: Instant) {
        self.denied = Some((words, now + pause));
        self.since.get_or_insert(now);
    }

    /// A produce answer took a batch.
    pub(super) fn accepted(&mut self) {
        self.denied = None;
        self.doubted = false;
        if self.absent.is_none() {
            self.since = None;
        }
    }

    /// The pause after a refusal is over; the next batch will show.
    pub(super) fn denial_over(&mut self) {
        self.doubted |= self.denied.take().is_some();
    }

    /// When a denied topic may be tried again.
    pub(super) fn denied_until(&self) -> Option<Instant> {
        self.denied.as_ref().map(|(_, until)| *until)
    }

    pub(super) fn standing(&self, now: Instant) -> Standing {
        let since = self.since.unwrap_or(now);
        match (&self.absent, &self.denied) {
            (Some((reason, true)), _) => Standing::Failing {
                reason: reason.clone(),
                since,
            },
            (Some((_, false)), _) => Standing::Wait,
            (None, Some((reason, until))) if *until > now => Standing::Failing {
                reason: reason.clone(),
                since,
            },
            (None, _) if self.answered => Standing::Usable,
            (None, _) => Standing::Wait,
        }
    }

    /// The drain's view; `None` before the first answer.
    pub(super) fn view(&self, now: Instant, down: impl Fn(i32) -> bool) -> Option<TopicView> {
        if !self.answered {
            return None;
        }
        if let Some((reason, lasting)) = &self.absent {
            return Some(TopicView::Failing {
                reason: reason.clone(),
                since: self.since.unwrap_or(now),
                permanent_candidate: *lasting,
            });
        }
        if let Standing::Failing { reason, since } = self.standing(now) {
            return Some(TopicView::Failing {
                reason,
                since,
                permanent_candidate: true,
            });
        }
        let partitions = self.partitions.iter().map(|(id, leader)| PartitionView {
            id: *id,
            available: leader.is_some_and(|leader| !down(leader)),
        });
        Some(TopicView::Known {
            partitions: partitions.collect(),
        })
    }
}

/// Takes an answer into the wanted topics; others in it are not looked at. `refused` has the
/// words for those that could not be created.
pub(super) fn update(
    topics: &mut HashMap<Arc<str>, Topic>,
    metadata: &Metadata,
    refused: &HashMap<String, String>,
    now: Instant,
) {
    for answer in &metadata.topics {
        if let Some(topic) = topics.get_mut(answer.name.as_str()) {
            topic.update(answer, refused.get(&answer.name), now);
        }
    }
}
