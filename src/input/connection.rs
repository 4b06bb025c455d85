//! One connection of a Unix socket input: reads lines, spools them, answers the writer.
//!
//! Two tasks share it: the reader frames and appends, the answerer waits for receipts in
//! order and writes acks. Neither knows what the spool does with an event.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::framing::{Decoder, Framed, Refusal, Unfinished};
use super::park::Rest;
use super::settle::{Answers, merge};
use super::stats::InputStats;
use super::stop::Stop;
use crate::clock::unix_ms;
use crate::config::AckMode;
use crate::event::{EventBuf, Source};
use crate::spool::{AppendError, Appender, Pending, Want};

/// Bytes taken by one read. One such buffer per runtime thread, not per connection.
const READ_BYTES: usize = 256 << 10;

/// Reads of one connection that may wait for their receipt.
const READS_IN_FLIGHT: usize = 64;

/// A writer that takes no answer for this long is closed.
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);

/// Time between two looks whether a writer that waits for its acks is still there.
const HUNG_UP_LOOK: Duration = Duration::from_secs(1);

/// Refusals made at once: less than half of what may wait for a writer.
const REFUSALS_AT_ONCE: usize = 512;

/// Reads made after a stop was asked for, to take what writers had already sent.
const LAST_READS: usize = 16;

thread_local! {
    static READ_BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// What a connection needs to know of its input.
pub struct Context {
    /// Name of the input and the peer.
    pub source: Arc<Source>,
    /// Where events go.
    pub appender: Appender,
    /// What the writer is told.
    pub ack: AckMode,
    /// Whether an unterminated last line is an event.
    pub accept_unterminated: bool,
    /// Longest silence; zero = any.
    pub idle_timeout: Duration,
    /// Counters of the input.
    pub stats: Arc<InputStats>,
}

/// The lines of one read, on their way to the disk.
struct Group {
    lines: u32,
    refused: Vec<(u32, Refusal)>,
    events: u32,
    state: GroupState,
}

enum GroupState {
    /// Waits for its receipt.
    Pending(Pending),
    /// No event of it was taken.
    Refused(Refusal),
    /// It had no events.
    Settled,
}

/// Serves one connection until it ends or `stop` is asked for.
///
/// Gives it back when it need not end: `stop` was asked for, and all its lines are settled.
pub async fn serve(
    stream: UnixStream,
    decoder: Decoder,
    begin: Rest,
    context: Context,
    stop: Stop,
) -> Option<(UnixStream, Rest)> {
    let (groups, answers) = mpsc::channel(READS_IN_FLIGHT);
    let stats = context.stats.clone();
    let ack = context.ack;
    let reader = Reader {
        stream: &stream,
        decoder,
        context,
        groups,
    };
    let ended = {
        let reading = reader.run(&begin.unfinished, stop);
        let answering = answer(&stream, answers, begin.settled, ack, &stats);
        tokio::pin!(reading, answering);
        tokio::select! {
            left = &mut reading => left.zip(answering.await),
            _ = &mut answering => None,
        }
    };
    let (unfinished, settled) = ended?;
    let rest = Rest {
        settled,
        unfinished,
    };
    Some((stream, rest))
}

struct Reader<'a> {
    stream: &'a UnixStream,
    decoder: Decoder,
    context: Context,
    groups: mpsc::Sender<Group>,
}

/// What one try at the socket gave.
enum Step {
    Data(Framed),
    End,
    NotReady,
}

