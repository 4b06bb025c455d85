//! Inputs: where events come from.
//!
//! An input frames bytes into events, hands them to the spool's `Appender`, and answers its
//! writer only when it holds a receipt. It never sees a sequence number, a topic or a broker.

pub mod activation;
pub mod connection;
pub mod file;
pub mod framing;
pub mod park;
pub mod seldom;
pub mod settle;
pub mod stats;
pub mod stop;
pub mod unix;
