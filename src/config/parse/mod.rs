//! From TOML text to a checked [`Config`]: every mistake, all at once.
//!
//! Each table has its file; what concerns two tables at a time is in `cross`. Reads no file
//! except those named by the configuration, and those only when asked to.

use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use super::overlay;
use super::parts::Parts;
use super::report::{Report, Sink};
use super::section::{Entry, Section};
use super::{Config, ControlConfig, LogConfig, defaults};

mod bootstrap;
mod cross;
mod delivery;
mod input;
mod kafka;
mod names;
mod partitioner;
mod route;
mod security;
mod spool;
mod topic;
mod transaction;

/// Longest path of a Unix socket in bytes: `sun_path` less its final NUL (unix(7)).
pub const SOCKET_PATH_MAX: usize = 107;

/// Longest ordered stop that can be asked for.
const STOP_TIMEOUT_MAX: Duration = Duration::from_secs(60 * 60);

/// What is known besides the text.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// `--spool-dir`: wins over `spool.dir`.
    pub spool_dir: Option<PathBuf>,
    /// Whether secrets and certificates are read as well, as `check` does. A start-up does
    /// not: events can be made durable while a credential is late.
    pub probe_files: bool,
    /// The text is one of conf.d alone: what it lacks is no mistake.
    pub drop_in: bool,
    /// Whether other users may read the text; then a password in it is worth a warning.
    pub text_exposed: bool,
}

/// A configuration that passed, and what to look at nevertheless.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The checked configuration.
    pub config: Config,
    /// Warnings only.
    pub warnings: Report,
}

/// Parses the texts as one. On failure the report has at least one error; that of a drop-in
/// alone has none when it is right.
pub(super) fn parse(parts: Parts, context: &Context) -> Result<Loaded, Report> {
    let padded = parts.padded();
    let mut sink = Sink::new(parts, context.drop_in);
    let document = overlay::read(&padded, &mut sink);
    let mut root = Section::new("top level", &document, &mut sink);
    let tables = Tables::take(&mut root);
    let stop_timeout = root.duration(
        "stop_timeout",
        defaults::STOP_TIMEOUT,
        Duration::from_secs(1)..=STOP_TIMEOUT_MAX,
    );
    root.finish();
    let config = tables.read(stop_timeout, context, &mut sink);
    let report = sink.into_report();
    match config {
        Some(config) if !report.has_errors() && !context.drop_in => Ok(Loaded {
            config,
            warnings: report,
        }),
        _ => Err(report),
    }
}

/// The tables of a document, each still raw.
struct Tables<'a> {
    spool: Option<Entry<'a>>,
    input: Option<Entry<'a>>,
    kafka: Option<Entry<'a>>,
    route: Option<Entry<'a>>,
    routing: Option<Entry<'a>>,
    control: Option<Entry<'a>>,
    log: Option<Entry<'a>>,
}

impl<'a> Tables<'a> {
    fn take(root: &mut Section<'a, '_>) -> Self {
        Self {
            spool: root.take("spool"),
            input: root.take("input"),
            kafka: root.take("kafka"),
            route: root.take("route"),
            routing: root.take("routing"),
            control: root.take("control"),
            log: root.take("log"),
        }
    }

    /// Reads every table even when an earlier one failed; `None` when one is missing.
    fn read(&self, stop_timeout: Duration, context: &Context, sink: &mut Sink) -> Option<Config> {
        let spool = spool::read(self.spool.as_ref(), context.spool_dir.as_deref(), sink);
        let around = input::Around {
            context,
            max_event_bytes: spool
                .as_ref()
                .map_or(defaults::MAX_EVENT_BYTES, |spool| spool.max_event_bytes),
        };
        let inputs = input::read_all(self.input.as_ref(), around, sink);
        let kafka = kafka::read(self.kafka.as_ref(), context, sink);
        let partitioner = kafka.as_ref().map(|kafka| kafka.partitioner);
        let routes = route::read_all(self.route.as_ref(), partitioner.unwrap_or_default(), sink);
        let routing = route::read_routing(self.routing.as_ref(), sink);
        let log = read_log(self.log.as_ref(), sink);
        let control = read_control(self.control.as_ref(), sink);
        let spool = spool?;
        let control = control.unwrap_or_else(|| ControlConfig::in_spool(&spool.dir));
        let config = Config {
            spool,
            inputs,
            kafka: kafka?,
            routes,
            routing,
            control,
            log,
            stop_timeout,
        };
        cross::check(&config, self, sink);
        Some(config)
    }
}

/// The section of a table that has to be a plain `[name]`.
fn table<'a, 's>(title: &str, entry: &Entry<'a>, sink: &'s mut Sink) -> Option<Section<'a, 's>> {
    match entry.value.get_ref() {
        DeValue::Table(inner) => Some(Section::of(title, entry.key.clone(), inner, sink)),
        _ => {
            let message = format!("{title}: has to be a table, written {title} on its own line");
            sink.error(entry.key.clone(), message, None);
            None
        }
    }
}

/// The sections of `[[name]]`, most `max` of them.
fn tables<'a>(
    title: &str,
    entry: Option<&Entry<'a>>,
    max: usize,
    sink: &mut Sink,
) -> Vec<Entry<'a>> {
    let Some(entry) = entry else {
        let message = format!("{title}: is missing");
        sink.missing(None, message, Some(format!("add a table {title}")));
        return Vec::new();
    };
    let single = title.trim_start_matches('[').trim_end_matches(']');
    let DeValue::Array(array) = entry.value.get_ref() else {
        let message = format!("{title}: may be given several times, so it is a list of tables");
        sink.error(
            entry.key.clone(),
            message,
            Some(format!("write [[{single}]]")),
        );
        return Vec::new();
    };
    if array.is_empty() || array.len() > max {
        let message = format!(
            "{title}: has {} entries, and 1 to {max} are allowed",
            array.len()
        );
        sink.error(entry.key.clone(), message, None);
    }
    array
        .iter()
        .take(max)
        .map(|value| Entry {
            key: value.span(),
            value,
        })
        .collect()
}

fn read_log(entry: Option<&Entry<'_>>, sink: &mut Sink) -> LogConfig {
    use super::LogFormat;
    let mut log = LogConfig::default();
    let Some(mut section) = entry.and_then(|entry| table("[log]", entry, sink)) else {
        return log;
    };
    if let Some(filter) = section.text("filter") {
        match filter
            .get_ref()
            .parse::<tracing_subscriber::filter::Targets>()
        {
            Ok(_) => log.filter = filter.into_inner(),
            Err(error) => {
                let what = format!("{:?} is not a filter: {error}", filter.get_ref());
                let help = Some("write a level, or target=level pairs with commas".to_owned());
                section.fault("filter", filter.span(), &what, help);
            }
        }
    }
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    log.format = section.choice("format", log.format, &formats);
    let range = Duration::ZERO..=Duration::from_secs(24 * 60 * 60);
    log.repeat_interval = section.duration("repeat_interval", log.repeat_interval, range);
    section.finish();
    log
}

fn read_control(entry: Option<&Entry<'_>>, sink: &mut Sink) -> Option<ControlConfig> {
    let mut section = table("[control]", entry?, sink)?;
    let path = section.path("path");
    section.finish();
    Some(ControlConfig {
        path: path?.into_inner(),
    })
}

#[cfg(test)]
mod delivery_tests;
#[cfg(test)]
mod tests;