impl Reader<'_> {
    /// Reads to the end; what is left of the last line when a stop came first.
    async fn run(mut self, begin: &Unfinished, mut stop: Stop) -> Option<Unfinished> {
        let mut resumed = Framed::default();
        self.decoder.resume(begin, &mut resumed);
        if !self.hand_over(resumed).await {
            return None;
        }
        loop {
            let ready = tokio::select! {
                ready = self.readable() => ready,
                () = stop.asked() => break,
            };
            if !ready {
                return None;
            }
            match self.step() {
                Step::Data(framed) => {
                    if !self.hand_over(framed).await {
                        return None;
                    }
                }
                Step::NotReady => {}
                Step::End => {
                    self.end().await;
                    return None;
                }
            }
        }
        self.last_reads().await
    }

    /// False when the connection failed or was idle for too long.
    async fn readable(&self) -> bool {
        let idle = self.context.idle_timeout;
        if idle.is_zero() {
            return self.stream.readable().await.is_ok();
        }
        matches!(timeout(idle, self.stream.readable()).await, Ok(Ok(())))
    }

    fn step(&mut self) -> Step {
        READ_BUFFER.with_borrow_mut(|buffer| match self.stream.try_read(buffer) {
            Ok(0) => Step::End,
            Ok(count) => {
                let mut framed = Framed {
                    events: EventBuf::with_room(count),
                    refused: Vec::new(),
                };
                self.decoder
                    .feed(buffer.get(..count).unwrap_or_default(), &mut framed);
                Step::Data(framed)
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Step::NotReady,
            Err(_) => Step::End,
        })
    }

    async fn end(mut self) {
        let mut framed = Framed::default();
        self.decoder
            .finish(self.context.accept_unterminated, &mut framed);
        self.hand_over(framed).await;
    }

    async fn last_reads(mut self) -> Option<Unfinished> {
        for _ in 0..LAST_READS {
            match self.step() {
                Step::Data(framed) => {
                    if !self.hand_over(framed).await {
                        return None;
                    }
                }
                Step::NotReady => break,
                Step::End => {
                    self.end().await;
                    return None;
                }
            }
        }
        Some(self.decoder.leave())
    }

    /// False when the connection is of no more use.
    async fn hand_over(&mut self, framed: Framed) -> bool {
        let lines = framed.lines();
        if lines == 0 {
            return true;
        }
        let events = framed.events.len() as u32;
        self.context.stats.received(&framed);
        let state = match self.append(framed.events).await {
            Ok(state) => state,
            Err(AppendError::Full(_)) => {
                self.context
                    .stats
                    .refused(Refusal::SpoolFull, u64::from(events));
                GroupState::Refused(Refusal::SpoolFull)
            }
            // Closed: an ordered stop has begun, so nothing is said of these lines.
            Err(_) => return false,
        };
        let group = Group {
            lines,
            refused: framed.refused,
            events,
            state,
        };
        self.context.ack == AckMode::None || self.groups.send(group).await.is_ok()
    }

    async fn append(&self, events: EventBuf) -> Result<GroupState, AppendError> {
        if events.is_empty() {
            return Ok(GroupState::Settled);
        }
        let want = match self.context.ack {
            AckMode::Broker => Want::Delivered,
            AckMode::Durable | AckMode::None => Want::Durable,
        };
        let source = self.context.source.clone();
        let pending = self
            .context
            .appender
            .append(events, source, unix_ms(), want)
            .await?;
        Ok(GroupState::Pending(pending))
    }
}

/// Waits for the fate of each group in line order and tells the writer. Gives the number of
/// lines that it was told of, `settled` before it included; `None` when it stopped listening.
async fn answer(
    stream: &UnixStream,
    mut groups: mpsc::Receiver<Group>,
    settled: u64,
    ack: AckMode,
    stats: &InputStats,
) -> Option<u64> {
    let mut voice = Voice {
        stream,
        answers: Answers::after(settled),
        blocked_since: None,
    };
    loop {
        let group = tokio::select! {
            group = groups.recv() => group,
            () = voice.speak_when_blocked() => {
                stats.closed_unread();
                return None;
            }
        };
        let Some(group) = group else { break };
        let lines = group.lines;
        let refused = tokio::select! {
            refused = fate(group, ack, stats) => refused,
            () = voice.speak_when_blocked() => {
                stats.closed_unread();
                return None;
            }
            () = hung_up(stream) => {
                stats.closed_unread();
                // What it has sent is still taken.
                while groups.recv().await.is_some() {}
                return None;
            }
        };
        if !voice.refuse(&refused).await {
            stats.closed_unread();
            return None;
        }
        voice.answers.settle(lines);
        // One answer for whatever is settled by now, unless much is waiting already.
        if (groups.is_empty() || voice.answers.overflow()) && !voice.speak() {
            stats.closed_unread();
            return None;
        }
    }
    if voice.speak() && voice.flush().await {
        Some(voice.answers.settled())
    } else {
        stats.closed_unread();
        None
    }
}

