//! What writers sent and were promised, and whether Kafka holds it.
//!
//! Events are numbered per writer and their bytes follow from writer and number, so that a
//! changed byte shows without keeping what was sent. Knows no sockets and no broker.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::wire::Record;

/// Most violations of a kind that are kept in words.
const WORDS: usize = 10;

/// The events of all writers: sent, acknowledged, refused.
#[derive(Debug, Default, Clone)]
pub struct Journal {
    writers: BTreeMap<u32, Pages>,
}

#[derive(Debug, Default, Clone)]
struct Pages {
    sent: u64,
    acked: BTreeSet<u64>,
    refused: BTreeSet<u64>,
}

/// What was found in Kafka.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Findings {
    /// Records read.
    pub records: u64,
    /// Acknowledged events that are not there.
    pub lost: Vec<(u32, u64)>,
    /// Records beyond the first of their event.
    pub doubled: u64,
    /// Times that a writer's events began again from an earlier one.
    pub rewinds: u64,
    /// Refused events that are there nevertheless.
    pub refused_but_stored: u64,
    /// Events that appear first after a later one of their writer, in words.
    pub out_of_order: Vec<String>,
    /// Records that nobody sent, in words.
    pub strange: Vec<String>,
}

impl Journal {
    /// The bytes of a writer's event: JSON whose length varies from 60 to 580 bytes.
    pub fn event(writer: u32, number: u64) -> Vec<u8> {
        let mut noise = fastrand::Rng::with_seed(u64::from(writer) << 40 | number);
        let length = noise.usize(20..540);
        let pad: String = std::iter::repeat_with(|| noise.alphanumeric())
            .take(length)
            .collect();
        format!(r#"{{"writer":"w{writer}","n":{number},"pad":"{pad}"}}"#).into_bytes()
    }

    /// The number of the writer's next event, which counts as sent from now on.
    pub fn next(&mut self, writer: u32) -> u64 {
        let pages = self.writers.entry(writer).or_default();
        pages.sent += 1;
        pages.sent
    }

    /// The daemon has acknowledged this event.
    pub fn acked(&mut self, writer: u32, number: u64) {
        self.writers.entry(writer).or_default().acked.insert(number);
    }

    /// The daemon has refused this event by name.
    pub fn refused(&mut self, writer: u32, number: u64) {
        self.writers
            .entry(writer)
            .or_default()
            .refused
            .insert(number);
    }

    /// Takes over the writers of another journal; none may be in both.
    pub fn absorb(&mut self, other: Self) {
        self.writers.extend(other.writers);
    }

    /// Events sent by all writers.
    pub fn total_sent(&self) -> u64 {
        self.writers.values().map(|p| p.sent).sum()
    }

    /// Events acknowledged to all writers.
    pub fn total_acked(&self) -> u64 {
        self.writers.values().map(|p| p.acked.len() as u64).sum()
    }

    /// Compares with the records of a topic, given by partition and offset.
    ///
    /// Order is looked at within each partition. A crash may make a part be sent again, in
    /// the same order: that is a rewind and doubles events, but never brings a new event
    /// after a later one.
    pub fn check<'a>(&self, records: impl IntoIterator<Item = &'a Record>) -> Findings {
        let mut found = Findings::default();
        let mut seen: HashMap<u32, BTreeSet<u64>> = HashMap::new();
        let mut last: HashMap<(u32, i32), (u64, u64)> = HashMap::new();
        for record in records {
            found.records += 1;
            let value = record.value.as_deref().unwrap_or_default();
            let Some((writer, number)) = self.identify(value) else {
                note(&mut found.strange, || {
                    let at = (record.partition, record.offset);
                    format!("{at:?}: {}", String::from_utf8_lossy(value))
                });
                continue;
            };
            let first_time = seen.entry(writer).or_default().insert(number);
            found.doubled += u64::from(!first_time);
            let (previous, highest) = last.entry((writer, record.partition)).or_default();
            found.rewinds += u64::from(number <= *previous);
            if first_time && number < *highest {
                note(&mut found.out_of_order, || {
                    format!("writer {writer}: {number} first seen after {highest}")
                });
            }
            *previous = number;
            *highest = number.max(*highest);
        }
        for (&writer, pages) in &self.writers {
            let seen = seen.remove(&writer).unwrap_or_default();
            found.lost.extend(
                pages
                    .acked
                    .difference(&seen)
                    .map(|&number| (writer, number)),
            );
            found.refused_but_stored += pages.refused.intersection(&seen).count() as u64;
        }
        found
    }

    /// Which event these bytes are; `None` when nobody sent exactly them.
    fn identify(&self, value: &[u8]) -> Option<(u32, u64)> {
        let text = std::str::from_utf8(value).ok()?;
        let (writer, rest) = text
            .strip_prefix(r#"{"writer":"w"#)?
            .split_once(r#"","n":"#)?;
        let writer = writer.parse().ok()?;
        let number = rest.split_once(',')?.0.parse().ok()?;
        let sent = self.writers.get(&writer)?.sent;
        (number <= sent && Self::event(writer, number) == value).then_some((writer, number))
    }
}

fn note(words: &mut Vec<String>, text: impl FnOnce() -> String) {
    if words.len() < WORDS {
        words.push(text());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Codec;

    fn journal(sent: u64) -> Journal {
        let mut journal = Journal::default();
        for _ in 0..sent {
            let number = journal.next(1);
            journal.acked(1, number);
        }
        journal
    }

    fn records(numbers: &[u64]) -> Vec<Record> {
        let record = |(offset, &number): (i64, &u64)| Record {
            partition: 0,
            offset,
            timestamp: 0,
            key: None,
            value: Some(Journal::event(1, number).into()),
            headers: Vec::new(),
            producer_id: -1,
            producer_epoch: -1,
            sequence: -1,
            batch_offset: 0,
            codec: Codec::None,
        };
        (0..).zip(numbers).map(record).collect()
    }

    #[test]
    fn a_replay_after_a_crash_is_doubled_but_in_order() {
        let found = journal(5).check(&records(&[1, 2, 3, 2, 3, 4, 5]));
        assert_eq!((found.doubled, found.rewinds), (2, 1));
        assert!(found.lost.is_empty() && found.out_of_order.is_empty());
    }

    #[test]
    fn a_missing_a_late_and_a_changed_event_are_found() {
        let mut read = records(&[1, 3, 2, 4, 6]);
        let found = journal(5).check(&read);
        assert_eq!(found.lost, [(1, 5)]);
        assert_eq!(found.out_of_order.len(), 1);
        assert_eq!(found.strange.len(), 1, "event 6 was never sent");
        read.truncate(1);
        let mut changed = Journal::event(1, 1);
        changed[40] ^= 1;
        read[0].value = Some(changed.into());
        assert_eq!(journal(1).check(&read).strange.len(), 1);
    }
}
