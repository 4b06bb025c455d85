//! The part of `[kafka]` that says when an event counts as delivered, and how long that may
//! take: acks, idempotence, retries and the time-outs around them.
//!
//! What Spoolway does otherwise than Kafka's producer is refused or warned about here, each
//! with its reason; nothing is silently ignored.

use std::time::Duration;

use super::kafka::{HOUR, MILLISECOND, MINUTE, SECOND};
use crate::config::quantity::whole_number;
use crate::config::section::{Entry, Section};
use crate::config::{Acks, KafkaConfig};

const ALLOW_DATA_LOSS: &str = "allow_data_loss";

/// Kafka's largest number of `retries`, and its default: without end.
const RETRIES: u64 = i32::MAX as u64;

/// Reads the keys into `kafka`.
pub(super) fn read(section: &mut Section<'_, '_>, kafka: &mut KafkaConfig) {
    read_acks(section, kafka);
    kafka.retries = read_retries(section);
    kafka.delivery_timeout = optional(
        section,
        "delivery.timeout.ms",
        &["message.timeout.ms"],
        kafka.delivery_timeout,
        SECOND..=365 * 24 * HOUR,
    );
    kafka.connections_max_idle = optional(
        section,
        "connections.max.idle.ms",
        &[],
        kafka.connections_max_idle,
        SECOND..=24 * HOUR,
    );
    kafka.connect_timeout = section.millis(
        "socket.connection.setup.timeout.ms",
        &[],
        kafka.connect_timeout,
        MILLISECOND * 100..=10 * MINUTE,
    );
    kafka.connect_timeout_max = section.millis(
        "socket.connection.setup.timeout.max.ms",
        &[],
        kafka.connect_timeout_max,
        MILLISECOND * 100..=HOUR,
    );
}

fn read_acks(section: &mut Section<'_, '_>, kafka: &mut KafkaConfig) {
    let acks = section.take_alias("acks", &["request.required.acks"]);
    let allowed = section.flag(ALLOW_DATA_LOSS, false);
    let idempotence = section.take("enable.idempotence");
    if let Some(entry) = &acks {
        let written = entry.scalar().map(|text| text.to_lowercase());
        match written.as_deref() {
            Some("all" | "-1") => {}
            Some("1") => kafka.acks = Acks::Leader,
            Some("0") => kafka.acks = Acks::None,
            _ => {
                let help = Some("use \"all\"".to_owned());
                section.fault("acks", entry.value.span(), "is not all, 1 or 0", help);
            }
        }
        match (kafka.acks, allowed) {
            (Acks::All, _) => {}
            (_, false) => {
                let what = "a broker may lose what it has acknowledged so";
                let help = format!("use \"all\", or accept it with {ALLOW_DATA_LOSS} = true");
                section.fault("acks", entry.value.span(), what, Some(help));
            }
            (_, true) => {
                let what = "EVENTS CAN BE LOST: they leave the spool before the cluster has \
                            them safely";
                let help = Some("use \"all\"".to_owned());
                section.caution("acks", entry.value.span(), what, help);
            }
        }
    }
    // As Kafka has it: less than acks=all switches idempotence off, unless it was asked for.
    kafka.idempotence = kafka.acks == Acks::All;
    if let Some(entry) = idempotence {
        read_idempotence(section, kafka, &entry);
    }
}

fn read_idempotence(section: &mut Section<'_, '_>, kafka: &mut KafkaConfig, entry: &Entry<'_>) {
    const KEY: &str = "enable.idempotence";
    let span = entry.value.span();
    match (section.flag_of(KEY, entry), kafka.acks) {
        (Some(true), Acks::Leader | Acks::None) => {
            let help = Some("set acks = \"all\", or remove the line".to_owned());
            section.fault(KEY, span, "needs acks = \"all\"", help);
        }
        (Some(false), Acks::All) => {
            kafka.idempotence = false;
            let what = "a batch whose answer is lost is sent again and may be doubled";
            section.caution(KEY, span, what, Some("remove the line".to_owned()));
        }
        _ => {}
    }
}

/// `None` = for ever. A number is often copied from where nothing else kept the events.
fn read_retries(section: &mut Section<'_, '_>) -> Option<u32> {
    const KEY: &str = "retries";
    let entry = section.take_alias(KEY, &["message.send.max.retries"])?;
    let number = whole_number(entry.value.get_ref()).filter(|number| *number <= RETRIES);
    let Some(number) = number else {
        let help = Some(format!("use a whole number up to {RETRIES}"));
        section.fault(KEY, entry.value.span(), "is not a number of retries", help);
        return None;
    };
    let retries = u32::try_from(number).ok().filter(|_| number < RETRIES)?;
    let what = if section.has("transactional.id") {
        "has no effect on transactions, which are sent again as a whole until one is committed"
    } else {
        "sends events to the dead letters when a cluster is in trouble for that many tries"
    };
    let help = "remove the line: the spool keeps them until a broker has them or refuses them";
    section.caution(KEY, entry.value.span(), what, Some(help.to_owned()));
    Some(retries)
}

/// A time, or 0 or -1 for none.
fn optional(
    section: &mut Section<'_, '_>,
    key: &'static str,
    aliases: &[&'static str],
    default: Option<Duration>,
    range: std::ops::RangeInclusive<Duration>,
) -> Option<Duration> {
    let Some(entry) = section.take_alias(key, aliases) else {
        return default;
    };
    if matches!(entry.scalar().as_deref(), Some("0" | "-1")) {
        return None;
    }
    Some(section.millis_of(key, &entry, *range.start(), range))
}
