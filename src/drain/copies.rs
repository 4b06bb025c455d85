//! The copies of events that several routes send: which are under way, which wait, which are
//! settled. The spool knows one outcome of an event; it is told when the last copy is settled.
//!
//! Pure. Events with one copy are not known here and cost nothing. Others cost two bits for
//! each copy while one of their copies is open, so a dead partition costs half a byte for
//! each event of two copies that lies behind it. Routes are known by name, so that a changed
//! configuration sends no copy again that the route of that name has sent.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::proof::{CopyId, DeadLettered, Seq, SeqRange};

/// Bytes of memory that copies may take before the drain reads nothing new: enough for a
/// hundred million events of two copies behind a dead partition.
pub(super) const COPY_BYTES_MAX: usize = 64 << 20;

/// What an ending that is remembered takes, about.
const ENDING_BYTES: usize = 128;

/// The copies of all events that have several, one of them open.
#[derive(Debug, Default)]
pub(super) struct Copies {
    /// By the first event of a block.
    sheets: BTreeMap<Seq, Sheet>,
    /// How settled copies ended, where that is worse than delivery.
    endings: BTreeMap<Seq, Worse>,
    /// Name of each copy by its id - 1; free places have none.
    names: Vec<Option<Arc<str>>>,
    row_bytes: usize,
}

/// A worse ending than delivery. It becomes the ending of the event.
#[derive(Debug)]
pub(super) enum Worse {
    /// No route wants the copy any more.
    Dropped,
    /// It is in the dead letters.
    DeadLettered(DeadLettered),
}

/// What the settling of a copy means for its event.
#[derive(Debug)]
pub(super) enum Settled {
    /// Another copy is open.
    Open,
    /// It was the last one, or the only one; the event may leave the spool.
    Whole(Option<Worse>),
}

/// Where a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The route has not sent it.
    Nowhere,
    /// In a batch, or with the producer.
    UnderWay,
    /// In the spool, to be read again.
    Waiting,
    /// Acknowledged or given up.
    Settled,
}

/// The copies of one block.
#[derive(Debug)]
struct Sheet {
    count: u32,
    /// Events with a copy in it.
    events: u32,
    rows: Vec<Row>,
}

/// One copy of each event of a block: two bits, [`Place`] in binary.
#[derive(Debug)]
struct Row {
    copy: CopyId,
    low: Box<[u64]>,
    high: Box<[u64]>,
}

impl Copies {
    /// Whether no event has several copies at the moment.
    pub(super) fn is_empty(&self) -> bool {
        self.sheets.is_empty()
    }

    /// Memory that the copies take, about.
    pub(super) fn bytes(&self) -> usize {
        self.row_bytes + self.endings.len() * ENDING_BYTES
    }