/// Returns once the writer is gone and will read no answer. One that has only ended its
/// sending side is not.
async fn hung_up(stream: &UnixStream) {
    loop {
        tokio::time::sleep(HUNG_UP_LOOK).await;
        let written = stream.try_write(&[]);
        if written.is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock) {
            return;
        }
    }
}

/// Waits until one group is settled; names its refused lines. A line that is not named is
/// safe, because a receipt said so.
async fn fate(group: Group, ack: AckMode, stats: &InputStats) -> Vec<(u32, Refusal)> {
    let Group {
        lines: _,
        refused,
        events,
        state,
    } = group;
    let refuse_all = |reason| {
        let every: Vec<u32> = (0..events).collect();
        merge(&refused, &every, reason)
    };
    match state {
        GroupState::Settled => refused,
        GroupState::Refused(reason) => refuse_all(reason),
        GroupState::Pending(mut pending) => {
            let late = match (pending.receipt().await, ack) {
                (Ok(_receipt), AckMode::Broker) => pending.delivery().await.map(|d| d.refused),
                (Ok(_receipt), _) => Ok(Vec::new()),
                (Err(error), _) => Err(error),
            };
            match late {
                Ok(late) => merge(&refused, &late, Refusal::DeadLettered),
                Err(_) => {
                    stats.refused(Refusal::NotStored, u64::from(events));
                    refuse_all(Refusal::NotStored)
                }
            }
        }
    }
}

/// The writing half: never waits longer, or holds more, than its limits.
struct Voice<'a> {
    stream: &'a UnixStream,
    answers: Answers,
    blocked_since: Option<Instant>,
}

impl Voice<'_> {
    /// Writes what the socket takes at once. False when the writer has not read for too long.
    fn speak(&mut self) -> bool {
        let mut bytes = self.answers.take();
        while !bytes.is_empty() {
            match self.stream.try_write(&bytes) {
                Ok(count) => {
                    bytes.drain(..count);
                    self.blocked_since = None;
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    self.answers.put_back(bytes);
                    let since = self.blocked_since.get_or_insert_with(Instant::now);
                    return since.elapsed() < ANSWER_PATIENCE && !self.answers.overflow();
                }
                Err(_) => return false,
            }
        }
        true
    }

    /// Tells of refused lines, no faster than the writer reads. False when it does not.
    async fn refuse(&mut self, refused: &[(u32, Refusal)]) -> bool {
        for part in refused.chunks(REFUSALS_AT_ONCE) {
            self.answers.refuse(part);
            if self.answers.is_long() && !(self.speak() && self.flush().await) {
                return false;
            }
        }
        true
    }

    /// Waits for the socket to take what it refused. False when the writer does not read.
    async fn flush(&mut self) -> bool {
        while let Some(since) = self.blocked_since {
            let writable = timeout_at(since + ANSWER_PATIENCE, self.stream.writable()).await;
            if !matches!(writable, Ok(Ok(()))) || !self.speak() {
                return false;
            }
        }
        true
    }

    /// The same beside other work: returns only when the writer is to be closed.
    async fn speak_when_blocked(&mut self) {
        if self.flush().await {
            std::future::pending().await
        }
    }
}
