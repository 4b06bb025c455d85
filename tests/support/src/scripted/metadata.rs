//! Metadata: which brokers there are and who leads what.

use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::code;
use super::script::{Action, Fired};
use super::state::{Partition, State};

/// First version that has `allow_auto_topic_creation`; before it, naming a topic creates it.
const FIRST_WITHOUT_CREATION: i16 = 4;

/// Answers one request; naming topics with creation allowed is a violation.
pub(super) fn answer(
    state: &mut State,
    version: i16,
    request: &MetadataRequest,
    fired: &Fired,
) -> MetadataResponse {
    let wanted = wanted(state, version, request);
    let creates = version < FIRST_WITHOUT_CREATION || request.allow_auto_topic_creation;
    if creates && request.topics.as_ref().is_some_and(|t| !t.is_empty()) {
        state.violations.push(format!(
            "Metadata v{version} would create the topics it names"
        ));
    }
    let live = state.brokers.iter().filter(|(_, b)| !b.fenced);
    let brokers = live.map(|(&id, broker)| {
        MetadataResponseBroker::default()
            .with_node_id(BrokerId(id))
            .with_host(StrBytes::from_string(broker.address.ip().to_string()))
            .with_port(i32::from(broker.address.port()))
    });
    let controller = state.brokers.keys().next().copied().unwrap_or(-1);
    let topics = wanted.iter().map(|name| topic(state, version, name, fired));
    MetadataResponse::default()
        .with_throttle_time_ms(fired.throttle_ms())
        .with_brokers(brokers.collect())
        .with_cluster_id(Some(StrBytes::from_static_str("scripted")))
        .with_controller_id(BrokerId(controller))
        .with_topics(topics.collect())
}

/// Null means all topics; so does the empty list of version 0.
fn wanted(state: &State, version: i16, request: &MetadataRequest) -> Vec<String> {
    match &request.topics {
        Some(named) if version > 0 || !named.is_empty() => named
            .iter()
            .filter_map(|t| t.name.as_ref())
            .map(|n| n.to_string())
            .collect(),
        _ => state.topics.keys().cloned().collect(),
    }
}

fn topic(state: &State, version: i16, name: &str, fired: &Fired) -> MetadataResponseTopic {
    let answer = MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_string(name.to_owned()))));
    if let Some(Action::Error(error) | Action::ErrorAfter(error)) = fired.error_for(name, None) {
        return answer.with_error_code(*error);
    }
    let Some(topic) = state.topics.get(name) else {
        return answer.with_error_code(code::UNKNOWN_TOPIC_OR_PARTITION);
    };
    // Errors of writing alone do not show in a real broker's metadata.
    let visible = [
        code::UNKNOWN_TOPIC_OR_PARTITION,
        code::TOPIC_AUTHORIZATION_FAILED,
    ];
    if visible.contains(&topic.sticky) {
        return answer.with_error_code(topic.sticky);
    }
    let partitions = topic.partitions.iter().zip(0..);
    answer.with_partitions(
        partitions
            .map(|(p, i)| partition(state, version, i, p))
            .collect(),
    )
}

fn partition(
    state: &State,
    version: i16,
    index: i32,
    partition: &Partition,
) -> MetadataResponsePartition {
    let leader = partition.leader;
    let fenced = state.brokers.get(&leader).is_none_or(|b| b.fenced);
    let all: Vec<BrokerId> = state.brokers.keys().map(|&id| BrokerId(id)).collect();
    let live = state.brokers.iter().filter(|(_, b)| !b.fenced);
    let answer = MetadataResponsePartition::default()
        .with_partition_index(index)
        .with_replica_nodes(all)
        .with_isr_nodes(live.map(|(&id, _)| BrokerId(id)).collect())
        .with_leader_id(BrokerId(if fenced { -1 } else { leader }))
        .with_error_code(if fenced {
            code::LEADER_NOT_AVAILABLE
        } else {
            code::NONE
        });
    if version >= 7 {
        answer.with_leader_epoch(partition.leader_epoch)
    } else {
        answer
    }
}
