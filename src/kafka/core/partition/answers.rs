//! What an answer proves about its batch and the others of the partition.
//!
//! Never sends; which batch may go next follows from the phase that is left behind here.

use std::collections::VecDeque;
use std::time::Instant;

use super::{Partition, Phase};
use crate::kafka::Refusal;
use crate::kafka::code;
use crate::kafka::core::entry::{Content, Effect, Reply, State};
use crate::kafka::outcome::Outcome;

/// So many answers "corrupt" to the same bytes, and the content is taken for the cause:
/// brokers before 2.4 answer so to a record without a key on a compacted topic.
const CORRUPT_LIMIT: u32 = 5;

impl Partition {
    /// Takes the answer to the batch `serial`.
    pub(in super::super) fn answer(
        &mut self,
        serial: u64,
        reply: Reply,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        self.on_wire = self.on_wire.saturating_sub(1);
        if let Some(position) = self.entries.iter().position(|e| e.serial == serial) {
            if let Some(entry) = self.entries.get_mut(position).filter(|_| reply.counts()) {
                entry.tries = entry.tries.saturating_add(1);
            }
            match self.judge(position, reply, out) {
                None => self.stored(position, now, out),
                Some(state) => self.failed(position, state, out),
            }
        }
        if self.on_wire == 0 && self.phase == Phase::Settling {
            self.settled(out);
        }
    }

    /// The state that `reply` puts the batch into; `None` = it is in the log.
    fn judge(&mut self, position: usize, reply: Reply, out: &mut Vec<Effect>) -> Option<State> {
        let Some(entry) = self.entries.get_mut(position) else {
            return Some(State::Unclear);
        };
        let (verdict, message, record_index) = match reply {
            Reply::Lost { reason } => {
                entry.maybe_stored = true;
                self.error = Some(reason);
                out.push(Effect::Refresh);
                return Some(State::Unclear);
            }
            Reply::Code {
                verdict,
                message,
                record_index,
            } => (verdict, message, record_index),
        };
        if verdict.outcome == Outcome::Stored {
            return None;
        }
        let words = match message {
            Some(message) => format!("{verdict}: {message}"),
            None => verdict.to_string(),
        };
        self.error = Some(words.clone());
        Some(match verdict.outcome {
            Outcome::Stored | Outcome::Unclear => {
                entry.maybe_stored = true;
                State::Unclear
            }
            Outcome::Retry if verdict.code == code::CORRUPT_MESSAGE => {
                entry.corrupt_answers += 1;
                if entry.corrupt_answers < CORRUPT_LIMIT {
                    return Some(State::Absent);
                }
                State::Refused(Refusal::Invalid {
                    code: verdict.code,
                    record_index,
                    reason: words,
                })
            }
            Outcome::Retry => State::Absent,
            Outcome::Refresh => {
                out.push(Effect::Refresh);
                State::Absent
            }
            Outcome::Restamp => {
                self.rebase |= !entry.maybe_stored;
                State::Absent
            }
            Outcome::Deny => {
                out.push(Effect::Denied { words });
                State::Absent
            }
            Outcome::Gap => State::Gap,
            Outcome::Fence => State::Fenced,
            Outcome::Split => State::Refused(Refusal::TooLarge {
                code: verdict.code,
                reason: words,
            }),
            Outcome::Reject => {
                let code = verdict.code;
                State::Refused(Refusal::Invalid {
                    code,
                    record_index,
                    reason: words,
                })
            }
        })
    }

