//! The loop of the drain's thread: mail, batches out, blocks in, progress saved.
//!
//! Owns the state; how events are placed and settled is in `place`, `event` and `settle`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tracing::{debug, error, info, warn};

use super::copies::Copies;
use super::event::Spot;
use super::lane::BuilderPool;
use super::lanes::Lanes;
use super::stable_id::StableId;
use super::status::{DrainStatus, LaneStatus};
use super::transact::Run;
use super::unplaced::Unplaced;
use super::{Message, Settings};
use crate::kafka::{Producer, TopicView};
use crate::proof::CopyId;
use crate::route::Scratch;
use crate::spool::{Cursor, DeadLetters};

/// Longest time between two turns of the loop, so that a hang is noticed.
const BEAT: Duration = Duration::from_secs(1);

/// Shortest time between two hand-overs of progress to the committer. Bounds what a crash
/// sends twice to what was acknowledged within it, plus the committer's own flush time.
const SAVE_INTERVAL: Duration = Duration::from_millis(50);

/// Once caught up, new blocks are read this long after the first of them: at low rates every
/// commit is a block, and one wake-up a commit costs as much as the commit.
const NAP: Duration = Duration::from_millis(1);

/// Shortest time between two updates of the status.
const STATUS_INTERVAL: Duration = Duration::from_millis(200);

/// Time between two looks at an event that is not read yet, for its age.
const AGE_LOOK: Duration = Duration::from_secs(1);

/// Time between two looks for topics that are used no more.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Blocks read again for each new one, so that a partition that is back catches up while
/// the others go on.
const LAGGING_BLOCKS: usize = 4;

/// Messages taken before the loop goes on.
const MAIL_AT_ONCE: usize = 256;

pub(super) struct State {
    pub(super) cursor: Cursor,
    pub(super) dead_letters: DeadLetters,
    pub(super) producer: Producer,
    pub(super) settings: Settings,
    pub(super) lanes: Lanes,
    pub(super) unplaced: Unplaced,
    pub(super) copies: Copies,
    /// Which copy each route sends, by its index among the enabled ones.
    pub(super) copy_ids: Vec<CopyId>,
    pub(super) copies_full: bool,
    /// Memory of `place_event`.
    pub(super) spots: Vec<(CopyId, Spot)>,
    /// With transactions only: then nothing is placed but by it.
    pub(super) run: Option<Run>,
    pub(super) pool: BuilderPool,
    pub(super) stable_id: StableId,
    /// Memory of the routes.
    pub(super) scratch: Scratch,
    /// Encoded bytes of batches that wait or are in flight.
    pub(super) sealed_bytes: usize,
    /// Whether something was resolved since the last save.
    pub(super) unsaved: bool,
    pub(super) status: DrainStatus,
    published: Arc<Mutex<DrainStatus>>,
    saved_at: Instant,
    published_at: Instant,
    stop_at: Option<Instant>,
    /// Set by the first new block; nobody is told of another until this is cleared.
    announced: Arc<AtomicBool>,
    nap_until: Option<Instant>,
    swept_at: Instant,
    /// When the oldest waiting event is looked at for its age.
    pub(super) expiry_look: Instant,
    /// The same, to show it.
    age_look: Instant,
}