    /// An id for each route, the same for the same name while a copy of it may be open.
    pub(super) fn ids<'n>(&mut self, routes: impl Iterator<Item = &'n Arc<str>>) -> Vec<CopyId> {
        let routes: Vec<&Arc<str>> = routes.collect();
        let rows = self.sheets.values().flat_map(|sheet| &sheet.rows);
        let mut used: Vec<CopyId> = rows.map(|row| row.copy).collect();
        used.sort_unstable();
        for (index, name) in self.names.iter_mut().enumerate() {
            let is_used = used.binary_search(&id_of(index)).is_ok();
            name.take_if(|name| !is_used && !routes.contains(&&*name));
        }
        routes.into_iter().map(|name| self.id(name)).collect()
    }

    fn id(&mut self, name: &Arc<str>) -> CopyId {
        let known = self.names.iter().position(|n| n.as_ref() == Some(name));
        let index = known.or_else(|| self.names.iter().position(Option::is_none));
        let index = index.unwrap_or_else(|| {
            self.names.push(None);
            self.names.len() - 1
        });
        if let Some(place) = self.names.get_mut(index) {
            *place = Some(name.clone());
        }
        id_of(index)
    }

    /// The route of a copy.
    pub(super) fn name(&self, copy: CopyId) -> Option<&str> {
        let index = usize::from(copy.checked_sub(1)?);
        self.names.get(index)?.as_deref()
    }

    /// Notes where a copy of an event with several is.
    pub(super) fn put(&mut self, block: SeqRange, seq: Seq, copy: CopyId, place: Place) {
        let sheet = self.sheets.entry(block.first).or_insert_with(|| Sheet {
            count: block.count,
            events: 0,
            rows: Vec::new(),
        });
        let Some(at) = sheet.offset(block.first, seq) else {
            return;
        };
        let is_new = !sheet.knows(at);
        if !sheet.rows.iter().any(|row| row.copy == copy) {
            let row = Row::new(copy, sheet.count);
            self.row_bytes += row.bytes();
            sheet.rows.push(row);
        }
        if let Some(row) = sheet.rows.iter_mut().find(|row| row.copy == copy) {
            row.set(at, place);
        }
        sheet.events += u32::from(is_new);
    }

    /// A copy that was under way has to go again. Events with one copy are not known.
    pub(super) fn came_back(&mut self, seq: Seq, copy: CopyId) {
        if let Some((first, count)) = self.knows(seq) {
            self.put(SeqRange { first, count }, seq, copy, Place::Waiting);
        }
    }

    /// Every copy that was under way has to go again.
    pub(super) fn all_came_back(&mut self) {
        for row in self.sheets.values_mut().flat_map(|sheet| &mut sheet.rows) {
            for (high, low) in row.high.iter_mut().zip(row.low.iter_mut()) {
                let under_way = !*high & *low;
                *high |= under_way;
                *low &= !under_way;
            }
        }
    }

    /// Forgets blocks that end at `end` or before.
    pub(super) fn forget_before(&mut self, end: Seq) {
        let past = |(first, sheet): &(&Seq, &Sheet)| **first + u64::from(sheet.count) <= end;
        let past: Vec<Seq> = self.sheets.iter().filter(past).map(|(f, _)| *f).collect();
        past.into_iter().for_each(|first| self.forget_block(first));
    }

    /// The block of an event that has several copies.
    fn knows(&self, seq: Seq) -> Option<(Seq, u32)> {
        let (&first, sheet) = self.sheets.range(..=seq).next_back()?;
        let at = sheet.offset(first, seq)?;
        sheet.knows(at).then_some((first, sheet.count))
    }

    /// Whether the event has several copies, one of which is under way or settled.
    pub(super) fn has_begun(&self, seq: Seq) -> bool {
        self.places(seq)
            .any(|(_, place)| matches!(place, Place::UnderWay | Place::Settled))
    }

    /// Where a copy of an event with several is.
    pub(super) fn place(&self, seq: Seq, copy: CopyId) -> Place {
        let found = self.places(seq).find(|(known, _)| *known == copy);
        found.map_or(Place::Nowhere, |(_, place)| place)
    }

    /// Copies that wait to be read again.
    pub(super) fn waiting(&self, seq: Seq) -> Vec<CopyId> {
        let waiting = self.places(seq).filter(|(_, p)| *p == Place::Waiting);
        waiting.map(|(copy, _)| copy).collect()
    }

    fn places(&self, seq: Seq) -> impl Iterator<Item = (CopyId, Place)> + '_ {
        let found = self.sheets.range(..=seq).next_back();
        let found = found.and_then(|(&first, sheet)| Some((sheet, sheet.offset(first, seq)?)));
        found.into_iter().flat_map(|(sheet, at)| {
            let rows = sheet.rows.iter();
            rows.map(move |row| (row.copy, row.get(at)))
        })
    }

    /// Remembers how a copy ended that is about to be settled. A dead letter outweighs all.
    pub(super) fn ended(&mut self, seq: Seq, ending: Worse) {
        if !matches!(self.endings.get(&seq), Some(Worse::DeadLettered(_))) {
            self.endings.insert(seq, ending);
        }
    }

    /// Whether a copy of the event is in the dead letters.
    pub(super) fn has_letter(&self, seq: Seq) -> bool {
        matches!(self.endings.get(&seq), Some(Worse::DeadLettered(_)))
    }

    /// A copy is acknowledged or given up.
    pub(super) fn settle(&mut self, seq: Seq, copy: CopyId) -> Settled {
        let Some((first, count)) = self.knows(seq) else {
            return Settled::Whole(None);
        };
        self.put(SeqRange { first, count }, seq, copy, Place::Settled);
        let is_open =
            |(_, place): (CopyId, Place)| matches!(place, Place::UnderWay | Place::Waiting);
        if self.places(seq).any(is_open) {
            return Settled::Open;
        }
        Settled::Whole(self.forget(seq))
    }

    /// Forgets an event; tells how it ended so far.
    pub(super) fn forget(&mut self, seq: Seq) -> Option<Worse> {
        let ending = self.endings.remove(&seq);
        if let Some((&first, sheet)) = self.sheets.range_mut(..=seq).next_back()
            && let Some(at) = sheet.offset(first, seq)
            && sheet.knows(at)
        {
            sheet
                .rows
                .iter_mut()
                .for_each(|row| row.set(at, Place::Nowhere));
            sheet.events -= 1;
            if sheet.events == 0 {
                self.forget_block(first);
            }
        }
        ending
    }

    /// Forgets a block, because it is gone.
    pub(super) fn forget_block(&mut self, first: Seq) {
        let Some(sheet) = self.sheets.remove(&first) else {
            return;
        };
        self.row_bytes -= sheet.rows.iter().map(Row::bytes).sum::<usize>();
        let gone: Vec<Seq> = self
            .endings
            .range(first..first + u64::from(sheet.count))
            .map(|(seq, _)| *seq)
            .collect();
        gone.iter().for_each(|seq| {
            self.endings.remove(seq);
        });
    }
}

