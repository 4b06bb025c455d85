//! What a changed configuration means for a running daemon, in words.

use super::{Config, KafkaConfig};

/// One difference between the running and a new configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The table or property, as the file names it.
    pub key: &'static str,
    /// Whether it takes effect without a restart.
    pub live: bool,
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let when = if self.live {
            "takes effect now"
        } else {
            "takes effect after a restart"
        };
        write!(f, "{}: {when}", self.key)
    }
}

/// Every difference. Applied at once are the routes, the log filter and when a batch
/// closes; all else is wired into what is open already.
pub fn changes(old: &Config, new: &Config) -> Vec<Change> {
    let kafka = (&old.kafka, &new.kafka);
    let live = [
        ("[[route]]", old.routes != new.routes),
        ("[log] filter", old.log.filter != new.log.filter),
        (
            "[kafka] batch.size",
            kafka.0.batch_size != kafka.1.batch_size,
        ),
        (
            "[kafka] batch.events",
            kafka.0.batch_events != kafka.1.batch_events,
        ),
        ("[kafka] linger.ms", kafka.0.linger != kafka.1.linger),
    ];
    let restart = [
        ("[spool]", old.spool != new.spool),
        ("[[input]]", old.inputs != new.inputs),
        (
            "[kafka] (all but its batch limits)",
            wired(kafka.0) != wired(kafka.1),
        ),
        ("[control]", old.control != new.control),
        (
            "[log] format, repeat_interval",
            log_wired(old) != log_wired(new),
        ),
        ("stop_timeout", old.stop_timeout != new.stop_timeout),
    ];
    let change = |live| move |(key, _): &(&'static str, bool)| Change { key, live };
    let live = live
        .iter()
        .filter(|(_, differs)| *differs)
        .map(change(true));
    let restart = restart
        .iter()
        .filter(|(_, differs)| *differs)
        .map(change(false));
    live.chain(restart).collect()
}

/// The part of `[kafka]` that connections are made of.
fn wired(kafka: &KafkaConfig) -> KafkaConfig {
    let neutral = KafkaConfig::new(Vec::new());
    KafkaConfig {
        batch_size: neutral.batch_size,
        batch_events: neutral.batch_events,
        linger: neutral.linger,
        ..kafka.clone()
    }
}

fn log_wired(config: &Config) -> (super::LogFormat, std::time::Duration) {
    (config.log.format, config.log.repeat_interval)
}
