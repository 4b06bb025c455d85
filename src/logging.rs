//! Log lines on standard error: text or JSON, repeated ones held back.
//!
//! A subscriber layer of our own, because three things have to come together in one line:
//! the count of what was suppressed, the priority prefix that journald reads
//! (sd-daemon(3)), and escaped control characters. Spans are not shown.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, IsTerminal, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Map, Value};
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogConfig, LogFormat};

/// Different lines one callsite may write within the repeat interval; one that names a
/// thousand partitions must not fill the journal either.
const LINES_PER_CALLSITE: usize = 20;

/// Why logging could not be set up or changed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is not one.
    #[error("log filter {filter:?} is refused: {reason}")]
    Filter {
        /// The text.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Another logger is installed in this process.
    #[error("logging is set up already")]
    Installed,
}

/// Changes the filter of a running process.
#[derive(Debug, Clone)]
pub struct LogHandle(reload::Handle<Targets, Registry>);

impl LogHandle {
    /// Sets the filter from now on.
    ///
    /// # Errors
    /// When the text is no filter; the old one stays.
    pub fn set_filter(&self, filter: &str) -> Result<(), LogError> {
        let parsed = parse_filter(filter)?;
        self.0
            .reload(parsed)
            .map_err(|error| refused(filter, &error))
    }
}

/// Installs the logger for the whole process.
///
/// # Errors
/// When the filter is none, or a logger is installed already.
pub fn init(config: &LogConfig) -> Result<LogHandle, LogError> {
    let (filter, handle) = reload::Layer::new(parse_filter(&config.filter)?);
    let style = Style {
        format: config.format,
        journal: std::env::var_os("JOURNAL_STREAM").is_some(),
        colour: io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
    };
    let lines = Lines {
        style,
        repeats: Mutex::new(Repeats::new(config.repeat_interval)),
    };
    let installed = Registry::default().with(filter).with(lines).try_init();
    installed.map_err(|_| LogError::Installed)?;
    Ok(LogHandle(handle))
}

fn parse_filter(filter: &str) -> Result<Targets, LogError> {
    filter.parse().map_err(|error| refused(filter, &error))
}

fn refused(filter: &str, error: &dyn fmt::Display) -> LogError {
    LogError::Filter {
        filter: filter.to_owned(),
        reason: error.to_string(),
    }
}

/// The layer that writes.
struct Lines {
    style: Style,
    repeats: Mutex<Repeats>,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut said = Said::default();
        event.record(&mut said);
        let target = said
            .log_target
            .clone()
            .unwrap_or_else(|| metadata.target().to_owned());
        let level = *metadata.level();
        let mut hasher = DefaultHasher::new();
        said.hash(&mut hasher);
        // Who asks for debug lines wants all of them.
        let suppressed = if level <= Level::INFO {
            let mut repeats = self.repeats.lock().unwrap_or_else(PoisonError::into_inner);
            repeats.admit(metadata.callsite(), hasher.finish(), Instant::now())
        } else {
            Some(0)
        };
        let Some(suppressed) = suppressed else { return };
        let line = self
            .style
            .line(SystemTime::now(), level, &target, &said, suppressed);
        // Nobody can be told when standard error is gone.
        let _ = io::stderr().lock().write_all(line.as_bytes());
    }
}

/// Which lines were written lately, by callsite. Bounded: there are as many callsites as
/// the program has log statements, and each keeps [`LINES_PER_CALLSITE`] hashes.
struct Repeats {
    interval: Duration,
    callsites: HashMap<Identifier, Lately>,
}

struct Lately {
    since: Instant,
    lines: Vec<u64>,
    suppressed: u64,
}

impl Repeats {
    fn new(interval: Duration) -> Self {
        Self {
            interval,
            callsites: HashMap::new(),
        }
    }

    /// `None` holds the line back; else the number of lines held back before it.
    fn admit(&mut self, callsite: Identifier, line: u64, now: Instant) -> Option<u64> {
        if self.interval.is_zero() {
            return Some(0);
        }
        let fresh = || Lately {
            since: now,
            lines: Vec::new(),
            suppressed: 0,
        };
        let lately = self.callsites.entry(callsite).or_insert_with(fresh);
        let mut before = 0;
        if now.saturating_duration_since(lately.since) >= self.interval {
            before = lately.suppressed;
            *lately = fresh();
        } else if lately.lines.contains(&line) || lately.lines.len() >= LINES_PER_CALLSITE {
            lately.suppressed += 1;
            return None;
        }
        lately.lines.push(line);
        Some(before)
    }
}

