//! What two keys say about each other: contradictions are errors, surprises are warnings.

use std::ops::Range;

use toml::de::DeValue;

use super::Tables;
use super::input::socket_path_fault;
use crate::config::report::{Sink, nearest};
use crate::config::section::Entry;
use crate::config::units::format_size;
use crate::config::{AckMode, Config, InputKind};

/// Checks a configuration whose single keys are right.
pub(super) fn check(config: &Config, tables: &Tables<'_>, sink: &mut Sink) {
    check_sizes(config, tables, sink);
    check_spool(config, tables, sink);
    check_times(config, tables, sink);
    check_sockets(config, tables, sink);
    check_files(config, tables, sink);
    check_captures(config, tables, sink);
}

/// Where `path` stands within a table, or else the table, or else the beginning.
fn place(table: Option<&Entry<'_>>, path: &[&str]) -> Range<usize> {
    let Some(table) = table else { return 0..0 };
    let mut span = table.key.clone();
    let mut value = table.value.get_ref();
    for (depth, part) in path.iter().enumerate() {
        let DeValue::Table(inner) = value else { break };
        let quoted = path.get(depth..).unwrap_or_default().join(".");
        let found = inner.iter().find(|(key, _)| {
            key.get_ref().as_ref() == *part || key.get_ref().as_ref() == quoted.as_str()
        });
        let Some((key, inner)) = found else { break };
        span = key.span();
        value = inner.get_ref();
    }
    span
}

fn check_sizes(config: &Config, tables: &Tables<'_>, sink: &mut Sink) {
    let kafka = &config.kafka;
    let (batch, request) = (kafka.batch_size, kafka.max_request_size);
    if batch > request {
        let message = format!(
            "[kafka] batch.size: {} is more than max.request.size, {}",
            format_size(batch.into()),
            format_size(request.into())
        );
        let help = Some("a batch travels in one request; lower it or raise the other".to_owned());
        sink.error(
            place(tables.kafka.as_ref(), &["batch", "size"]),
            message,
            help,
        );
    }
    if request > kafka.buffer_memory {
        let message = format!(
            "[kafka] buffer.memory: {} holds not even one request of max.request.size, {}",
            format_size(kafka.buffer_memory.into()),
            format_size(request.into())
        );
        sink.error(
            place(tables.kafka.as_ref(), &["buffer", "memory"]),
            message,
            None,
        );
    }
    let event = config.spool.max_event_bytes;
    if event > request {
        let message = format!(
            "[spool] max_event_bytes: events of more than max.request.size, {}, are accepted \
             and then go to the dead letters",
            format_size(request.into())
        );
        let help = Some("raise max.request.size, here and on the broker, or lower it".to_owned());
        sink.warning(
            place(tables.spool.as_ref(), &["max_event_bytes"]),
            message,
            help,
        );
    }
}

fn check_spool(config: &Config, tables: &Tables<'_>, sink: &mut Sink) {
    let spool = &config.spool;
    let table = tables.spool.as_ref();
    if spool.intake_memory < spool.max_event_bytes {
        let message = format!(
            "[spool] intake_memory: {} holds not even one event of max_event_bytes, {}",
            format_size(spool.intake_memory.into()),
            format_size(spool.max_event_bytes.into())
        );
        sink.error(place(table, &["intake_memory"]), message, None);
    }
    let parts = [
        ("generation_bytes", spool.generation_bytes),
        ("dead_letter_max_bytes", spool.dead_letter_max_bytes),
    ];
    for (key, bytes) in parts
        .into_iter()
        .filter(|(_, bytes)| *bytes > spool.max_bytes)
    {
        let message = format!(
            "[spool] {key}: {} is more than the whole spool may take, {}",
            format_size(bytes),
            format_size(spool.max_bytes)
        );
        sink.error(
            place(table, &[key]),
            message,
            Some("raise max_bytes or lower it".to_owned()),
        );
    }
}

