//! Events on their way to the dead letters: made, stored durably, and only then settled.
//!
//! Does not decide what is given up.

use std::sync::Arc;
use std::time::Instant;

use tracing::warn;

use super::copies::{Place, Settled, Worse};
use super::event::with_route;
use super::run::State;
use crate::clock::unix_ms;
use crate::kafka::TopicPartition;
use crate::proof::{CopyId, DeadLettered, Seq, SeqRanges};
use crate::spool::{Block, DeadLetter, DeadLetterError, StoredEvent};

/// Letters of one block, ascending, one for each event.
#[derive(Default)]
pub(super) struct Letters(Vec<(DeadLetter, Vec<CopyId>)>);

impl Letters {
    /// Adds the letter of one copy. Letters of one event become one, with every reason.
    pub(super) fn push(&mut self, letter: DeadLetter, copy: CopyId) {
        match self.0.last_mut() {
            Some((last, copies)) if last.seq == letter.seq => {
                join(last, &letter.reason);
                copies.push(copy);
            }
            _ => self.0.push((letter, vec![copy])),
        }
    }
}

impl State {
    /// Stores letters durably; only then do their events leave the spool. False when the disk
    /// refuses: then they wait.
    pub(super) fn store_letters(&mut self, letters: Letters, now: Instant) -> bool {
        let Letters(mut letters) = letters;
        if letters.is_empty() {
            return true;
        }
        let notes: Vec<(Arc<str>, Seq, Vec<CopyId>)> = letters
            .iter_mut()
            .map(|(letter, copies)| {
                let topic = Arc::from(letter.topic.as_str());
                (topic, letter.seq, std::mem::take(copies))
            })
            .collect();
        let stored = letters
            .into_iter()
            .map(|(letter, _)| self.with_earlier_reasons(letter))
            .collect::<Result<Vec<_>, _>>()
            .and_then(|letters| self.dead_letters.put(letters));
        match stored {
            Ok(proof) => {
                self.lettered(proof, notes);
                true
            }
            Err(failure) => {
                warn!(error = %failure, "cannot store dead letters; their events stay");
                self.status.last_error = Some(failure.to_string());
                for (topic, seq, copies) in notes {
                    self.unplaced.mark(seq);
                    for copy in copies {
                        self.copies.came_back(seq, copy);
                    }
                    self.lanes.named(&topic).pause(seq, now);
                }
                false
            }
        }
    }

    /// The store keeps one letter for an event: a second one tells of both copies.
    fn with_earlier_reasons(&self, mut letter: DeadLetter) -> Result<DeadLetter, DeadLetterError> {
        if self.copies.has_letter(letter.seq)
            && let Some(mut earlier) = self.dead_letters.get(letter.seq)?
        {
            join(&mut earlier, &letter.reason);
            letter.reason = earlier.reason;
        }
        Ok(letter)
    }

    fn lettered(&mut self, proof: DeadLettered, notes: Vec<(Arc<str>, Seq, Vec<CopyId>)>) {
        self.unsaved = true;
        if self.copies.is_empty() {
            return self.cursor.dead_lettered(proof);
        }
        for ((_, proof), (_, seq, copies)) in proof.into_events().zip(notes) {
            if copies
                .iter()
                .all(|copy| self.copies.place(seq, *copy) == Place::Nowhere)
            {
                self.cursor.dead_lettered(proof);
                continue;
            }
            self.copies.ended(seq, Worse::DeadLettered(proof));
            for copy in copies {
                if let Settled::Whole(Some(ending)) = self.copies.settle(seq, copy) {
                    self.resolve(seq, ending);
                }
            }
        }
    }

    /// An event whose last copy is settled leaves the spool in a worse way than delivery.
    pub(super) fn resolve(&mut self, seq: Seq, ending: Worse) {
        self.unsaved = true;
        match ending {
            Worse::Dropped => self.cursor.dropped(&[(seq, 0)].into_iter().collect()),
            Worse::DeadLettered(proof) => self.cursor.dead_lettered(proof),
        }
    }

    /// Moves copies that had a place to the dead letters; what cannot be read or stored waits,
    /// and then it is false.
    pub(super) fn bury(
        &mut self,
        to: &TopicPartition,
        ranges: &SeqRanges,
        reason: &str,
        now: Instant,
    ) -> bool {
        let mut letters = Letters::default();
        let mut all_read = true;
        let mut block = None;
        for (seq, copy) in ranges.copies() {
            if block
                .as_ref()
                .is_none_or(|block: &Arc<Block>| seq >= block.end())
            {
                block = match self.cursor.reread(seq) {
                    Ok(block) => block,
                    Err(failure) => {
                        self.status.last_error = Some(failure.to_string());
                        self.give_back(to, &[[(seq, copy)].into_iter().collect()]);
                        all_read = false;
                        continue;
                    }
                };
            }
            let found = block
                .as_ref()
                .and_then(|block| block.events().find(|e| e.seq == seq));
            if let Some(event) = found {
                let reason = with_route(self.copies.name(copy), reason);
                letters.push(
                    dead_letter(&event, &to.topic, Some(to.partition), reason),
                    copy,
                );
            }
        }
        self.store_letters(letters, now) && all_read
    }
}

fn join(letter: &mut DeadLetter, reason: &str) {
    letter.reason.push_str("; ");
    letter.reason.push_str(reason);
}

/// An event as the dead-letter store keeps it.
pub(super) fn dead_letter(
    event: &StoredEvent<'_>,
    topic: &str,
    partition: Option<i32>,
    reason: String,
) -> DeadLetter {
    DeadLetter {
        seq: event.seq,
        source: event.source.clone(),
        received: event.received,
        topic: topic.to_owned(),
        partition,
        reason,
        at: unix_ms(),
        bytes: event.bytes.to_vec(),
    }
}
