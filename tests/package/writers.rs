//! Writers that keep writing while the service comes and goes: each reconnects when its
//! connection ends, sends again what was not acknowledged, and counts refused connections.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use anyhow::Result;
use spoolway_test_support::daemon::{Journal, Writer};

/// Most lines of a writer that wait for their ack.
const WINDOW: usize = 200;

/// What all writers have seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Connections that were refused.
    pub(crate) refused: AtomicU64,
    /// Connections that were made.
    pub(crate) connected: AtomicU64,
    /// Lines that were acknowledged.
    pub(crate) acked: AtomicU64,
}

/// Some writers at work.
pub(crate) struct Writers {
    pub(crate) seen: Arc<Seen>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<Journal>>>,
}

impl Writers {
    pub(crate) fn start(count: u32, socket: &Path) -> Self {
        let (seen, stop) = (Arc::<Seen>::default(), Arc::<AtomicBool>::default());
        let threads = (1..=count).map(|number| {
            let work = Work {
                number,
                socket: socket.to_owned(),
                seen: seen.clone(),
                stop: stop.clone(),
                journal: Journal::default(),
                open: VecDeque::new(),
            };
            std::thread::spawn(move || work.run())
        });
        let threads = threads.collect();
        Self {
            seen,
            stop,
            threads,
        }
    }

    /// Waits until everything sent is acknowledged; what was sent and promised.
    pub(crate) fn finish(self) -> Result<Journal> {
        self.stop.store(true, Ordering::Release);
        let mut whole = Journal::default();
        for thread in self.threads {
            let journal = thread
                .join()
                .map_err(|_| anyhow::anyhow!("a writer failed"))?;
            whole.absorb(journal?);
        }
        Ok(whole)
    }
}

struct Work {
    number: u32,
    socket: PathBuf,
    seen: Arc<Seen>,
    stop: Arc<AtomicBool>,
    journal: Journal,
    /// Numbers of the events that are not acknowledged, oldest first.
    open: VecDeque<u64>,
}

impl Work {
    fn run(mut self) -> Result<Journal> {
        while !self.stopped() || !self.open.is_empty() {
            match Writer::connect(&self.socket) {
                Ok(writer) => {
                    self.seen.connected.fetch_add(1, Ordering::Relaxed);
                    // How it ends does not matter: what has no ack is sent again.
                    let _ = self.talk(writer);
                }
                Err(_) => {
                    self.seen.refused.fetch_add(1, Ordering::Relaxed);
                    std::thread::park_timeout(std::time::Duration::from_millis(5));
                }
            }
        }
        Ok(self.journal)
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn talk(&mut self, mut writer: Writer) -> Result<()> {
        let mut settled = 0;
        let again: Vec<u64> = self.open.iter().copied().collect();
        for event in again {
            writer.send(&Journal::event(self.number, event))?;
        }
        loop {
            if !self.stopped() && self.open.len() < WINDOW {
                let event = self.journal.next(self.number);
                self.open.push_back(event);
                writer.send(&Journal::event(self.number, event))?;
            } else {
                let wanted = settled + 1;
                let told =
                    writer.wait("one more ack", |told| told.acked >= wanted || told.closed)?;
                self.settle(&mut settled, told.acked);
                anyhow::ensure!(!told.closed, "closed");
            }
            self.settle(&mut settled, writer.told().acked);
            if self.stopped() && self.open.is_empty() {
                return Ok(());
            }
        }
    }

    fn settle(&mut self, settled: &mut u64, acked: u64) {
        while *settled < acked {
            *settled += 1;
            if let Some(event) = self.open.pop_front() {
                self.journal.acked(self.number, event);
                self.seen.acked.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}
