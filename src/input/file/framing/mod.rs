//! From bytes of a log file to events with their offsets, and how far a checkpoint may go.
//!
//! Pure. Holds nothing of a file but a few numbers: whoever reads the file brings a window
//! of it that begins at [`Progress::consumed`], and brings the unfinished bytes again. Opens
//! no file and knows no clock.

use crate::config::{FileConfig, LineEnding, MultilineRule};
use crate::event::EventBuf;

use encoding::{cut_at, decode, find_newline, mark, unit, without};
use run::{Found, Run};

mod encoding;
mod run;

/// How much one [`Framed`] may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunLimits {
    /// Most payload bytes, unless a single event has more.
    pub bytes: usize,
    /// Most events, at least 1.
    pub events: usize,
}

/// How the files of one input are framed.
#[derive(Debug, Clone)]
pub struct Framing {
    config: FileConfig,
    limits: RunLimits,
}

/// How far one file is framed. Small, whatever the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Offset at which the first unfinished event begins: the checkpoint.
    consumed: u64,
    /// Whether `consumed` is inside a line whose rest is skipped.
    skipping: bool,
    /// Bytes after `consumed` that are known to hold no end of a line beyond `held`.
    scanned: u64,
    /// Bytes after `consumed` that are whole lines of an unfinished event.
    held: u64,
    /// How many lines those are.
    lines: u32,
    /// Bytes of cut lines that were left out so far.
    left_out: u64,
}

/// What is known of the bytes behind a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// The file may grow, or the window ends before the file does.
    MayGrow,
    /// The file may grow, but has not for the timeout of multiline: an event of whole lines
    /// is finished. A line without its end is still held.
    TimedOut,
    /// The window reaches the end of a file that will not grow: what is left is an event.
    Ended,
}

/// Events that follow each other in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Framed {
    /// The events, without their line ends.
    pub events: EventBuf,
    /// Offset of the first one in the file, in bytes.
    pub offset: u64,
    /// Bytes between the end of one event and the beginning of the next.
    pub gap: u8,
    /// The only event is the beginning of a line that was longer than `max_line`.
    pub is_cut: bool,
    /// The checkpoint behind the last event.
    pub consumed: u64,
    /// Whether that checkpoint is inside a line whose rest is to be skipped.
    pub skipping: bool,
}

impl Progress {
    /// A file whose checkpoint is this.
    pub fn new(consumed: u64, skipping: bool) -> Self {
        Self {
            consumed,
            skipping,
            scanned: 0,
            held: 0,
            lines: 0,
            left_out: 0,
        }
    }

    /// Offset at which the first unfinished event begins, and every window.
    pub fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Whether the checkpoint is inside a line whose rest is skipped.
    pub fn skipping(&self) -> bool {
        self.skipping
    }

    /// Offset of the first byte that was not searched yet. A file of this size has nothing
    /// new.
    pub fn searched_to(&self) -> u64 {
        self.consumed + self.scanned
    }

    /// Whether whole lines wait for more, so that [`Tail::TimedOut`] would make an event.
    pub fn is_open(&self) -> bool {
        self.lines > 0
    }

    /// Bytes of cut lines that were left out since the last call.
    pub fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }
}

impl Framing {
    /// Framing as `config` has it, in portions of `limits`.
    pub fn new(config: &FileConfig, limits: RunLimits) -> Self {
        Self {
            config: config.clone(),
            limits,
        }
    }

    /// A window of this many bytes always gets on, where the file has as many.
    pub fn window_max(&self) -> usize {
        let multiline = self.config.multiline.as_ref();
        let event = multiline.map_or(0, |multiline| multiline.max_bytes as usize);
        let ends = 4 * unit(self.config.encoding);
        event + self.max_line() + ends + mark(self.config.encoding).len()
    }

    /// Whether `fresh`, the bytes from [`Progress::searched_to`] on, hold something that a
    /// window has to be framed for. Otherwise they need never be searched again.
    pub fn ends_in(&self, progress: &mut Progress, fresh: &[u8]) -> bool {
        let line = progress.scanned - progress.held + fresh.len() as u64;
        let found = progress.skipping
            || line > self.max_line() as u64
            || find_newline(self.config.encoding, fresh, 0).is_some();
        if !found {
            let unit = unit(self.config.encoding);
            progress.scanned += (fresh.len() - fresh.len() % unit) as u64;
        }
        found
    }

    /// Frames `window`, which begins at [`Progress::consumed`]; the events go to `out`.
    ///
    /// What is left behind the new [`Progress::consumed`] has to be in the next window again.
    pub fn frame(
        &self,
        progress: &mut Progress,
        window: &[u8],
        tail: Tail,
        out: &mut impl FnMut(Framed),
    ) {
        let mark = mark(self.config.encoding);
        let has_mark = progress.consumed == 0 && !mark.is_empty() && window.starts_with(mark);
        let mut turn = Turn {
            framing: self,
            base: progress.consumed,
            progress,
            window,
            tail,
            at: 0,
            run: Run::new(self.limits),
            out,
        };
        if has_mark {
            turn.advance(mark.len());
        }
        while turn.skip() && turn.line() {}
        if tail != Tail::MayGrow {
            turn.finish_open();
        }
        turn.run.finish(turn.out);
    }

    fn max_line(&self) -> usize {
        self.config.max_line as usize
    }

    /// The content of a line: `bytes` up to its newline, without a carriage return that
    /// belongs to it.
    fn content<'w>(&self, bytes: &'w [u8]) -> &'w [u8] {
        match self.config.line_ending {
            LineEnding::Auto => without(self.config.encoding, b'\r', bytes).unwrap_or(bytes),
            LineEnding::Lf => bytes,
        }
    }
}