/// What an event says: its message and its fields.
#[derive(Default)]
struct Said {
    message: String,
    fields: Map<String, Value>,
    /// The target of a line that came through the `log` crate.
    log_target: Option<String>,
}

impl Hash for Said {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.message.hash(state);
        for (key, value) in &self.fields {
            key.hash(state);
            value.to_string().hash(state);
        }
    }
}

impl Said {
    fn add(&mut self, field: &Field, value: Value) {
        let text = || {
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned)
        };
        match field.name() {
            "message" => self.message = text(),
            "log.target" => self.log_target = Some(text()),
            name if name.starts_with("log.") => {}
            name => {
                self.fields.insert(name.to_owned(), value);
            }
        }
    }
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, Value::from(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, Value::from(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Value::from(value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(cause) = source {
            let _ = write!(text, ": {cause}");
            source = cause.source();
        }
        self.add(field, Value::from(text));
    }
}

/// How a line looks.
struct Style {
    format: LogFormat,
    journal: bool,
    colour: bool,
}

impl Style {
    fn line(
        &self,
        at: SystemTime,
        level: Level,
        target: &str,
        said: &Said,
        suppressed: u64,
    ) -> String {
        let mut line = String::new();
        if self.journal {
            line += priority(level);
        }
        match self.format {
            LogFormat::Json => line += &json_line(at, level, target, said, suppressed),
            LogFormat::Text => self.text_line(&mut line, at, level, target, said, suppressed),
        }
        line.push('\n');
        line
    }

    fn text_line(
        &self,
        line: &mut String,
        at: SystemTime,
        level: Level,
        target: &str,
        said: &Said,
        suppressed: u64,
    ) {
        if !self.journal {
            // journald has its own clock.
            let _ = write!(line, "{} ", humantime::format_rfc3339_millis(at));
        }
        match colour(level).filter(|_| self.colour) {
            Some(code) => {
                let _ = write!(line, "\u{1b}[{code}m{level:>5}\u{1b}[0m ");
            }
            None => {
                let _ = write!(line, "{level:>5} ");
            }
        }
        let _ = write!(line, "{target}: ");
        escape(line, &said.message);
        for (key, value) in &said.fields {
            let _ = write!(line, " {key}=");
            match value {
                Value::String(text) if is_bare(text) => line.push_str(text),
                Value::String(text) => {
                    line.push('"');
                    escape(line, &text.replace('"', "\\\""));
                    line.push('"');
                }
                other => {
                    let _ = write!(line, "{other}");
                }
            }
        }
        if suppressed > 0 {
            let _ = write!(line, " (suppressed {suppressed})");
        }
    }
}

fn json_line(at: SystemTime, level: Level, target: &str, said: &Said, suppressed: u64) -> String {
    let mut object = Map::new();
    object.insert(
        "time".into(),
        humantime::format_rfc3339_millis(at).to_string().into(),
    );
    object.insert("level".into(), level.as_str().to_lowercase().into());
    object.insert("target".into(), target.into());
    object.insert("message".into(), said.message.clone().into());
    if !said.fields.is_empty() {
        object.insert("fields".into(), Value::Object(said.fields.clone()));
    }
    if suppressed > 0 {
        object.insert("suppressed".into(), suppressed.into());
    }
    Value::Object(object).to_string()
}

/// Syslog's priorities, as sd-daemon(3) wants them in front of a line.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        _ => "<7>",
    }
}

fn colour(level: Level) -> Option<u8> {
    match level {
        Level::ERROR => Some(31),
        Level::WARN => Some(33),
        Level::INFO => Some(32),
        _ => None,
    }
}

/// Whether a value needs no quotes.
fn is_bare(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '=' | '\\');
    !text.is_empty() && text.chars().all(plain)
}

/// Writes the text with its control characters escaped: a peer's bytes must neither start
/// a line of their own nor steer a terminal.
fn escape(line: &mut String, text: &str) {
    for c in text.chars() {
        // The direction marks turn text around on a terminal (CVE-2021-42574).
        let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || turns {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
}

#[cfg(test)]
mod tests;
