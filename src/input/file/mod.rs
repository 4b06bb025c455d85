//! Log files as an input: followed through every rotation, each line once.

pub mod framing;