/// A line of the window; positions are in the window.
#[derive(Debug, Clone, Copy)]
struct Line {
    start: usize,
    /// End of what is kept of its content.
    end: usize,
    /// Where the next line begins, or the rest that is skipped.
    next: usize,
    is_cut: bool,
    /// The rest goes on behind the window.
    skipping: bool,
}

/// One window being framed.
struct Turn<'t, F> {
    framing: &'t Framing,
    progress: &'t mut Progress,
    window: &'t [u8],
    /// Offset of the window in the file.
    base: u64,
    tail: Tail,
    /// Position of the first unfinished event.
    at: usize,
    run: Run,
    out: &'t mut F,
}

impl<F: FnMut(Framed)> Turn<'_, F> {
    /// Skips the rest of a cut line. False when it goes on behind the window.
    fn skip(&mut self) -> bool {
        if !self.progress.skipping {
            return true;
        }
        let encoding = self.framing.config.encoding;
        let newline = find_newline(encoding, self.window, self.at);
        let end = newline.unwrap_or(self.at + self.searchable(self.at).len());
        self.progress.left_out += (end - self.at) as u64;
        self.progress.skipping = newline.is_none() && self.tail != Tail::Ended;
        self.advance(newline.map_or(end, |newline| newline + unit(encoding)));
        newline.is_some()
    }

    /// Handles the next line. False when the window holds no further one.
    fn line(&mut self) -> bool {
        let encoding = self.framing.config.encoding;
        let start = self.at + self.progress.held as usize;
        let newline = find_newline(
            encoding,
            self.window,
            self.at + self.progress.scanned as usize,
        );
        let ends = newline.is_some() || self.tail == Tail::Ended;
        let raw = match newline {
            Some(newline) => self.window.get(start..newline).unwrap_or_default(),
            None => self.searchable(start),
        };
        // At the end of a file a carriage return may stand alone, and then it is content.
        let content = if newline.is_none() && ends {
            raw
        } else {
            self.framing.content(raw)
        };
        let max = self.framing.max_line();
        let is_cut = content.len() > max;
        if newline.is_none() && (raw.is_empty() || !ends && !is_cut) {
            self.progress.scanned = self.progress.held + raw.len() as u64;
            return false;
        }
        let kept = if is_cut {
            cut_at(encoding, content, max)
        } else {
            content.len()
        };
        let end = start + kept;
        let ended = start + raw.len();
        if is_cut && ends {
            self.progress.left_out += (ended - end) as u64;
        }
        let next = match newline {
            Some(newline) => newline + unit(encoding),
            None if ends => ended,
            None => end,
        };
        self.take(Line {
            start,
            end,
            next,
            is_cut,
            skipping: !ends,
        });
        true
    }

    /// What a newline can be searched in: whole code units, unless nothing will follow.
    fn searchable(&self, from: usize) -> &[u8] {
        let rest = self.window.get(from..).unwrap_or_default();
        let half = match self.tail {
            Tail::Ended => 0,
            _ => rest.len() % unit(self.framing.config.encoding),
        };
        rest.get(..rest.len() - half).unwrap_or_default()
    }

    /// Makes an event of a line, or adds it to the open one.
    fn take(&mut self, line: Line) {
        let framing = self.framing;
        let Some(multiline) = &framing.config.multiline else {
            self.emit(line);
            return;
        };
        let kept = self.window.get(line.start..line.end).unwrap_or_default();
        let text = decode(framing.config.encoding, kept);
        let (begins, ends) = match &multiline.rule {
            MultilineRule::Start(pattern) => (pattern.is_in(&text), false),
            MultilineRule::Continue(pattern) => (!pattern.is_in(&text), false),
            MultilineRule::End(pattern) => (false, pattern.is_in(&text)),
        };
        if begins || line.end - self.at > multiline.max_bytes as usize {
            self.finish_open();
        }
        self.progress.lines += 1;
        self.progress.held = (line.next - self.at) as u64;
        self.progress.scanned = self.progress.held;
        if ends || line.is_cut || self.progress.lines >= multiline.max_lines {
            let start = self.at;
            self.emit(Line { start, ..line });
        }
    }

    /// Makes an event of the whole lines held, when there are any.
    fn finish_open(&mut self) {
        if self.progress.lines == 0 {
            return;
        }
        let encoding = self.framing.config.encoding;
        let next = self.at + self.progress.held as usize;
        let held = self.window.get(self.at..next).unwrap_or_default();
        let content = match without(encoding, b'\n', held) {
            Some(line) => self.framing.content(line),
            None => held,
        };
        self.emit(Line {
            start: self.at,
            end: self.at + content.len(),
            next,
            is_cut: false,
            skipping: false,
        });
    }

    fn emit(&mut self, line: Line) {
        let raw = self.window.get(line.start..line.end).unwrap_or_default();
        let found = Found {
            bytes: &decode(self.framing.config.encoding, raw),
            offset: self.base + line.start as u64,
            is_cut: line.is_cut,
            consumed: self.base + line.next as u64,
            skipping: line.skipping,
        };
        self.run.push(&found, self.out);
        self.advance(line.next);
        self.progress.skipping = line.skipping;
    }

    /// Everything before `next` is done.
    fn advance(&mut self, next: usize) {
        self.at = next;
        self.progress.consumed = self.base + next as u64;
        self.progress.scanned = 0;
        self.progress.held = 0;
        self.progress.lines = 0;
    }
}

#[cfg(test)]
mod tests;
