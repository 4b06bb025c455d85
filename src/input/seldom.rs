//! Says the same thing once in a while only: what strangers can cause as often as they like
//! must not fill the log. Counts nothing; the counters of the input do.

use std::time::{Duration, Instant};

/// Time between two sayings.
const PAUSE: Duration = Duration::from_secs(10);

/// When something was said last.
#[derive(Debug, Default)]
pub struct Seldom(Option<Instant>);

impl Seldom {
    /// Whether it is to be said now.
    pub fn is_due(&mut self) -> bool {
        self.is_due_at(Instant::now())
    }

    fn is_due_at(&mut self, now: Instant) -> bool {
        let is_due = self.0.is_none_or(|last| now >= last + PAUSE);
        if is_due {
            self.0 = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_is_said_at_once_and_then_seldom() {
        let mut seldom = Seldom::default();
        let start = Instant::now();
        let said = (0..1000).filter(|at| seldom.is_due_at(start + Duration::from_millis(50) * *at));
        assert_eq!(said.collect::<Vec<_>>(), [0, 200, 400, 600, 800]);
    }
}