fn check_times(config: &Config, tables: &Tables<'_>, sink: &mut Sink) {
    let kafka = &config.kafka;
    let pairs = [
        (
            "retry.backoff.ms",
            kafka.retry_backoff,
            kafka.retry_backoff_max,
        ),
        (
            "reconnect.backoff.ms",
            kafka.reconnect_backoff,
            kafka.reconnect_backoff_max,
        ),
        (
            "socket.connection.setup.timeout.ms",
            kafka.connect_timeout,
            kafka.connect_timeout_max,
        ),
    ];
    for (name, first, most) in pairs.into_iter().filter(|(_, first, most)| first > most) {
        let parts: Vec<&str> = name.split('.').collect();
        let most_name = name.replace(".ms", ".max.ms");
        let message = format!(
            "[kafka] {name}: {first:?} is more than {most_name}, so that each time is {most:?}"
        );
        sink.warning(place(tables.kafka.as_ref(), &parts), message, None);
    }
    let least = kafka.linger + kafka.request_timeout;
    if let Some(limit) = kafka.delivery_timeout.filter(|limit| *limit < least) {
        let message = format!(
            "[kafka] delivery.timeout.ms: {limit:?} is less than linger.ms and \
             request.timeout.ms together, {least:?}"
        );
        let help = Some("raise it, or remove the line: then events never expire".to_owned());
        let key = ["delivery", "timeout", "ms"];
        sink.error(place(tables.kafka.as_ref(), &key), message, help);
    }
    if kafka.linger >= config.stop_timeout {
        let message = format!(
            "[kafka] linger.ms: {:?} is not less than stop_timeout, {:?}, so a stop leaves \
             events for the next start",
            kafka.linger, config.stop_timeout
        );
        sink.warning(
            place(tables.kafka.as_ref(), &["linger", "ms"]),
            message,
            None,
        );
    }
}

fn check_sockets(config: &Config, tables: &Tables<'_>, sink: &mut Sink) {
    let control = &config.control.path;
    let span = place(tables.control.as_ref(), &["path"]);
    if let Some(what) = socket_path_fault(control) {
        let message = format!("[control] path: {what}");
        let help = Some("set a shorter one, e.g. /run/spoolway/control.sock".to_owned());
        sink.error(span.clone(), message, help);
    }
    for input in &config.inputs {
        let InputKind::Unix(unix) = &input.kind else {
            continue;
        };
        if &unix.path == control {
            let message = format!(
                "[control] path: {} is the path of input {:?} already",
                control.display(),
                input.name
            );
            sink.error(span.clone(), message, None);
        }
        let waits = unix.ack == AckMode::Durable && !config.spool.commit_interval.is_zero();
        if waits && config.spool.commit_interval >= std::time::Duration::from_secs(5) {
            let message = format!(
                "[spool] commit_interval: each writer of input {:?} waits up to {:?} for its ack",
                input.name, config.spool.commit_interval
            );
            sink.warning(
                place(tables.spool.as_ref(), &["commit_interval"]),
                message,
                None,
            );
        }
    }
}

/// Files of the spool that a wide pattern could take in; each line read would then write one.
const OWN_FILES: [&str; 7] = [
    "LOCK",
    "checkpoints",
    "dead/db",
    "format",
    "gen-00000000000000000001/db",
    "gen-00000000000000000001/gen.meta",
    "highwater",
];

fn check_files(config: &Config, tables: &Tables<'_>, sink: &mut Sink) {
    let dir = &config.spool.dir;
    for input in &config.inputs {
        let InputKind::File(file) = &input.kind else {
            continue;
        };
        let below = file.patterns.included().iter();
        let mut below = below.filter(|pattern| pattern.root().starts_with(dir));
        let taken = OWN_FILES.iter().map(|name| dir.join(name));
        let mut taken = taken.filter(|path| file.patterns.captures(path).is_some());
        if below.next().is_some() || taken.next().is_some() {
            let message = format!(
                "[[input]] include: input {:?} would read the spool itself, in {}",
                input.name,
                dir.display()
            );
            let help = format!("add exclude = [\"{}/**\"], or narrow it", dir.display());
            sink.error(place(tables.input.as_ref(), &[]), message, Some(help));
        }
    }
}

/// A capture that no pattern makes is null for ever.
fn check_captures(config: &Config, tables: &Tables<'_>, sink: &mut Sink) {
    let files = config.inputs.iter().filter_map(|input| match &input.kind {
        InputKind::File(file) => Some(file.patterns.included()),
        InputKind::Unix(_) => None,
    });
    let made: Vec<&str> = files
        .flatten()
        .flat_map(|pattern| pattern.names().iter().map(|name| &**name))
        .collect();
    for route in &config.routes {
        for name in route.spec.captures() {
            if made.contains(&name.as_str()) {
                continue;
            }
            let message = format!(
                "[[route]] {}: @capture.{name} is null for ever, no include pattern has {{{name}}}",
                route.spec.name
            );
            let near = nearest(&name, made.iter().copied());
            let help = near.map(|near| format!("did you mean @capture.{near}?"));
            sink.warning(place(tables.route.as_ref(), &[]), message, help);
        }
    }
}
