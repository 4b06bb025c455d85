//! Which lines of one connection are settled, and the answers that say so.
//!
//! Pure: turns outcomes, in line order, into `{"ack":N}` and `{"nack":K,"reason":…}` lines.
//! An ack of N settles the first N lines: each is safe, or was refused by name before.

use std::io::Write;

use super::framing::Refusal;

/// Answers that may wait for a writer that does not read, in bytes; then it is closed.
pub const ANSWER_BYTES: usize = 64 << 10;

/// The answers of one connection.
#[derive(Debug, Default)]
pub struct Answers {
    /// Lines settled so far; the ack is told up to here.
    settled: u64,
    /// Lines the writer was told of.
    told: u64,
    /// Refusals and acks not yet handed to the socket.
    pending: Vec<u8>,
}

impl Answers {
    /// Goes on after `settled` lines that the writer was told of.
    pub fn after(settled: u64) -> Self {
        Self {
            settled,
            told: settled,
            pending: Vec::new(),
        }
    }

    /// Lines settled so far.
    pub fn settled(&self) -> u64 {
        self.settled
    }

    /// Names lines of the next group that are not safe, as `(lines before it in this group,
    /// reason)`. To be called before the group is settled.
    pub fn refuse(&mut self, refused: &[(u32, Refusal)]) {
        for (before, reason) in refused {
            let line = self.settled + u64::from(*before) + 1;
            let reason = reason.as_str();
            // Writing into a Vec cannot fail.
            let _ = writeln!(self.pending, r#"{{"nack":{line},"reason":"{reason}"}}"#);
        }
    }

    /// Settles the next group of `lines` lines.
    pub fn settle(&mut self, lines: u32) {
        self.settled += u64::from(lines);
    }

    /// The bytes to write now: every refusal, then one cumulative ack.
    pub fn take(&mut self) -> Vec<u8> {
        if self.settled > self.told {
            let _ = writeln!(self.pending, r#"{{"ack":{}}}"#, self.settled);
            self.told = self.settled;
        }
        std::mem::take(&mut self.pending)
    }

    /// Puts back what the socket did not take.
    pub fn put_back(&mut self, mut rest: Vec<u8>) {
        rest.append(&mut self.pending);
        self.pending = rest;
    }

    /// Whether more is waiting than a connection may hold.
    pub fn overflow(&self) -> bool {
        self.pending.len() > ANSWER_BYTES
    }

    /// Whether so much is waiting that the writer should read before more is added.
    pub fn is_long(&self) -> bool {
        self.pending.len() > ANSWER_BYTES / 2
    }

    /// Whether there is something to tell.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.settled == self.told
    }
}

/// Merges refusals of framing with events of that group that were refused later.
///
/// `framed` holds `(lines before it, reason)`, `late` the indexes of refused events; both
/// ascending. The result is in line order.
pub fn merge(framed: &[(u32, Refusal)], late: &[u32], reason: Refusal) -> Vec<(u32, Refusal)> {
    let mut merged = Vec::with_capacity(framed.len() + late.len());
    let mut framed = framed.iter().copied().peekable();
    let mut passed = 0;
    for &event in late {
        while let Some(&refusal) = framed.peek().filter(|r| r.0 <= event + passed) {
            merged.push(refusal);
            passed += 1;
            framed.next();
        }
        merged.push((event + passed, reason));
    }
    merged.extend(framed);
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_before_the_ack_that_passes_them() {
        let mut answers = Answers::default();
        answers.refuse(&[(1, Refusal::TooLong)]);
        answers.settle(3);
        answers.refuse(&[(0, Refusal::SpoolFull)]);
        answers.settle(2);
        let text = String::from_utf8(answers.take()).unwrap();
        assert_eq!(
            text,
            "{\"nack\":2,\"reason\":\"too_long\"}\n{\"nack\":4,\"reason\":\"spool_full\"}\n\
             {\"ack\":5}\n"
        );
        assert!(answers.is_empty());
        assert!(answers.take().is_empty());
    }

    #[test]
    fn events_refused_late_get_the_number_of_their_line() {
        // Lines: e0, X, e1, e2, X, e3; events 0 and 2 and 3 are refused later.
        let framed = [(1, Refusal::TooLong), (4, Refusal::TooLong)];
        let merged = merge(&framed, &[0, 2, 3], Refusal::DeadLettered);
        let lines: Vec<u32> = merged.iter().map(|r| r.0).collect();
        assert_eq!(lines, [0, 1, 3, 4, 5]);
        assert_eq!(merged[2].1, Refusal::DeadLettered);
    }

    #[test]
    fn what_the_socket_did_not_take_goes_first_again() {
        let mut answers = Answers::default();
        answers.settle(1);
        let mut rest = answers.take();
        rest.drain(..4);
        answers.put_back(rest);
        answers.settle(1);
        assert_eq!(answers.take(), b"k\":1}\n{\"ack\":2}\n");
    }
}
