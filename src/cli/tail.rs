//! `spoolway tail`: the log files that a running daemon follows, and an operator's hand on
//! their checkpoints.
//!
//! The daemon decides what would lose or double events and refuses it; this only asks and
//! shows. Renders JSON that another version may have written, so a missing field is left out.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::CliError;
use super::args::{SeekTo, TailArgs, TailCommand};
use super::control::{ask, print_line};
use super::shown::{number, rounded_size, text};
use crate::config::format_duration;

/// Files of one request; the daemon sends no more at once.
const PAGE: u64 = 1000;

pub(super) fn tail(args: &TailArgs) -> Result<(), CliError> {
    match &args.command {
        TailCommand::Status { path, json } => status(args, path.as_deref(), *json),
        TailCommand::Seek { file, to, yes } => {
            let to = match to {
                SeekTo::Start => json!("beginning"),
                SeekTo::End => json!("end"),
                SeekTo::Offset(offset) => json!({"offset": offset}),
            };
            let file = named(file)?;
            let request = json!({"cmd": "tail-seek", "file": file, "to": to, "yes": yes});
            let answer = ask(&args.control, &request)?;
            let moved = answer.get("file").unwrap_or(&Value::Null);
            let offset = number(moved, "/offset").unwrap_or_default();
            print_line(&format!("{}: goes on at byte {offset}", path_of(moved)))
        }
        TailCommand::Forget { file, yes } => {
            let request = json!({"cmd": "tail-forget", "file": named(file)?, "yes": yes});
            let answer = ask(&args.control, &request)?;
            let forgotten = answer.get("file").unwrap_or(&Value::Null);
            print_line(&format!("{}: forgotten", path_of(forgotten)))
        }
    }
}

/// A path as the daemon knows it: absolute, links on the way unresolved. A key stays as it
/// is.
fn named(file: &Path) -> Result<String, CliError> {
    let unusable = || CliError::Usage(format!("{} is not UTF-8", file.display()));
    let text = file.to_str().ok_or_else(unusable)?;
    let is_key = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_key || file.is_absolute() {
        return Ok(text.to_owned());
    }
    let absolute = std::path::absolute(file).map_err(|source| CliError::Io {
        what: "the working directory",
        source,
    })?;
    absolute.to_str().map(str::to_owned).ok_or_else(unusable)
}

fn status(args: &TailArgs, path: Option<&str>, as_json: bool) -> Result<(), CliError> {
    let (mut from, mut rows) = (0, Vec::new());
    loop {
        let request = json!({"cmd": "tail-status", "path": path, "from": from, "limit": PAGE});
        let page = ask(&args.control, &request)?;
        let files = page.get("files").and_then(Value::as_array);
        let files = files.map(Vec::as_slice).unwrap_or_default();
        if as_json {
            files
                .iter()
                .try_for_each(|file| print_line(&file.to_string()))?;
        } else {
            rows.extend(files.iter().map(row));
        }
        from += files.len() as u64;
        if files.is_empty() || from >= number(&page, "/total").unwrap_or_default() {
            break;
        }
    }
    match (as_json, rows.is_empty()) {
        (true, _) => Ok(()),
        (false, true) => print_line("no file is followed"),
        (false, false) => print_line(&table(&rows)),
    }
}

const HEAD: [&str; 6] = ["input", "lag", "offset", "size", "quiet", "file"];

/// One file, a cell for each column of [`HEAD`].
fn row(file: &Value) -> [String; 6] {
    let size = |key| number(file, key).map_or_else(|| "?".to_owned(), rounded_size);
    let exact = |key| number(file, key).map_or_else(|| "?".to_owned(), |n| n.to_string());
    let quiet = number(file, "/quiet_seconds").map(Duration::from_secs);
    [
        text(file, "/input").unwrap_or_default(),
        size("/lag"),
        exact("/offset"),
        exact("/size"),
        quiet.map(format_duration).unwrap_or_default(),
        described(file),
    ]
}

