//! The daemon that follows files, and its deaths.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::Value;
use spoolway_test_support::daemon::Daemon;

/// Longest time of an ordered stop.
const STOPPED_WITHIN: Duration = Duration::from_secs(15);

pub(crate) fn from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Random numbers of a test; the seed is printed for `SPOOLWAY_SEED`.
pub(crate) fn rng(test: &str) -> Rng {
    let seed = from_env("SPOOLWAY_SEED").unwrap_or_else(|| fastrand::u64(..));
    eprintln!("{test}: SPOOLWAY_SEED={seed}");
    Rng::with_seed(seed)
}

/// A daemon that follows `logs/*.log` and `logs/*/*.log` in its folder, not started yet;
/// `more` are lines of the input.
pub(crate) fn prepare(bootstrap: &str, more: &str) -> (Daemon, PathBuf) {
    prepare_binary(env!("CARGO_BIN_EXE_spoolway").into(), bootstrap, more)
}

/// The same with another binary.
pub(crate) fn prepare_binary(binary: PathBuf, bootstrap: &str, more: &str) -> (Daemon, PathBuf) {
    let daemon = Daemon::builder(binary)
        .bootstrap(bootstrap)
        .topic(super::arrivals::TOPIC)
        .kafka("batch.events = 100")
        .kafka("reconnect.backoff.ms = 20\nreconnect.backoff.max.ms = 200")
        .prepare()
        .unwrap();
    let logs = daemon.folder().join("logs");
    fs::create_dir(&logs).unwrap();
    let mut config = File::options().append(true).open(daemon.config()).unwrap();
    let logs_text = logs.display();
    write!(
        config,
        "[[input]]\nname = \"logs\"\ntype = \"file\"\n\
         include = [\"{logs_text}/*.log\", \"{logs_text}/*/*.log\"]\n\
         start = \"beginning\"\nscan_interval = \"100ms\"\n{more}\n"
    )
    .unwrap();
    (daemon, logs)
}

/// What the status says of the file input.
pub(crate) fn stats(daemon: &Daemon) -> Value {
    daemon.status_json().unwrap()["inputs"][1].clone()
}

/// One time in which no daemon ran.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Death {
    pub(crate) from: Instant,
    pub(crate) until: Instant,
}

/// How the daemon is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Killed,
    Stopped,
}

/// Ends the daemon, and starts it again after a random while.
pub(crate) fn die(daemon: &mut Daemon, end: End, rng: &mut Rng) -> Death {
    let from = Instant::now();
    match end {
        End::Killed => daemon.kill9().unwrap(),
        End::Stopped => {
            let status = daemon.sigterm(STOPPED_WITHIN).unwrap();
            assert!(status.success(), "{status}: {}", daemon.log());
        }
    }
    thread::park_timeout(Duration::from_millis(rng.u64(0..400)));
    daemon.start().unwrap();
    Death {
        from,
        until: Instant::now(),
    }
}
