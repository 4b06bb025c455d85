//! Transactions: a run of events and the position behind it become visible together.
//!
//! # What happens
//! The drain hands over a run: batches that all carry the run's number, then its end. The
//! batches and one record with the position ([`super::position`]) go into one transaction;
//! only the coordinator's "committed" makes the proofs by which events leave the spool. So
//! a consumer with isolation.level=read_committed sees each event once, whatever dies when:
//! after a crash the position says which events the last commit covered.
//!
//! # One way back
//! Whatever goes wrong within a run (a batch in doubt, a refused record, no answer before
//! the time is up, a commit whose answer was lost for good) ends the same way as a restart:
//! wait until nothing is on the wire, abort, take a new epoch, read the position, begin again
//! behind it. A retry within a run sends the same bytes, as without transactions.
//!
//! # Layout
//! - [`machine`]: what may happen when, without I/O. It alone holds the authority to say
//!   "the broker has it" in this mode; the core can only say "stored".
//! - `open`: one run in its transaction, batch by batch.
//! - `age`: how long the transaction is open, and who waits for it.
//! - [`coordinator`]: the task that talks to the transaction coordinator.
//! - `dialog`: that task's connection, and its patience.
//! - `report`: what the drain is told.
//!
//! Rules: KIP-98; KIP-890 for transaction version 2, where partitions join by being written
//! and each end raises the epoch, so that nothing of an old run can be appended late.

mod age;
mod coordinator;
mod dialog;
mod machine;
mod open;
mod report;
#[cfg(test)]
mod tests;

pub(super) use coordinator::{Ask, CoordinatorTask, News};
pub(super) use machine::{Machine, Step};
pub use report::{AbortCause, Recovered, RunReport, TransactionStatus};