    /// The batch at `position` is in the log, and with it those before it.
    fn stored(&mut self, position: usize, now: Instant, out: &mut Vec<Effect>) {
        let rest = self.entries.split_off(position + 1);
        let proven = std::mem::replace(&mut self.entries, rest);
        let mut kept = VecDeque::new();
        for (at, entry) in proven.into_iter().enumerate() {
            // A batch refused at its only send cannot be in the log. That a later one is
            // shows a broker that had no memory of the producer; the earlier one goes
            // again under another epoch, late but not lost.
            let absent = matches!(entry.state, State::Absent | State::Refused(_));
            if at != position && absent && entry.sends == 1 {
                kept.push_back(entry);
            } else {
                out.push(Effect::Acked {
                    ranges: entry.ranges,
                    bytes: entry.bytes,
                });
            }
        }
        self.rebase |= !kept.is_empty();
        kept.append(&mut self.entries);
        self.entries = kept;
        self.failures = 0;
        self.not_before = None;
        self.error = None;
        self.doubt = false;
        self.anchored_at = self.is_idempotent().then_some(now);
        if let Phase::Round { .. } = self.phase {
            self.phase = Phase::Flowing;
            self.forget_marks();
        }
        if self.rebase {
            self.anchored_at = None;
            self.phase = Phase::Settling;
        }
    }

    fn failed(&mut self, position: usize, state: State, out: &mut Vec<Effect>) {
        self.anchored_at = None;
        let retriable = matches!(state, State::Absent | State::Unclear);
        let doubled = state == State::Unclear && !self.is_idempotent();
        if let Some(entry) = self.entries.get_mut(position) {
            if doubled {
                let records = entry.ranges.len();
                out.push(Effect::MaybeDuplicate { records });
            }
            entry.state = state;
        }
        match self.phase {
            Phase::Flowing => self.phase = Phase::Settling,
            Phase::Settling => {}
            // The round starts anew after a pause.
            Phase::Round { .. } if retriable => {
                self.phase = Phase::Settling;
                let waiting = self.entries.iter_mut().skip(position + 1);
                for entry in waiting.filter(|entry| entry.maybe_stored) {
                    entry.tries = entry.tries.saturating_add(1);
                }
            }
            Phase::Round { next } => {
                let next = next + 1;
                self.phase = Phase::Round { next };
                if self.entries.get(next).is_none_or(|e| e.sends == 0) {
                    self.round_over(out);
                }
            }
        }
    }

    /// Nothing is on the wire and something has failed.
    fn settled(&mut self, out: &mut Vec<Effect>) {
        let pause = self
            .entries
            .iter()
            .any(|e| matches!(e.state, State::Absent | State::Unclear | State::Fenced));
        let front_refused = self
            .entries
            .front()
            .is_some_and(|e| e.sends == 1 && matches!(e.state, State::Refused(_)));
        if front_refused {
            self.refuse_front(out);
            return;
        }
        if self.rebase {
            self.bump(out);
        }
        if pause {
            self.failures += 1;
        }
        self.forget_marks();
        self.phase = if self.entries.front().is_some_and(|e| e.sends > 0) {
            Phase::Round { next: 0 }
        } else {
            Phase::Flowing
        };
    }

    /// Every sent batch has answered "out of order" or worse: none of them is in the log.
    fn round_over(&mut self, out: &mut Vec<Effect>) {
        if self
            .entries
            .front()
            .is_some_and(|e| matches!(e.state, State::Refused(_)))
        {
            self.refuse_front(out);
            return;
        }
        self.new_id |= self.entries.iter().any(|e| e.state == State::Fenced);
        self.failures += 1;
        self.bump(out);
        self.forget_marks();
        self.phase = Phase::Flowing;
    }

    fn refuse_front(&mut self, out: &mut Vec<Effect>) {
        let Some(front) = self.entries.pop_front() else {
            return;
        };
        let State::Refused(verdict) = front.state else {
            return;
        };
        let mut returned = self.give_back();
        returned.bytes += front.bytes;
        out.push(Effect::Refused {
            refused: front.ranges,
            verdict,
            returned,
        });
    }

    /// Everything unresolved goes again under another identity, from sequence 0.
    fn bump(&mut self, out: &mut Vec<Effect>) {
        let records = self.doubtful();
        if records > 0 {
            out.push(Effect::MaybeDuplicate { records });
        }
        self.change_identity();
        for entry in &mut self.entries {
            entry.content = entry.content.take().map(|content| match content {
                Content::Stamped(batch) => Content::Outdated(batch),
                other => other,
            });
            entry.sends = 0;
            entry.maybe_stored = false;
        }
    }

    fn forget_marks(&mut self) {
        for entry in &mut self.entries {
            entry.state = State::Waiting;
        }
    }
}
