//! `transactional.id` and the keys that mean nothing without it.

use std::time::Duration;

use toml::Spanned;

use crate::config::section::Section;
use crate::config::{KafkaConfig, TransactionConfig};
use crate::route::topic::topic_fault;

/// Longest `transactional.id` in bytes; it travels in every request.
const ID_BYTES_MAX: usize = 249;

/// Below, a commit on a busy cluster has no time; above, the broker's default refuses it.
const TIMEOUT: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(5)..=Duration::from_secs(15 * 60);

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);
const POSITION_TOPIC: &str = "spoolway-positions";

const ID_KEY: &str = "transactional.id";
const TIMEOUT_KEY: &str = "transaction.timeout.ms";
const TOPIC_KEY: &str = "transactional.position.topic";

/// Above, `check` says what readers have to wait for when the link drops.
const LONG_WAIT: Duration = Duration::from_secs(2 * 60);

/// Reads them; `None` without an id. `kafka` has what was read about acknowledgements.
pub(super) fn read(
    section: &mut Section<'_, '_>,
    kafka: &KafkaConfig,
) -> Option<TransactionConfig> {
    let id = section.text(ID_KEY);
    let places = [TIMEOUT_KEY, TOPIC_KEY].map(|key| (key, section.span_of(key)));
    let timeout = section.millis(TIMEOUT_KEY, &[], TIMEOUT_DEFAULT, TIMEOUT);
    let topic = section.text(TOPIC_KEY);
    let Some(id) = id else {
        for (key, place) in places {
            if let Some(place) = place {
                section.caution(key, place, "has no effect without transactional.id", None);
            }
        }
        return None;
    };
    let text = id.get_ref();
    if text.is_empty() || text.len() > ID_BYTES_MAX || text.chars().any(char::is_control) {
        let what = format!("has to be 1 to {ID_BYTES_MAX} bytes of plain text");
        section.fault(ID_KEY, id.span(), &what, None);
    }
    check(section, kafka, &id, timeout);
    let position_topic = match topic {
        None => POSITION_TOPIC.to_owned(),
        Some(topic) => {
            if let Some(what) = topic_fault(topic.get_ref()) {
                section.fault(TOPIC_KEY, topic.span(), what, None);
            }
            topic.into_inner()
        }
    };
    Some(TransactionConfig {
        id: id.into_inner().into(),
        timeout,
        position_topic: position_topic.into(),
    })
}

/// What a transaction does not go together with.
fn check(
    section: &mut Section<'_, '_>,
    kafka: &KafkaConfig,
    id: &Spanned<String>,
    timeout: Duration,
) {
    if !kafka.idempotence {
        let help = "remove acks and enable.idempotence";
        let what = "needs acks = \"all\" and idempotence";
        section.fault(ID_KEY, id.span(), what, Some(help.to_owned()));
    }
    if kafka.delivery_timeout.is_some() {
        let what = "does not go together with delivery.timeout.ms: events of all ages are \
                    committed together";
        let help = "remove one of them";
        section.fault(ID_KEY, id.span(), what, Some(help.to_owned()));
    }
    if kafka.linger >= timeout / 2 {
        let help = "raise transaction.timeout.ms, or lower linger.ms";
        let what = "has no time for a commit: linger.ms is half of transaction.timeout.ms or more";
        section.fault(ID_KEY, id.span(), what, Some(help.to_owned()));
    }
    if timeout > LONG_WAIT {
        let what = format!(
            "when the link drops in mid-transaction, consumers of committed records wait for up \
             to transaction.timeout.ms = {} s",
            timeout.as_secs()
        );
        let help = "lower it to what they can bear";
        section.caution(ID_KEY, id.span(), &what, Some(help.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{accepted, refusal, with_kafka};
    use super::*;

    const ID: &str = "transactional.id = \"edge-17\"";

    #[test]
    fn an_id_alone_has_the_documented_defaults() {
        let transaction = accepted(with_kafka(ID)).kafka.transaction.unwrap();
        assert_eq!(&*transaction.id, "edge-17");
        assert_eq!(transaction.timeout, Duration::from_secs(60));
        assert_eq!(&*transaction.position_topic, "spoolway-positions");
        assert_eq!(accepted(with_kafka("")).kafka.transaction, None);
    }

    #[test]
    fn what_does_not_go_together_with_transactions_is_refused() {
        for (lines, reason) in [
            ("acks = 1\nallow_data_loss = true", "needs acks"),
            ("enable.idempotence = false", "needs acks"),
            ("delivery.timeout.ms = 60000", "events of all ages"),
            (
                "linger.ms = 3000\ntransaction.timeout.ms = 5000",
                "no time for a commit",
            ),
            ("transaction.timeout.ms = 4999", "transaction.timeout.ms"),
            ("transactional.position.topic = \"a b\"", "characters"),
        ] {
            let told = refusal(with_kafka(&format!("{ID}\n{lines}")));
            assert!(told.contains(reason), "{lines}: {told}");
        }
        let told = refusal(with_kafka("transactional.id = \"\""));
        assert!(told.contains("1 to 249 bytes"), "{told}");
    }

    #[test]
    fn what_readers_have_to_bear_and_what_has_no_effect_is_warned_of() {
        let told = |lines: &str| with_kafka(lines).unwrap().warnings.to_string();
        let long = told(&format!("{ID}\ntransaction.timeout.ms = 300000"));
        assert!(
            long.contains("consumers of committed records wait"),
            "{long}"
        );
        let alone = told("transaction.timeout.ms = 30000");
        assert!(alone.contains("without transactional.id"), "{alone}");
    }
}
