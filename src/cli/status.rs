//! `spoolway status`: one screen of what the daemon holds and does.
//!
//! Renders JSON that another version may have written: a missing field leaves its words
//! out, an unknown one is shown as it is, nothing fails.

use std::time::Duration;

use serde_json::{Value, json};

use super::CliError;
use super::args::StatusArgs;
use super::control::{ask, print_line};
use super::shown::{at, list, number, plain, printable, rounded_size, text};
use crate::config::format_duration;

/// Width of the left column.
const LABEL: usize = 11;

pub(super) fn status(args: &StatusArgs) -> Result<(), CliError> {
    let data = ask(&args.control, &json!({"cmd": "status"}))?;
    if args.json {
        return print_line(&data.to_string());
    }
    print_line(&render(&data))
}

/// The whole screen, without a newline at its end.
fn render(data: &Value) -> String {
    let mut screen = Screen::default();
    screen.line("daemon", &head(data));
    screen.line("events", &events(data));
    screen.line("backlog", &backlog(data));
    screen.line("rate", &rates(data));
    screen.line("disk", &disk(at(data, "/spool")));
    if let Some(reason) = text(data, "/spool/full") {
        screen.line("INTAKE", &format!("paused: {reason}"));
    }
    for input in list(data, "/inputs") {
        screen.line("input", &described(input, &["name"], &[]));
    }
    for lane in list(data, "/drain/lanes") {
        screen.line("partition", &described(lane, &["topic", "partition"], &[]));
    }
    screen.kafka(at(data, "/kafka"));
    for doomed in list(data, "/drain/doomed") {
        screen.line("REFUSED", &plain(doomed));
    }
    for quarantined in list(data, "/spool/quarantined") {
        screen.line("QUARANTINE", &described(quarantined, &["path"], &[]));
    }
    for path in [
        "/last_error",
        "/spool/last_error",
        "/drain/last_error",
        "/kafka/last_error",
    ] {
        if let Some(error) = text(data, path) {
            screen.line("ERROR", &error);
        }
    }
    screen.text.trim_end().to_owned()
}

#[derive(Default)]
struct Screen {
    text: String,
}

impl Screen {
    fn line(&mut self, label: &str, words: &str) {
        if !words.is_empty() {
            self.text += &format!("{label:<LABEL$} {words}\n");
        }
    }

    /// What the producer says, in the order of importance.
    fn kafka(&mut self, kafka: &Value) {
        if let Some(halted) = text(kafka, "/halted") {
            self.line("HALTED", &halted);
        }
        if let Some(words) = text(kafka, "/readers_wait") {
            self.line("READERS", &words);
        }
        for topic in list(kafka, "/topics") {
            let error = text(topic, "/error").unwrap_or_default();
            let since = number(topic, "/for_seconds").unwrap_or(0);
            self.line(
                "TOPIC",
                &format!("{error}, for {}", seconds_in_words(since)),
            );
        }
        if let Some(unverified) = text(kafka, "/unverified") {
            self.line("INSECURE", &unverified);
        }
        for broker in list(kafka, "/brokers") {
            self.line("broker", &described(broker, &["id"], &[]));
        }
        for partition in list(kafka, "/partitions") {
            self.line(
                "in flight",
                &described(partition, &["topic", "partition"], &[]),
            );
        }
        for certificate in list(kafka, "/certificates") {
            self.line("certificate", &described(certificate, &["whose"], &[]));
        }
        let shown = [
            "halted",
            "readers_wait",
            "brokers",
            "topics",
            "partitions",
            "last_error",
            "unverified",
            "certificates",
        ];
        let rest = described(kafka, &[], &shown);
        self.line("kafka", &rest);
    }
}

fn head(data: &Value) -> String {
    let mut words = Vec::new();
    if let Some(version) = text(data, "/version") {
        words.push(format!("spoolway {version}"));
    }
    if let Some(pid) = number(data, "/pid") {
        words.push(format!("pid {pid}"));
    }
    if let Some(seconds) = number(data, "/uptime_seconds") {
        words.push(format!("up {}", seconds_in_words(seconds)));
    }
    words.join(", ")
}

fn events(data: &Value) -> String {
    let names = [
        ("accepted", "accepted"),
        ("durable", "durable"),
        ("delivered", "delivered"),
        ("dead_lettered", "dead-lettered"),
        ("dropped", "dropped"),
        ("lost", "LOST"),
    ];
    let shown = names.into_iter().filter_map(|(key, word)| {
        let count = number(data, &format!("/ledger/{key}"))?;
        // What should not happen is not shown until it does.
        (count > 0 || key != "lost").then(|| format!("{count} {word}"))
    });
    shown.collect::<Vec<_>>().join(", ")
}

fn backlog(data: &Value) -> String {
    let Some(count) = number(data, "/ledger/in_spool") else {
        return String::new();
    };
    if count == 0 {
        return "nothing in the spool".to_owned();
    }
    let mut words = format!("{count} in the spool");
    if let Some(age) = number(data, "/oldest_undelivered_seconds") {
        words += &format!(", the oldest for {}", seconds_in_words(age));
    }
    match number(data, "/rates/seconds_to_empty") {
        Some(seconds) => words += &format!(", empty in {}", seconds_in_words(seconds)),
        None => words += ", not shrinking",
    }
    words
}

