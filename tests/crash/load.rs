//! Writers that send without end, reconnect when the daemon goes, and remember what they
//! were promised.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use fastrand::Rng;
use spoolway_test_support::daemon::{Journal, Writer};

/// Events of one burst.
const BURST: Range<u64> = 1..16;
/// Pause after a burst, in milliseconds: a few thousand events a second in all.
const PAUSE_MS: Range<u64> = 1..6;
/// Pause after an attempt to connect that failed.
const RECONNECT: Duration = Duration::from_millis(5);

/// Running writers.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    writers: Vec<JoinHandle<Journal>>,
}

impl Load {
    /// Starts writers with the numbers `ids`, which no other load may use.
    pub(crate) fn start(socket: &Path, ids: Range<u32>, seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let writers = ids.map(|id| {
            let (stop, socket) = (Arc::clone(&stop), PathBuf::from(socket));
            let rng = Rng::with_seed(seed ^ u64::from(id));
            thread::spawn(move || write(id, &socket, &stop, rng))
        });
        Self {
            stop: Arc::clone(&stop),
            writers: writers.collect(),
        }
    }

    /// Ends the writers, each once what it sent is settled or its connection is gone.
    pub(crate) fn stop(self) -> Journal {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Journal::default();
        for writer in self.writers {
            all.absorb(writer.join().expect("a writer thread ends well"));
        }
        all
    }
}

fn write(id: u32, socket: &Path, stop: &AtomicBool, mut rng: Rng) -> Journal {
    let mut journal = Journal::default();
    while !stop.load(Ordering::Relaxed) {
        match Writer::connect(socket) {
            Ok(mut writer) => converse(id, &mut writer, &mut journal, stop, &mut rng),
            Err(_) => thread::park_timeout(RECONNECT),
        }
    }
    journal
}

/// One connection, from the first line to its end.
fn converse(id: u32, writer: &mut Writer, journal: &mut Journal, stop: &AtomicBool, rng: &mut Rng) {
    let mut numbers = Vec::new();
    let gone = loop {
        if stop.load(Ordering::Relaxed) {
            break false;
        }
        let burst = rng.u64(BURST);
        let mut bytes = Vec::new();
        for _ in 0..burst {
            let number = journal.next(id);
            numbers.push(number);
            bytes.extend(Journal::event(id, number));
            bytes.push(b'\n');
        }
        if writer.send_lines(&bytes, burst).is_err() {
            break true;
        }
        thread::park_timeout(Duration::from_millis(rng.u64(PAUSE_MS)));
    };
    // Answers sent before a kill are still read: they are promises all the same.
    let told = if gone {
        writer.wait_closed()
    } else {
        writer.wait("the last ack or the end", |told| {
            told.closed || told.acked >= writer.sent()
        })
    };
    let told = told.expect("an answer or the end of the connection");
    assert!(told.strange.is_empty(), "answers: {:?}", told.strange);
    for (line, &number) in (1..).zip(&numbers) {
        if told.refused.contains_key(&line) {
            journal.refused(id, number);
        } else if line <= told.acked {
            journal.acked(id, number);
        }
    }
}
