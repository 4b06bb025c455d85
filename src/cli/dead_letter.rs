//! `spoolway dead-letter`: the events that could not be delivered.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};

use super::CliError;
use super::args::{DeadLetterArgs, DeadLetterCommand, Selection};
use super::control::{ask, print_line};
use super::shown::{plain, printable};

/// The field of a shown dead letter that holds its bytes, in hexadecimal.
const PAYLOAD: &str = "bytes_hex";

/// The end of the year 9999, in milliseconds since the epoch.
const MILLIS_MAX: u64 = 253_402_300_800_000;

pub(super) fn dead_letter(args: &DeadLetterArgs) -> Result<(), CliError> {
    match &args.command {
        DeadLetterCommand::List { from, limit, json } => {
            let request = json!({"cmd": "dead-letter-list", "from": from, "limit": limit});
            list(&ask(&args.control, &request)?, *json)
        }
        DeadLetterCommand::Show { seq } => show(ask(
            &args.control,
            &json!({"cmd": "dead-letter-show", "seq": seq}),
        )?),
        DeadLetterCommand::Retry(selection) => done(
            "sent again",
            "retried",
            &ask(&args.control, &request("dead-letter-retry", selection))?,
        ),
        DeadLetterCommand::Drop { selection, yes } => {
            if !yes {
                let text = "dropped events are lost; confirm with --yes".to_owned();
                return Err(CliError::Usage(text));
            }
            done(
                "dropped",
                "dropped",
                &ask(&args.control, &request("dead-letter-drop", selection))?,
            )
        }
    }
}

fn request(command: &str, selection: &Selection) -> Value {
    if selection.all {
        json!({"cmd": command, "all": true})
    } else {
        json!({"cmd": command, "seqs": selection.seqs})
    }
}

fn list(data: &Value, as_json: bool) -> Result<(), CliError> {
    let entries = data.get("entries").unwrap_or(data).as_array();
    let entries = entries.ok_or_else(|| CliError::Answer("no list of entries".to_owned()))?;
    for entry in entries {
        let line = if as_json {
            entry.to_string()
        } else {
            describe(entry)
        };
        print_line(&line)?;
    }
    if entries.is_empty() && !as_json {
        eprintln!("no dead letters");
    }
    if let Some(next) = data.get("next").and_then(Value::as_u64) {
        eprintln!("there are more: --from {next}");
    }
    Ok(())
}

/// `seq topic size: reason`, and whatever else the daemon knows.
fn describe(entry: &Value) -> String {
    let field = |key: &str| entry.get(key).map_or_else(|| "?".to_owned(), plain);
    let mut line = format!("{} {} {}B", field("seq"), field("topic"), field("size"));
    for (key, value) in entry.as_object().into_iter().flatten() {
        if !["seq", "topic", "size", "reason"].contains(&key.as_str()) && !value.is_null() {
            let (key, value) = named(key, value);
            line += &format!(" {key}={value}");
        }
    }
    line + &format!(": {}", field("reason"))
}

/// A field for people: `received_ms` is a point in time and shown as one.
fn named(key: &str, value: &Value) -> (String, String) {
    let millis = key.strip_suffix("_ms").zip(value.as_u64());
    let time = millis.and_then(|(name, millis)| {
        let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis))?;
        // Beyond the year 9999 there is no such notation, and the clock was wrong anyway.
        (millis < MILLIS_MAX).then(|| (name, humantime::format_rfc3339_millis(at).to_string()))
    });
    match time {
        Some((name, time)) => (printable(name), time),
        None => (printable(key), plain(value)),
    }
}

fn show(data: Value) -> Result<(), CliError> {
    let Value::Object(mut fields) = data else {
        return Err(CliError::Answer("no dead letter".to_owned()));
    };
    let payload = fields.remove(PAYLOAD);
    let payload = payload.as_ref().and_then(Value::as_str).and_then(from_hex);
    let payload = payload.ok_or_else(|| CliError::Answer(format!("no {PAYLOAD}")))?;
    print_metadata(&fields);
    let mut out = io::stdout().lock();
    out.write_all(&payload)
        .and_then(|()| out.flush())
        .map_err(|source| CliError::Io {
            what: "standard output",
            source,
        })
}

fn print_metadata(fields: &Map<String, Value>) {
    for (key, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        let (key, value) = named(key, value);
        eprintln!("{key}: {value}");
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |c: &u8| {
        char::from(*c)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    let pairs = text.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    });
    pairs.collect()
}

fn done(what: &str, key: &str, data: &Value) -> Result<(), CliError> {
    match data.get(key).and_then(Value::as_u64) {
        Some(count) => print_line(&format!("{count} {what}")),
        None => print_line(what),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_becomes_the_bytes_it_stands_for_and_nothing_else_passes() {
        assert_eq!(from_hex("00ff0A"), Some(vec![0, 255, 10]));
        assert_eq!(from_hex(""), Some(Vec::new()));
        assert_eq!(
            (from_hex("0"), from_hex("zz"), from_hex("0é")),
            (None, None, None)
        );
    }

    #[test]
    fn an_entry_is_described_on_one_line_also_with_fields_missing() {
        let entry = json!({"seq": 7, "topic": "t", "size": 3, "reason": "too\nlarge", "code": 10});
        assert_eq!(describe(&entry), "7 t 3B code=10: too\\nlarge");
        assert_eq!(describe(&json!({})), "? ? ?B: ?");
        let entry = json!({"seq": 1, "received_ms": 1_700_000_000_123_u64, "at_ms": u64::MAX});
        assert_eq!(
            describe(&entry),
            "1 ? ?B at_ms=18446744073709551615 received=2023-11-14T22:13:20.123Z: ?"
        );
    }
}
