//! Log files, through the real daemon to Kafka: every byte that was written, compared.
//!
//! `SPOOLWAY_TAIL_RACES` sets the number of rotation races of each kind (200),
//! `SPOOLWAY_TAIL_KINDS` the kinds (`CopyTruncate,LogrotateCopy`), `SPOOLWAY_SEED` repeats the
//! decisions of a run. What a crash may double is a record under
//! the same `spoolway-id`; a line under a second id was read twice, and fails. `tests/it/tail`
//! looks at single promises.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test, helpers included, fails by panicking"
)]

/// What has arrived.
mod arrivals;
/// Strange files and hostile directories.
mod hostile;
/// Rotation races.
mod races;
/// The daemon and its deaths.
mod rig;
/// Programs that write and rotate.
mod rotate;
