//! One table from Kafka's error codes to what the producer does, with the reason in words.
//!
//! Codes and names: <https://kafka.apache.org/protocol#protocol_error_codes>. Whether a
//! code may be retried is decided here and nowhere else.

/// What a produce answer means for the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// In the log.
    Stored,
    /// Not in the log; the same bytes may go again.
    Retry,
    /// Perhaps in the log; the same bytes may go again and are then recognised.
    Unclear,
    /// Not in the log; ask for the leader first.
    Refresh,
    /// The sequence does not follow what the broker remembers: no verdict alone.
    Gap,
    /// The producer id or its epoch is no longer good: a new id after a full round.
    Fence,
    /// Not in the log, and never as one batch.
    Split,
    /// Not in the log, and never with this content.
    Reject,
    /// Not in the log until a person changes the topic or its rights.
    Deny,
    /// Not in the log because of the send time; goes again with a new one.
    Restamp,
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) code: i16,
    /// Kafka's own name.
    pub(super) name: &'static str,
    pub(super) outcome: Outcome,
    /// What it means and what to do, for a person.
    pub(super) words: &'static str,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}): {}", self.name, self.code, self.words)
    }
}

const fn row(code: i16, name: &'static str, outcome: Outcome, words: &'static str) -> Verdict {
    Verdict {
        code,
        name,
        outcome,
        words,
    }
}

