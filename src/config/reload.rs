//! What a changed configuration means for a running daemon, in words.

use super::Config;

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

impl Config {
    /// This configuration with those parts of `new` that take effect without a restart.
    /// What needs one is then said again at the next reload.
    pub fn with_live_parts(&self, new: Config) -> Config {
        let mut merged = self.clone();
        merged.routes = new.routes;
        merged.routing = new.routing;
        merged.log.filter = new.log.filter;
        merged.kafka.batch_size = new.kafka.batch_size;
        merged.kafka.batch_events = new.kafka.batch_events;
        merged.kafka.linger = new.kafka.linger;
        // In force through the routes, which differ with it.
        merged.kafka.partitioner = new.kafka.partitioner;
        merged
    }
}

/// Every difference. Applied at once are the routes, the log filter and when a batch
/// closes; all else is wired into what is open already.
pub fn changes(old: &Config, new: &Config) -> Vec<Change> {
    let live = [
        ("[[route]]", old.routes != new.routes),
        ("[routing]", old.routing != new.routing),
        ("[log] filter", old.log.filter != new.log.filter),
        (
            "[kafka] batch.size",
            old.kafka.batch_size != new.kafka.batch_size,
        ),
        (
            "[kafka] batch.events",
            old.kafka.batch_events != new.kafka.batch_events,
        ),
        ("[kafka] linger.ms", old.kafka.linger != new.kafka.linger),
    ];
    // What still differs once the live parts are the same.
    let merged = old.with_live_parts(new.clone());
    let restart = [
        ("[spool]", merged.spool != new.spool),
        ("[[input]]", merged.inputs != new.inputs),
        (
            "[kafka] (all but its batch limits)",
            merged.kafka != new.kafka,
        ),
        ("[control]", merged.control != new.control),
        ("[log] format, repeat_interval", merged.log != new.log),
        ("stop_timeout", merged.stop_timeout != new.stop_timeout),
    ];
    let live = live.into_iter().map(|(key, differs)| (key, differs, true));
    let restart = restart
        .into_iter()
        .map(|(key, differs)| (key, differs, false));
    live.chain(restart)
        .filter(|(_, differs, _)| *differs)
        .map(|(key, _, live)| Change { key, live })
        .collect()
}
