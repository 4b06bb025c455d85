//! When an event counts as delivered: what is accepted, refused and warned about.

use std::time::Duration;

use super::tests::{accepted, refusal, with_kafka};
use crate::config::Acks;

fn warnings(kafka: &str) -> String {
    with_kafka(kafka)
        .expect("a configuration that passes")
        .warnings
        .to_string()
}

#[test]
fn less_than_all_acks_is_taken_only_with_leave_to_lose_and_a_loud_warning() {
    for (written, acks) in [("1", Acks::Leader), ("\"0\"", Acks::None)] {
        let text = refusal(with_kafka(&format!("acks = {written}")));
        assert!(text.contains("allow_data_loss = true"), "{text}");
        let lines = format!("acks = {written}\nallow_data_loss = true");
        let kafka = accepted(with_kafka(&lines)).kafka;
        assert_eq!((kafka.acks, kafka.idempotence), (acks, false));
        assert!(warnings(&lines).contains("EVENTS CAN BE LOST"));
    }
    assert!(refusal(with_kafka("acks = 2")).contains("is not all, 1 or 0"));
    let all = accepted(with_kafka("acks = -1")).kafka;
    assert_eq!((all.acks, all.idempotence), (Acks::All, true));
}

#[test]
fn idempotence_switched_off_is_warned_about() {
    let line = "enable.idempotence = false";
    assert!(!accepted(with_kafka(line)).kafka.idempotence);
    assert!(warnings(line).contains("may be doubled"));
}

#[test]
fn retries_are_endless_unless_a_number_says_otherwise_which_is_warned_about() {
    let retries = |lines: &str| accepted(with_kafka(lines)).kafka.retries;
    assert_eq!(retries(""), None);
    assert_eq!(retries("retries = 2147483647"), None);
    assert_eq!(warnings("retries = 2147483647"), "");
    assert_eq!(retries("message.send.max.retries = 0"), Some(0));
    assert!(warnings("retries = 3").contains("to the dead letters"));
    let transactional = "retries = 3\ntransactional.id = \"edge\"";
    assert!(warnings(transactional).contains("no effect on transactions"));
    for wrong in ["2147483648", "-1", "\"many\""] {
        let text = refusal(with_kafka(&format!("retries = {wrong}")));
        assert!(text.contains("up to 2147483647"), "{text}");
    }
}

#[test]
fn events_expire_only_when_asked_and_not_before_a_request_may_time_out() {
    let limit = |lines: &str| accepted(with_kafka(lines)).kafka.delivery_timeout;
    assert_eq!(limit(""), None);
    assert_eq!(limit("delivery.timeout.ms = 0"), None);
    assert_eq!(
        limit("delivery.timeout.ms = \"2min\""),
        Some(Duration::from_secs(120))
    );
    assert_eq!(
        limit("message.timeout.ms = 15005"),
        Some(Duration::from_millis(15_005))
    );
    let text = refusal(with_kafka("delivery.timeout.ms = 15004"));
    assert!(text.contains("request.timeout.ms together"), "{text}");
}

#[test]
fn a_first_time_above_the_longest_is_the_longest_with_a_warning() {
    for line in [
        "retry.backoff.ms = 6000",
        "reconnect.backoff.ms = 11000",
        "socket.connection.setup.timeout.ms = 31000",
    ] {
        assert!(warnings(line).contains("so that each time is"), "{line}");
    }
}

#[test]
fn a_connection_is_kept_for_ever_only_when_asked() {
    let idle = |lines: &str| accepted(with_kafka(lines)).kafka.connections_max_idle;
    assert_eq!(idle(""), Some(Duration::from_secs(540)));
    assert_eq!(idle("connections.max.idle.ms = -1"), None);
    assert!(refusal(with_kafka("connections.max.idle.ms = 999")).contains("out of range"));
}
