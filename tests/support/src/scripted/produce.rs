//! Produce: the checks of a broker, and those that only a test can make.

use kafka_protocol::messages::produce_request::PartitionProduceData;
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};
use kafka_protocol::protocol::StrBytes;

use super::batch::{self, Batch, Flaw};
use super::code;
use super::log::Verdict;
use super::script::{Action, Fired};
use super::state::{FIRST_PRODUCER_ID, Sent, State};

/// Applies one request and answers each of its partitions.
pub(super) fn answer(
    state: &mut State,
    broker: i32,
    request: &ProduceRequest,
    fired: &Fired,
) -> (ProduceResponse, Vec<Sent>) {
    check_request(state, request);
    let mut sent = Vec::new();
    let mut responses = Vec::new();
    for topic in &request.topic_data {
        let name = topic.name.as_str();
        let answers = topic.partition_data.iter().map(|data| {
            let ordered = fired.error_for(name, Some(data.index));
            let (answer, batch) = partition(state, broker, (name, request.acks), data, ordered);
            sent.extend(batch);
            answer
        });
        let answer = TopicProduceResponse::default()
            .with_partition_responses(answers.collect())
            .with_name(topic.name.clone());
        responses.push(answer);
    }
    let response = ProduceResponse::default()
        .with_responses(responses)
        .with_throttle_time_ms(fired.throttle_ms());
    (response, sent)
}

/// The batches of a request that is not applied, for the log of requests.
pub(super) fn unapplied(state: &mut State, request: &ProduceRequest) -> Vec<Sent> {
    check_request(state, request);
    let mut sent = Vec::new();
    for topic in &request.topic_data {
        for data in &topic.partition_data {
            let Some(batch) = read(state, topic.name.as_str(), data).ok() else {
                continue;
            };
            sent.push(entry(
                (topic.name.as_str(), data.index),
                &batch,
                request.acks,
            ));
        }
    }
    sent
}

fn check_request(state: &mut State, request: &ProduceRequest) {
    let mut found = Vec::new();
    if request.acks != -1 && !state.loose {
        found.push(format!("Produce with acks={}", request.acks));
    }
    if request.transactional_id.is_some() {
        found.push("Produce with a transactional id".to_owned());
    }
    if request.timeout_ms <= 0 {
        found.push(format!("Produce with timeout_ms={}", request.timeout_ms));
    }
    let mut named: Vec<(&str, i32)> = Vec::new();
    for topic in &request.topic_data {
        for data in &topic.partition_data {
            named.push((topic.name.as_str(), data.index));
        }
    }
    if named.is_empty() {
        found.push("Produce without a batch".to_owned());
    }
    named.sort_unstable();
    if let Some(twice) = named.windows(2).find(|w| w[0] == w[1]) {
        found.push(format!("{:?} twice in one Produce", twice[0]));
    }
    state.violations.append(&mut found);
}

/// Reads the batch of one partition; a bad one is a violation and gives its error code.
fn read(state: &mut State, topic: &str, data: &PartitionProduceData) -> Result<Batch, i16> {
    let index = data.index;
    let Some(raw) = &data.records else {
        state
            .violations
            .push(format!("{topic}-{index}: no records"));
        return Err(code::INVALID_RECORD);
    };
    let batch = batch::parse(raw).map_err(|flaw| {
        state.violations.push(format!("{topic}-{index}: {flaw:?}"));
        match flaw {
            Flaw::Checksum => code::CORRUPT_MESSAGE,
            Flaw::Shape(_) => code::INVALID_RECORD,
        }
    })?;
    let given = FIRST_PRODUCER_ID..state.next_producer_id;
    if state.loose && batch.producer_id == -1 {
        return Ok(batch);
    }
    if !given.contains(&batch.producer_id) || batch.epoch < 0 || batch.first_sequence < 0 {
        state.violations.push(format!(
            "{topic}-{index}: producer {} epoch {} sequence {} was never given out",
            batch.producer_id, batch.epoch, batch.first_sequence
        ));
        return Err(code::INVALID_RECORD);
    }
    let reused = state
        .partition_mut(topic, index)
        .and_then(|p| p.log.note_sent(&batch));
    if let Some(text) = reused {
        state.violations.push(format!("{topic}-{index}: {text}"));
    }
    Ok(batch)
}

fn partition(
    state: &mut State,
    broker: i32,
    (topic, acks): (&str, i16),
    data: &PartitionProduceData,
    ordered: Option<&Action>,
) -> (PartitionProduceResponse, Option<Sent>) {
    let answer = PartitionProduceResponse::default()
        .with_index(data.index)
        .with_base_offset(-1)
        .with_log_append_time_ms(-1);
    let batch = match read(state, topic, data) {
        Ok(batch) => batch,
        Err(code) => return (answer.with_error_code(code), None),
    };
    let mut sent = entry((topic, data.index), &batch, acks);
    let (answer, code) = match ordered {
        Some(Action::Error(code)) => (answer, *code),
        Some(&Action::RejectRecord(index, reason)) => {
            let text = Some(StrBytes::from_static_str(reason));
            let error = BatchIndexAndErrorMessage::default()
                .with_batch_index(index)
                .with_batch_index_error_message(text.clone());
            (
                answer
                    .with_record_errors(vec![error])
                    .with_error_message(text),
                code::INVALID_RECORD,
            )
        }
        other => {
            let verdict = store(state, broker, topic, data.index, batch);
            sent.verdict = Some(verdict);
            match (verdict, other) {
                (_, Some(Action::ErrorAfter(code))) => (answer, *code),
                (Verdict::Appended(offset) | Verdict::Duplicate(offset), _) => (
                    answer.with_base_offset(offset).with_log_start_offset(0),
                    code::NONE,
                ),
                (Verdict::Refused(code), _) => (answer, code),
            }
        }
    };
    sent.code = code;
    (answer.with_error_code(code), Some(sent))
}

fn store(state: &mut State, broker: i32, name: &str, index: i32, batch: Batch) -> Verdict {
    let Some(topic) = state.topics.get_mut(name) else {
        return Verdict::Refused(code::UNKNOWN_TOPIC_OR_PARTITION);
    };
    if topic.sticky != code::NONE {
        return Verdict::Refused(topic.sticky);
    }
    let limit = topic.max_message_bytes;
    let Some(partition) = usize::try_from(index)
        .ok()
        .and_then(|i| topic.partitions.get_mut(i))
    else {
        return Verdict::Refused(code::UNKNOWN_TOPIC_OR_PARTITION);
    };
    if partition.leader != broker {
        return Verdict::Refused(code::NOT_LEADER_OR_FOLLOWER);
    }
    if batch.raw.len() > limit {
        return Verdict::Refused(code::MESSAGE_TOO_LARGE);
    }
    partition.log.append(batch)
}

fn entry((topic, index): (&str, i32), batch: &Batch, acks: i16) -> Sent {
    Sent {
        topic: topic.to_owned(),
        partition: index,
        acks,
        producer_id: batch.producer_id,
        epoch: batch.epoch,
        first_sequence: batch.first_sequence,
        last_sequence: batch.last_sequence(),
        bytes: batch.raw.len(),
        verdict: None,
        code: code::NONE,
    }
}