/// Sorted by code.
const TABLE: &[Verdict] = {
    use Outcome::{Deny, Fence, Gap, Refresh, Reject, Restamp, Retry, Split, Stored, Unclear};
    &[
        row(
            -1,
            "UNKNOWN_SERVER_ERROR",
            Unclear,
            "the broker failed inside; retried, its log has the cause",
        ),
        row(0, "NONE", Stored, "stored"),
        row(
            2,
            "CORRUPT_MESSAGE",
            Retry,
            "the broker read other bytes than were sent; retried",
        ),
        row(
            3,
            "UNKNOWN_TOPIC_OR_PARTITION",
            Refresh,
            "the broker does not know the partition",
        ),
        row(
            5,
            "LEADER_NOT_AVAILABLE",
            Refresh,
            "the partition has no leader; retried",
        ),
        row(
            6,
            "NOT_LEADER_OR_FOLLOWER",
            Refresh,
            "the leader has moved; asking where to",
        ),
        row(
            7,
            "REQUEST_TIMED_OUT",
            Unclear,
            "the replicas did not confirm in time; retried",
        ),
        row(
            8,
            "BROKER_NOT_AVAILABLE",
            Refresh,
            "the broker is not available; retried",
        ),
        row(
            9,
            "REPLICA_NOT_AVAILABLE",
            Refresh,
            "the replica is not available; retried",
        ),
        row(
            10,
            "MESSAGE_TOO_LARGE",
            Split,
            "the batch is larger than the topic's max.message.bytes",
        ),
        row(
            13,
            "NETWORK_EXCEPTION",
            Unclear,
            "the broker lost a connection; retried",
        ),
        row(
            14,
            "COORDINATOR_LOAD_IN_PROGRESS",
            Retry,
            "the broker has just started; retried",
        ),
        row(
            15,
            "COORDINATOR_NOT_AVAILABLE",
            Retry,
            "the coordinator is not up yet; retried",
        ),
        row(
            16,
            "NOT_COORDINATOR",
            Retry,
            "the coordinator has moved; retried",
        ),
        row(
            17,
            "INVALID_TOPIC_EXCEPTION",
            Deny,
            "the topic may not be written by clients",
        ),
        row(
            18,
            "RECORD_LIST_TOO_LARGE",
            Split,
            "the batch is larger than a segment of the topic (segment.bytes)",
        ),
        row(
            19,
            "NOT_ENOUGH_REPLICAS",
            Retry,
            "fewer replicas in sync than min.insync.replicas; retried",
        ),
        row(
            20,
            "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
            Unclear,
            "written, but too few replicas in sync; retried",
        ),
        row(
            21,
            "INVALID_REQUIRED_ACKS",
            Retry,
            "the broker refuses acks=all; retried",
        ),
        row(
            29,
            "TOPIC_AUTHORIZATION_FAILED",
            Deny,
            "no right to write the topic; grant Write to this principal",
        ),
        row(
            31,
            "CLUSTER_AUTHORIZATION_FAILED",
            Deny,
            "no right to write idempotently; grant IdempotentWrite on the cluster",
        ),
        row(
            32,
            "INVALID_TIMESTAMP",
            Restamp,
            "the broker refuses the send time; compare the clocks of this host and the broker",
        ),
        row(
            35,
            "UNSUPPORTED_VERSION",
            Retry,
            "the broker does not speak this request; retried",
        ),
        row(
            42,
            "INVALID_REQUEST",
            Retry,
            "the broker calls the request invalid; retried",
        ),
        row(
            43,
            "UNSUPPORTED_FOR_MESSAGE_FORMAT",
            Retry,
            "the topic has a message format older than Kafka 0.11; change message.format.version",
        ),
        row(
            44,
            "POLICY_VIOLATION",
            Reject,
            "a policy of the broker refuses the record",
        ),
        row(
            45,
            "OUT_OF_ORDER_SEQUENCE_NUMBER",
            Gap,
            "the broker remembers other batches; sending the following ones to find out",
        ),
        row(46, "DUPLICATE_SEQUENCE_NUMBER", Stored, "stored before"),
        row(
            47,
            "INVALID_PRODUCER_EPOCH",
            Fence,
            "the broker knows a newer epoch; new id",
        ),
        row(
            48,
            "INVALID_TXN_STATE",
            Fence,
            "the transaction is not open for this; aborted and begun again",
        ),
        row(
            49,
            "INVALID_PRODUCER_ID_MAPPING",
            Fence,
            "the producer id is not ours; new id",
        ),
        row(
            50,
            "INVALID_TRANSACTION_TIMEOUT",
            Fence,
            "transaction.timeout.ms is above the broker's transaction.max.timeout.ms",
        ),
        row(
            51,
            "CONCURRENT_TRANSACTIONS",
            Retry,
            "the transaction before is still being ended; retried",
        ),
        row(
            53,
            "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
            Fence,
            "no right to use transactional.id; grant Write and Describe on it",
        ),
        row(
            56,
            "KAFKA_STORAGE_ERROR",
            Refresh,
            "the broker's disk failed; asking for a leader",
        ),
        row(
            59,
            "UNKNOWN_PRODUCER_ID",
            Fence,
            "the broker has forgotten this producer; new id",
        ),
        row(
            72,
            "LISTENER_NOT_FOUND",
            Refresh,
            "the leader lacks this listener; retried",
        ),
        row(
            74,
            "FENCED_LEADER_EPOCH",
            Refresh,
            "the leader has moved; asking where to",
        ),
        row(
            75,
            "UNKNOWN_LEADER_EPOCH",
            Refresh,
            "the leader has moved; asking where to",
        ),
        row(
            76,
            "UNSUPPORTED_COMPRESSION_TYPE",
            Retry,
            "the topic refuses this codec; change compression.type",
        ),
        row(87, "INVALID_RECORD", Reject, "the broker refuses a record"),
        row(
            89,
            "THROTTLING_QUOTA_EXCEEDED",
            Retry,
            "a quota is used up; retried",
        ),
        row(
            90,
            "PRODUCER_FENCED",
            Fence,
            "the broker knows a newer producer; new id",
        ),
        row(
            100,
            "UNKNOWN_TOPIC_ID",
            Refresh,
            "the topic was made anew; asking again",
        ),
        row(
            120,
            "TRANSACTION_ABORTABLE",
            Fence,
            "the transaction cannot be committed; aborted and begun again",
        ),
    ]
};

/// The verdict on a produce answer's code. A code that Kafka adds one day is retried.
pub(super) fn verdict(code: i16) -> Verdict {
    TABLE
        .iter()
        .find(|row| row.code == code)
        .copied()
        .unwrap_or(row(
            code,
            "UNKNOWN_CODE",
            Outcome::Unclear,
            "an answer that this version does not know; retried",
        ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_one_row_with_words() {
        let codes: Vec<i16> = TABLE.iter().map(|row| row.code).collect();
        assert!(codes.is_sorted_by(|a, b| a < b), "{codes:?}");
        assert!(TABLE.iter().all(|row| !row.words.is_empty()));
    }

    #[test]
    fn a_code_of_tomorrow_is_retried_and_not_lost() {
        assert_eq!(verdict(999).outcome, Outcome::Unclear);
    }
}