/// Path and identity, and whatever is not as usual.
fn described(file: &Value) -> String {
    let mut words = vec![path_of(file)];
    if let Some(now) = text(file, "/now_at") {
        words.push(format!("now at {now}"));
    }
    if let Some(inode) = number(file, "/inode") {
        let device = number(file, "/device").unwrap_or_default();
        words.push(format!("inode {inode} of device {device}"));
    }
    if let Some(state) = text(file, "/state").filter(|state| state != "listed") {
        words.push(state);
    }
    if file.get("finished").and_then(Value::as_bool) == Some(true) {
        words.push("finished".to_owned());
    }
    if let Some(count) = number(file, "/rewritten").filter(|count| *count > 0) {
        words.push(format!("rewritten {count} times"));
    }
    if let Some(reason) = text(file, "/kept") {
        words.push(format!("will not be removed: {reason}"));
    }
    if let Some(error) = text(file, "/error") {
        words.push(format!("ERROR {error}"));
    }
    if let Some(key) = text(file, "/key") {
        words.push(format!("key {key}"));
    }
    words.join(", ")
}

/// Columns as wide as their widest cell; the last one as long as it is.
fn table(rows: &[[String; 6]]) -> String {
    let head = HEAD.map(str::to_owned);
    let all: Vec<&[String; 6]> = std::iter::once(&head).chain(rows).collect();
    let mut widths = [0; HEAD.len()];
    for cells in &all {
        for (width, cell) in widths.iter_mut().zip(*cells) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let last = HEAD.len() - 1;
    let lines = all.iter().map(|cells| {
        let padded = cells.iter().zip(widths).enumerate();
        let padded = padded.map(|(column, (cell, width))| match column {
            column if column == last => cell.clone(),
            1..=4 => format!("{cell:>width$}"),
            _ => format!("{cell:<width$}"),
        });
        padded.collect::<Vec<_>>().join("  ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn path_of(file: &Value) -> String {
    text(file, "/path").unwrap_or_else(|| "?".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_is_a_line_with_its_lag_and_what_is_unusual() {
        let rows = [
            row(&json!({
                "key": "00000000000000ab", "input": "logs", "path": "/l/a.log",
                "state": "listed", "device": 5, "inode": 77, "offset": 10, "size": 2058,
                "lag": 2048, "rewritten": 0, "finished": false, "quiet_seconds": 61,
            })),
            row(&json!({
                "key": "00000000000000ac", "input": "x", "path": "/l/b\u{1b}[2J",
                "now_at": "/l/b.1", "state": "moved", "offset": 5, "size": 5, "lag": 0,
                "rewritten": 2, "finished": true, "kept": "moved", "error": "permission denied",
            })),
        ];
        assert_eq!(
            table(&rows),
            "input   lag  offset  size  quiet  file\n\
             logs   2KiB      10  2058  1m 1s  /l/a.log, inode 77 of device 5, \
             key 00000000000000ab\n\
             x        0B       5     5         /l/b\\u{1b}[2J, now at /l/b.1, moved, finished, \
             rewritten 2 times, will not be removed: moved, ERROR permission denied, \
             key 00000000000000ac"
        );
    }

    #[test]
    fn a_strange_answer_is_shown_as_far_as_it_goes() {
        for strange in [json!(null), json!([1]), json!({"path": 7, "lag": "x"})] {
            assert_eq!(row(&strange).last().map(String::as_str), Some("?"));
        }
    }

    #[test]
    fn a_file_is_named_by_its_absolute_path_or_its_key() {
        assert_eq!(named(Path::new("/l/a.log")).unwrap(), "/l/a.log");
        assert_eq!(
            named(Path::new("00000000000000aB")).unwrap(),
            "00000000000000aB"
        );
        assert!(named(Path::new("a.log")).unwrap().ends_with("/a.log"));
    }
}
