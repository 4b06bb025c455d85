//! When the daemon may call itself alive: intake and drain have each made progress since the
//! last look, or had nothing to do.
//!
//! Pure; the daemon's main task looks and tells systemd.

/// What one look saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pulse {
    /// Turns of the drain's loop: it turns at least once a second.
    pub(super) drain_turns: u64,
    /// Work done by the committer.
    pub(super) commits: u64,
    /// Whether the committer has work in hand.
    pub(super) committing: bool,
}

/// Compares looks.
#[derive(Debug, Default)]
pub(super) struct Watchdog {
    last: Option<Pulse>,
}

impl Watchdog {
    /// Whether both owners are alive as far as this look can tell.
    pub(super) fn alive(&mut self, now: Pulse) -> bool {
        let Some(last) = self.last.replace(now) else {
            return true;
        };
        let drain = now.drain_turns != last.drain_turns;
        let stuck = now.committing && last.committing && now.commits == last.commits;
        drain && !stuck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pulse(drain_turns: u64, commits: u64, committing: bool) -> Pulse {
        Pulse {
            drain_turns,
            commits,
            committing,
        }
    }

    #[test]
    fn an_idle_daemon_is_alive() {
        let mut dog = Watchdog::default();
        assert!((0..5).all(|turn| dog.alive(pulse(turn, 7, false))));
    }

    #[test]
    fn a_hung_drain_is_noticed() {
        let mut dog = Watchdog::default();
        dog.alive(pulse(3, 1, false));
        assert!(!dog.alive(pulse(3, 2, false)));
    }

    #[test]
    fn a_hung_flush_is_noticed() {
        let mut dog = Watchdog::default();
        dog.alive(pulse(1, 5, true));
        assert!(!dog.alive(pulse(2, 5, true)));
        assert!(dog.alive(pulse(3, 6, true)));
    }
}