impl State {
    pub(super) fn new(
        mut cursor: Cursor,
        dead_letters: DeadLetters,
        producer: Producer,
        spool_id: u64,
        settings: Settings,
        inbox: Sender<Message>,
        published: Arc<Mutex<DrainStatus>>,
    ) -> Self {
        let announced = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&announced);
        cursor.on_new_block(move || {
            if !told.swap(true, Ordering::AcqRel) {
                let _ = inbox.send(Message::NewBlock);
            }
        });
        let now = Instant::now();
        let run = settings.transactional.then(|| {
            producer.begin(spool_id);
            Run::new(cursor.position())
        });
        let mut state = Self {
            run,
            cursor,
            dead_letters,
            producer,
            settings,
            lanes: Lanes::default(),
            unplaced: Unplaced::default(),
            copies: Copies::default(),
            copy_ids: Vec::new(),
            copies_full: false,
            spots: Vec::new(),
            pool: BuilderPool::default(),
            stable_id: StableId::new(spool_id),
            scratch: Scratch::default(),
            sealed_bytes: 0,
            unsaved: false,
            status: DrainStatus::default(),
            published,
            saved_at: now,
            published_at: now,
            stop_at: None,
            announced,
            nap_until: None,
            swept_at: now,
            expiry_look: now,
            age_look: now,
        };
        state.use_topics();
        state
    }

    /// Runs until stopped; gives the cursor back, with all progress handed over.
    pub(super) fn run(mut self, mail: &Receiver<Message>) -> Cursor {
        loop {
            let now = Instant::now();
            self.status.turns += 1;
            let stopping = self.stop_at.is_some();
            let worked = !stopping && self.read(now);
            self.send_batches(now);
            self.close_run();
            self.save(now);
            self.forget_topics(now);
            self.publish(now);
            if self
                .stop_at
                .is_some_and(|at| self.is_settled() || now >= at)
            {
                break;
            }
            if !self.take_mail(mail, worked, now) {
                break;
            }
        }
        self.cursor.checkpoint();
        let in_flight = self.lanes.in_flight();
        if in_flight > 0 {
            warn!(
                batches = in_flight,
                "stopped before the broker answered; they go again later"
            );
        }
        self.cursor
    }

    /// Whether nothing of what was read waits for an answer.
    fn is_settled(&self) -> bool {
        let open = self.run.as_ref().is_some_and(Run::is_open);
        self.lanes.in_flight() == 0 && !open
    }

    /// Reads what there is room for. True when something was read.
    fn read(&mut self, now: Instant) -> bool {
        self.judge_topics(now);
        if self.run.is_some() {
            // A run gathers anyway, so there is no need to nap.
            self.nap_until = None;
            self.announced.store(false, Ordering::Release);
            return self.fill(now);
        }
        let expired = self.expire(now);
        let again = (0..LAGGING_BLOCKS)
            .take_while(|_| self.lagging_pass(now))
            .count();
        if self.nap_until.is_some_and(|until| now < until) {
            return expired || again > 0;
        }
        self.nap_until = None;
        // Before the look: a block that comes after it is announced anew.
        self.announced.store(false, Ordering::Release);
        self.main_pass(now) || expired || again > 0
    }

    /// Waits for mail, unless there is work; false when nobody can send any more.
    fn take_mail(&mut self, mail: &Receiver<Message>, worked: bool, now: Instant) -> bool {
        if !worked {
            match mail.recv_timeout(self.wait(now)) {
                Ok(message) => self.take(message, now),
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
        let more: Vec<Message> = mail.try_iter().take(MAIL_AT_ONCE).collect();
        for message in more {
            self.take(message, now);
        }
        true
    }

    fn take(&mut self, message: Message, now: Instant) {
        match message {
            Message::Report(report) => self.settle(report, now),
            Message::NewBlock => {
                self.nap_until.get_or_insert(now + NAP);
            }
            Message::Reload(settings) => {
                info!("routes and batch settings are in force from the next event on");
                self.settings = *settings;
                self.use_topics();
            }
            Message::Stop(deadline) => {
                self.stop_at = Some(deadline);
                self.run.as_mut().into_iter().for_each(Run::stop_filling);
            }
        }
    }

    fn use_topics(&mut self) {
        let router = &self.settings.router;
        self.copy_ids = self.copies.ids(router.route_names());
        let topics = router.topics();
        self.lanes.use_topics(topics);
        topics
            .iter()
            .for_each(|topic| self.producer.want_topic(topic));
        // Events that wait for a topic may have another now, so each looks for them.
        if let Some(first) = self.unplaced.next(0) {
            self.lanes.routed_lag_from(first);
        }
    }

    /// Gives full and lingering batches to the producer.
    fn send_batches(&mut self, now: Instant) {
        let Self {
            lanes,
            settings,
            pool,
            producer,
            sealed_bytes,
            run,
            ..
        } = self;
        let mut run = run.as_mut();
        let mut failed = Vec::new();
        let squeezed = *sealed_bytes + lanes.open_bytes() >= settings.buffer_memory
            || run.as_ref().is_some_and(|run| run.is_closing());
        let limits = &settings.limits;
        for lane in lanes
            .topics_mut()
            .iter_mut()
            .flat_map(|topic| topic.lanes_mut())
        {
            let due = lane.deadline(limits.linger).is_some_and(|due| due <= now);
            if (due || squeezed) && lane.wants_batch(limits) {
                *sealed_bytes += lane.seal(pool);
            }
            let to = lane.partition().clone();
            failed.extend(
                lane.take_failed()
                    .into_iter()
                    .map(|(r, why)| (to.clone(), r, why)),
            );
            while let Some(mut batch) = lane.next_batch(limits) {
                if let Some(run) = &mut run {
                    run.sends(&mut batch);
                }
                producer.send(batch);
            }
        }
        for (to, records, why) in failed {
            error!(topic = %to.topic, partition = to.partition, error = why,
                "cannot encode a batch; its events go to the dead letters");
            if !self.bury(&to, &records, &why, now) {
                self.give_up_run(&why);
            }
        }
    }

    /// How long nothing needs doing.
    fn wait(&self, now: Instant) -> Duration {
        let limits = &self.settings.limits;
        let lanes = self.lanes.topics().iter().flat_map(|topic| topic.lanes());
        let linger = lanes
            .filter(|lane| lane.wants_batch(limits))
            .filter_map(|lane| lane.deadline(limits.linger))
            .min();
        let save = self.unsaved.then(|| self.saved_at + SAVE_INTERVAL);
        let expiry = self.settings.delivery_timeout.map(|_| self.expiry_look);
        let expiry = expiry.filter(|_| self.stop_at.is_none());
        let run = self.run.as_ref().and_then(|run| run.due(limits.linger));
        let wakes = [linger, save, self.stop_at, self.nap_until, expiry, run];
        let wake = wakes.into_iter().flatten().min();
        wake.map_or(BEAT, |at| at.saturating_duration_since(now).min(BEAT))
    }

    fn save(&mut self, now: Instant) {
        if self.unsaved && now.saturating_duration_since(self.saved_at) >= SAVE_INTERVAL {
            self.cursor.checkpoint();
            self.unsaved = false;
            self.saved_at = now;
        }
    }

    /// Encoded and open bytes together.
    pub(super) fn buffered(&self) -> usize {
        self.sealed_bytes + self.lanes.open_bytes()
    }

    /// Notes topics whose patience is used up, and those that are back.
    fn judge_topics(&mut self, now: Instant) {
        let cluster = self.producer.cluster();
        let patience = self.settings.topic_patience;
        for topic in self.lanes.topics_mut() {
            let view = cluster.topics.get(&topic.name);
            if let Some(TopicView::Known { partitions }) = view {
                topic.has_partitions(partitions.len());
            }
            let doomed = match view {
                Some(TopicView::Failing {
                    reason,
                    since,
                    permanent_candidate: true,
                }) => {
                    let waited = now.saturating_duration_since(*since);
                    patience
                        .filter(|patience| waited >= *patience)
                        .map(|_| reason.clone())
                }
                _ => None,
            };
            if let Some(reason) = doomed.as_deref().filter(|_| topic.doomed.is_none()) {
                warn!(topic = %topic.name, reason,
                    "topic_patience is used up; events of this topic go to the dead letters");
            }
            topic.doomed = doomed;
        }
    }

    /// Forgets topics that are used no more, here and at the producer.
    fn forget_topics(&mut self, now: Instant) {
        if now.saturating_duration_since(self.swept_at) < SWEEP_INTERVAL {
            return;
        }
        self.swept_at = now;
        for topic in self.lanes.forget_idle(self.settings.topic_idle, now) {
            debug!(%topic, "no event for it since topic_idle; forgotten until the next");
            self.producer.forget_topic(&topic);
        }
    }

    /// When the oldest event in the spool arrived. While nothing of it has been read, because no
    /// topic is known yet, a look at its block tells.
    fn oldest_waiting(&mut self, now: Instant) -> Option<i64> {
        let known = self.cursor.oldest_unresolved();
        let next = self.cursor.position();
        let is_unseen = self.cursor.watermark() == next && next < self.cursor.end();
        if known.is_some() || !is_unseen || now < self.age_look {
            return known;
        }
        self.age_look = now + AGE_LOOK;
        if let Err(failure) = self.cursor.reread(next) {
            self.status.last_error = Some(failure.to_string());
        }
        self.cursor.oldest_unresolved()
    }

    fn publish(&mut self, now: Instant) {
        if now.saturating_duration_since(self.published_at) < STATUS_INTERVAL {
            if let Ok(mut published) = self.published.lock() {
                published.turns = self.status.turns;
            }
            return;
        }
        self.published_at = now;
        self.status.position = self.cursor.position();
        self.status.oldest_undelivered_ms = self.oldest_waiting(now);
        self.status.unplaced_events = self.unplaced.len();
        self.status.copy_bytes = self.copies.bytes() as u64;
        self.status.buffered_bytes = self.buffered() as u64;
        self.status.run = self.run.as_ref().map(|run| run.status(now));
        let topics = self.lanes.topics();
        self.status.doomed = topics
            .iter()
            .filter_map(|topic| Some((topic.name.to_string(), topic.doomed.clone()?)))
            .collect();
        self.status.lanes = topics
            .iter()
            .flat_map(|topic| topic.lanes())
            .map(|lane| LaneStatus {
                topic: lane.partition().topic.to_string(),
                partition: lane.partition().partition,
                in_flight: lane.in_flight(),
                waiting: lane.waiting(),
                lagging: lane.lag().is_some(),
                last_error: lane.last_error.clone(),
            })
            .collect();
        self.status
            .lanes
            .sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        if let Ok(mut published) = self.published.lock() {
            published.clone_from(&self.status);
        }
    }
}
