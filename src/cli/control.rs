//! Client of the control socket: one JSON line asked, one answered.
//!
//! Request: `{"cmd":"status"}` and the like. Answer: `{"ok":true,"data":..}` or
//! `{"ok":false,"error":".."}`. Knows no command by itself.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::CliError;
use super::args::{ControlArgs, config_or_default};
use super::shown::printable;
use crate::config::{ConfigSource, Context, ControlConfig};

/// Longest answer, in bytes: the largest event in hexadecimal, and room around it.
const ANSWER_BYTES_MAX: u64 = 40 << 20;

/// How long the daemon may take for an answer; dropping many dead letters takes a while.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
struct Answer {
    ok: bool,
    #[serde(default)]
    data: Value,
    #[serde(default)]
    error: Option<String>,
}

/// Asks the daemon that `args` point to.
pub(super) fn ask(args: &ControlArgs, request: &Value) -> Result<Value, CliError> {
    let path = control_path(args)?;
    let line = exchange(&path, request).map_err(|source| CliError::NotRunning {
        path: path.clone(),
        source,
    })?;
    let answer: Answer =
        serde_json::from_slice(&line).map_err(|error| CliError::Answer(error.to_string()))?;
    if answer.ok {
        return Ok(answer.data);
    }
    let words = answer
        .error
        .unwrap_or_else(|| "without a reason".to_owned());
    Err(CliError::Refused(printable(&words)))
}

fn control_path(args: &ControlArgs) -> Result<PathBuf, CliError> {
    if let Some(path) = &args.control {
        return Ok(path.clone());
    }
    if let (None, Some(dir)) = (&args.config, &args.spool_dir) {
        return Ok(ControlConfig::in_spool(dir).path);
    }
    let context = Context {
        spool_dir: args.spool_dir.clone(),
        ..Context::default()
    };
    let source = ConfigSource::File {
        path: config_or_default(args.config.clone()),
        context,
    };
    let loaded = source.load().map_err(CliError::Config)?;
    Ok(loaded.config.control.path)
}

fn exchange(path: &PathBuf, request: &Value) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    stream.write_all(format!("{request}\n").as_bytes())?;
    let mut line = Vec::new();
    BufReader::new(stream.take(ANSWER_BYTES_MAX)).read_until(b'\n', &mut line)?;
    if !line.ends_with(b"\n") {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the answer breaks off",
        ));
    }
    Ok(line)
}

/// One line on standard output. A closed pipe is an error like any other: the reader may
/// have wanted more.
pub(super) fn print_line(line: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(|source| CliError::Io {
            what: "standard output",
            source,
        })
}