fn rates(data: &Value) -> String {
    let rate = |key: &str| at(data, &format!("/rates/{key}")).as_f64();
    let (accepted, delivered) = (rate("accepted_per_second"), rate("delivered_per_second"));
    let words = [(accepted, "in"), (delivered, "out")];
    let words = words
        .into_iter()
        .filter_map(|(rate, word)| Some(format!("{:.0}/s {word}", rate?)));
    words.collect::<Vec<_>>().join(", ")
}

fn disk(spool: &Value) -> String {
    let mut words = Vec::new();
    if let Some(used) = number(spool, "/disk_bytes") {
        let most = number(spool, "/max_bytes").map(|m| format!(" of {}", rounded_size(m)));
        words.push(format!(
            "{}{} used",
            rounded_size(used),
            most.unwrap_or_default()
        ));
    }
    if let Some(free) = number(spool, "/free_bytes") {
        words.push(format!("{} free", rounded_size(free)));
    }
    if let Some(p99) = number(spool, "/flush_p99_micros") {
        words.push(format!("flush p99 {:.1}ms", p99 as f64 / 1000.0));
    }
    if let Some(dir) = text(spool, "/dir") {
        words.push(format!("in {dir}"));
    }
    words.join(", ")
}

/// An object in one line: the `first` keys by their values, then all others as key=value.
/// What is null, zero, false or empty says nothing and is left out.
fn described(object: &Value, first: &[&str], skip: &[&str]) -> String {
    let mut words: Vec<String> = first
        .iter()
        .filter_map(|key| object.get(*key))
        .map(plain)
        .collect();
    let rest = object.as_object().into_iter().flatten();
    for (key, value) in rest.filter(|(key, _)| !first.contains(&key.as_str())) {
        if !skip.contains(&key.as_str()) {
            describe_into(&mut words, key, value);
        }
    }
    words.join(" ")
}

fn describe_into(words: &mut Vec<String>, name: &str, value: &Value) {
    match value {
        Value::Null | Value::Bool(false) => {}
        Value::Number(number) if number.as_f64() == Some(0.0) => {}
        Value::Bool(true) => words.push(printable(name)),
        Value::String(text) if text.is_empty() => {}
        Value::Array(items) if items.is_empty() => {}
        Value::Object(fields) => {
            for (key, value) in fields {
                describe_into(words, &format!("{name}.{key}"), value);
            }
        }
        other => words.push(format!("{}={}", printable(name), plain(other))),
    }
}

fn seconds_in_words(seconds: u64) -> String {
    format_duration(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_answer_becomes_one_screen() {
        let screen = render(&json!({
            "version": "0.1.0", "pid": 7, "uptime_seconds": 3723,
            "ledger": {"accepted": 10, "durable": 10, "delivered": 6, "dead_lettered": 1,
                "dropped": 0, "lost": 0, "in_spool": 3},
            "oldest_undelivered_seconds": 65,
            "rates": {"accepted_per_second": 1.0, "delivered_per_second": 4.0,
                "seconds_to_empty": 1},
            "spool": {"dir": "/s", "disk_bytes": 1_572_864, "max_bytes": 10_737_418_240_u64,
                "free_bytes": 1024, "full": "max_bytes is reached", "flush_p99_micros": 1500},
            "inputs": [{"name": "app", "connections": 2, "refused": {"too_long": 4, "busy": 0}}],
            "drain": {"lanes": [{"topic": "t", "partition": 0, "in_flight": 5, "lagging": false}],
                "doomed": [["u", "unknown topic"]]},
            "kafka": {"halted": "wrong password", "unverified": "NOTHING IS VERIFIED",
                "topics": [{"topic": "u", "error": "topic u: gone", "for_seconds": 61}],
                "certificates": [{"whose": "broker k:9093", "days_left": 12}],
                "brokers": [{"id": 1,
                "connection": {"up": true, "address": "k:9092", "error": null}}]},
        }));
        assert_eq!(
            screen,
            "daemon      spoolway 0.1.0, pid 7, up 1h 2m 3s\n\
             events      10 accepted, 10 durable, 6 delivered, 1 dead-lettered, 0 dropped\n\
             backlog     3 in the spool, the oldest for 1m 5s, empty in 1s\n\
             rate        1/s in, 4/s out\n\
             disk        1.5MiB of 10GiB used, 1KiB free, flush p99 1.5ms, in /s\n\
             INTAKE      paused: max_bytes is reached\n\
             input       app connections=2 refused.too_long=4\n\
             partition   t 0 in_flight=5\n\
             HALTED      wrong password\n\
             TOPIC       topic u: gone, for 1m 1s\n\
             INSECURE    NOTHING IS VERIFIED\n\
             broker      1 connection.address=k:9092 connection.up\n\
             certificate broker k:9093 days_left=12\n\
             REFUSED     u: unknown topic"
        );
    }

    #[test]
    fn missing_and_strange_fields_leave_a_screen() {
        for data in [
            json!(null),
            json!({}),
            json!([1]),
            json!({"ledger": 3, "inputs": {"a": 1}}),
            json!({"kafka": "x", "drain": {"lanes": [null, 7]}}),
        ] {
            assert!(
                render(&data).lines().all(|line| line.len() > LABEL),
                "{data}"
            );
        }
    }

    #[test]
    fn words_of_the_daemon_cannot_control_the_terminal() {
        let screen = render(&json!({"last_error": "a\u{1b}[2Jb\nc"}));
        assert_eq!(screen, "ERROR       a\\u{1b}[2Jb\\nc");
    }
}