impl Sheet {
    fn offset(&self, first: Seq, seq: Seq) -> Option<usize> {
        let at = seq.checked_sub(first)?;
        (at < u64::from(self.count)).then_some(at as usize)
    }

    fn knows(&self, at: usize) -> bool {
        self.rows.iter().any(|row| row.get(at) != Place::Nowhere)
    }
}

impl Row {
    fn new(copy: CopyId, count: u32) -> Self {
        let words = vec![0; (count as usize).div_ceil(64)].into_boxed_slice();
        Self {
            copy,
            low: words.clone(),
            high: words,
        }
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + (self.low.len() + self.high.len()) * size_of::<u64>()
    }

    fn get(&self, at: usize) -> Place {
        let bit = |words: &[u64]| words.get(at / 64).is_some_and(|w| w >> (at % 64) & 1 == 1);
        match (bit(&self.high), bit(&self.low)) {
            (false, false) => Place::Nowhere,
            (false, true) => Place::UnderWay,
            (true, false) => Place::Waiting,
            (true, true) => Place::Settled,
        }
    }

    fn set(&mut self, at: usize, place: Place) {
        let (high, low) = match place {
            Place::Nowhere => (false, false),
            Place::UnderWay => (false, true),
            Place::Waiting => (true, false),
            Place::Settled => (true, true),
        };
        for (words, is_set) in [(&mut self.high, high), (&mut self.low, low)] {
            if let Some(word) = words.get_mut(at / 64) {
                let bit = 1 << (at % 64);
                *word = if is_set { *word | bit } else { *word & !bit };
            }
        }
    }
}

/// Id 0 is the copy of an event that has no other. There are far fewer routes than ids.
fn id_of(index: usize) -> CopyId {
    CopyId::try_from(index + 1).unwrap_or(CopyId::MAX)
}

#[cfg(test)]
mod tests;
