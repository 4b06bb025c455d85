//! A small histogram of durations, for status. Pure counting.

use std::time::Duration;

/// Buckets per doubling: a quantile is off by at most a fifth.
const PER_DOUBLING: u32 = 4;
const BUCKETS: usize = 128;

/// Durations from 1 us up, in logarithmic buckets; older values fade.
#[derive(Debug, Clone)]
pub(super) struct Histogram {
    buckets: [u32; BUCKETS],
    count: u32,
}

/// When this many values are in, all buckets are halved, so that status shows the present.
const FADE_AT: u32 = 100_000;

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: [0; BUCKETS],
            count: 0,
        }
    }
}

impl Histogram {
    pub(super) fn add(&mut self, value: Duration) {
        if self.count >= FADE_AT {
            self.buckets.iter_mut().for_each(|bucket| *bucket /= 2);
            self.count = self.buckets.iter().sum();
        }
        let micros = value.as_micros().max(1) as f64;
        let index = (micros.log2() * f64::from(PER_DOUBLING)) as usize;
        if let Some(bucket) = self.buckets.get_mut(index.min(BUCKETS - 1)) {
            *bucket += 1;
            self.count += 1;
        }
    }

    /// The value below which a part of `quantile` (0 to 1) of the values lies, in us.
    pub(super) fn quantile(&self, quantile: f64) -> u64 {
        let wanted = (f64::from(self.count) * quantile).ceil().max(1.0) as u32;
        let mut seen = 0;
        for (index, &bucket) in self.buckets.iter().enumerate() {
            seen += bucket;
            if seen >= wanted {
                return ((index as f64 + 1.0) / f64::from(PER_DOUBLING)).exp2() as u64;
            }
        }
        0
    }
}
