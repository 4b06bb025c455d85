//! The position that an earlier transaction has committed: whether it speaks of this spool, and
//! what is not sent again because of it.

use tracing::{error, info};

use super::Run;
use crate::drain::run::State;
use crate::kafka::Position;
use crate::spool::{ReadError, StoredEvent};

impl State {
    /// Resolves what an earlier transaction has committed. False when the spool cannot be
    /// read now: then nothing may be sent yet.
    pub(super) fn settle_recovered(&mut self, run: &mut Run) -> bool {
        let Some(recovered) = run.recovered.take() else {
            return true;
        };
        let position = recovered.position;
        match self.is_ours(position) {
            Ok(None) => {
                info!(
                    position = position.end,
                    "everything before it has been committed"
                );
                self.cursor.acked(recovered.proof);
                // Also where that cannot be noted yet, because a generation does not open now.
                if position.end > run.end.end {
                    run.end = position;
                    run.first = position.end;
                }
                self.copies.forget_before(position.end);
                self.unsaved = true;
                true
            }
            Ok(Some(doubt)) => {
                error!(
                    position = position.end,
                    spool_end = self.cursor.end(),
                    "the committed position is not of this spool as it is: {doubt}; nothing is \
                     skipped, so events may be delivered twice"
                );
                self.status.last_error = Some(format!("position not used: {doubt}"));
                true
            }
            Err(failure) => {
                run.recovered = Some(recovered);
                self.unreadable(&failure)
            }
        }
    }

    /// Why the position does not speak of the events that are in the spool; `None` = it does.
    /// The last event before it is compared, as long as the spool has it.
    fn is_ours(&mut self, position: Position) -> Result<Option<&'static str>, ReadError> {
        if position.end > self.cursor.end() {
            return Ok(Some(
                "it lies beyond the spool's end, as after restoring an older copy",
            ));
        }
        let last = position.end.saturating_sub(1);
        if !self.cursor.is_unresolved(last) {
            return Ok(None);
        }
        let block = self.cursor.reread(last)?;
        let found = block.as_ref().and_then(|block| {
            let mut events = block.events();
            events
                .find(|event| event.seq == last)
                .map(|event| fingerprint(&event))
        });
        // Lost to damage meanwhile: there is nothing to compare, and nothing to lose.
        let same = found.is_none_or(|found| found == position.check);
        Ok((!same).then_some("its last event is another one, as after restoring an older copy"))
    }
}

/// Tells an event from another one that has its number in another history of the spool.
pub(super) fn fingerprint(event: &StoredEvent<'_>) -> u32 {
    let mut head = [0; 16];
    let (seq, received) = head.split_at_mut(8);
    seq.copy_from_slice(&event.seq.to_le_bytes());
    received.copy_from_slice(&event.received.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&head), event.bytes)
}
