//! `spoolway route test`: what the routes make of sample events, without a daemon.
//!
//! Also runs the tests that the configuration itself holds, for `check`.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::CliError;
use super::args::RouteCommand;
use super::control::print_line;
use crate::config::{Config, RouteTest};
use crate::event::{Source, UnixMillis};
use crate::route::spec::RouteSpec;
use crate::route::{Event, Host, Placement, Routed, RoutedTopic, Router, Scratch, Verdict};

/// The spool's identity in samples; a real one is random.
const SAMPLE_SPOOL: u64 = 0;

pub(super) fn route(command: &RouteCommand) -> Result<(), CliError> {
    let RouteCommand::Test {
        file,
        input,
        partitions,
        ..
    } = command;
    let loaded = command.source().load().map_err(CliError::Config)?;
    let router = router(&loaded.config);
    let first = loaded.config.inputs.first().map(|input| input.name.clone());
    let source = Source {
        input: input
            .as_deref()
            .map(Into::into)
            .or(first)
            .unwrap_or_default(),
        peer: None,
        file: None,
    };
    let mut scratch = Scratch::default();
    for (seq, line) in (1..).zip(open(file)?.split(b'\n')) {
        let line = line.map_err(unreadable)?;
        let event = Event {
            seq,
            source: &source,
            offset: None,
            received: 0,
            bytes: &line,
        };
        let mut matches = router.matches(event, &mut scratch);
        while let Some(verdict) = matches.next() {
            let shown = describe(&router, &verdict, *partitions);
            print_line(&format!("event {seq}: {shown}"))?;
        }
    }
    Ok(())
}

fn unreadable(source: io::Error) -> CliError {
    CliError::Io {
        what: "the file of sample events",
        source,
    }
}

/// The file, or standard input for `-`.
fn open(path: &Path) -> Result<Box<dyn BufRead>, CliError> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(io::stdin().lock()));
    }
    let file = File::open(path).map_err(unreadable)?;
    Ok(Box::new(BufReader::new(file)))
}

fn router(config: &Config) -> Router {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = Host {
        name: name.trim_end().into(),
        spool_id: SAMPLE_SPOOL,
    };
    let specs: Vec<RouteSpec> = config.routes.iter().map(|r| r.spec.clone()).collect();
    let routing = &config.routing;
    Router::new(&specs, routing.matching, &routing.no_match, host)
}

/// The topics that the routes name outright, without those made from events.
pub(super) fn fixed_topics(config: &Config) -> Vec<Arc<str>> {
    router(config).topics().to_vec()
}

fn topic_of<'a>(router: &'a Router, routed: &Routed<'a>) -> &'a str {
    match routed.topic {
        RoutedTopic::Listed(index) => router.topics().get(index).map_or("", |topic| topic),
        RoutedTopic::Named(name) => name,
    }
}

/// A verdict over several lines; bytes that are no text are shown as escapes. With the number
/// of partitions, that of a key is known.
fn describe(router: &Router, verdict: &Verdict<'_>, partitions: Option<i32>) -> String {
    let routed = match verdict {
        Verdict::Send(routed) => routed,
        Verdict::Drop => return "dropped, no route takes it".to_owned(),
        Verdict::DeadLetter { route, reason } => {
            let route = route.and_then(|route| router.route_name(route));
            let route = route.map(|route| format!(" of route {route}"));
            return format!("dead letter{}: {reason}", route.unwrap_or_default());
        }
    };
    let route = router.route_name(routed.route).unwrap_or("none");
    let mut text = format!("route {route}\n  topic: {}", topic_of(router, routed));
    text += &match routed.placement {
        Placement::Fixed(partition) => format!("\n  partition: {partition}"),
        Placement::Keyed => match partitions.and_then(|count| routed.partition(count)) {
            Some(partition) => format!("\n  partition: {partition}, by the key"),
            None => "\n  partition: by the key".to_owned(),
        },
        Placement::Any(_) => "\n  partition: any".to_owned(),
    };
    text += &format!("\n  key: {}", shown(routed.key));
    for (name, value) in routed.headers() {
        text += &format!("\n  header {name}: {}", shown(value));
    }
    if let Some(timestamp) = routed.timestamp {
        text += &format!("\n  timestamp: {}", time(timestamp));
    }
    text + &format!("\n  payload: {}", shown(routed.value))
}

/// A timestamp as RFC 3339 in UTC.
fn time(millis: UnixMillis) -> String {
    let since = Duration::from_millis(u64::try_from(millis).unwrap_or_default());
    let at = SystemTime::UNIX_EPOCH.checked_add(since);
    at.map_or(millis.to_string(), |at| {
        humantime::format_rfc3339_millis(at).to_string()
    })
}

fn shown(bytes: Option<&[u8]>) -> String {
    bytes.map_or("null".to_owned(), |bytes| {
        match std::str::from_utf8(bytes) {
            Ok(text) if !text.contains(char::is_control) => text.to_owned(),
            _ => bytes.escape_ascii().to_string(),
        }
    })
}

/// Runs every `[[route.test]]`; a sentence for each that fails.
pub(super) fn failed_tests(config: &Config) -> Vec<String> {
    let router = router(config);
    let mut failed = Vec::new();
    for route in &config.routes {
        for (number, test) in (1..).zip(&route.tests) {
            if let Err(what) = run(&router, &route.spec.name, test) {
                failed.push(format!(
                    "test {number} of route {}: {what}",
                    route.spec.name
                ));
            }
        }
    }
    failed
}

fn run(router: &Router, route: &str, test: &RouteTest) -> Result<(), String> {
    let source = Source::of_input("test");
    let event = Event {
        seq: 1,
        source: &source,
        offset: None,
        received: 0,
        bytes: test.event.as_bytes(),
    };
    let mut scratch = Scratch::default();
    let mut matches = router.matches(event, &mut scratch);
    let mut instead = "nothing".to_owned();
    while let Some(verdict) = matches.next() {
        match &verdict {
            Verdict::Send(routed) if router.route_name(routed.route) == Some(route) => {
                return match test.matches {
                    true => compare(router, routed, test),
                    false => Err("the route takes the event".to_owned()),
                };
            }
            _ => instead = describe(router, &verdict, None),
        }
    }
    match test.matches {
        true => Err(format!("the route does not send the event, but: {instead}")),
        false => Ok(()),
    }
}

/// Headers on one line.
fn headers(headers: &[(&str, Option<&[u8]>)]) -> String {
    let one = |(name, value): &(&str, Option<&[u8]>)| format!("{name}: {}", shown(*value));
    format!(
        "[{}]",
        headers.iter().map(one).collect::<Vec<_>>().join(", ")
    )
}

fn compare(router: &Router, routed: &Routed<'_>, test: &RouteTest) -> Result<(), String> {
    let partition = match routed.placement {
        Placement::Fixed(partition) => Some(partition),
        Placement::Keyed | Placement::Any(_) => None,
    };
    let differs = |what: &str, found: String, wanted: &str| {
        Err(format!("the {what} is {found}, not {wanted}"))
    };
    if let Some(topic) = &test.topic
        && topic != topic_of(router, routed)
    {
        return differs("topic", topic_of(router, routed).to_owned(), topic);
    }
    if let Some(wanted) = test.partition
        && partition != Some(wanted)
    {
        let found = partition.map_or("open".to_owned(), |partition| partition.to_string());
        return differs("partition", found, &wanted.to_string());
    }
    let found = routed.timestamp.map_or("sent".to_owned(), time);
    if let Some(wanted) = &test.timestamp
        && *wanted != found
    {
        return differs("timestamp", found, wanted);
    }
    if let Some(wanted) = &test.headers {
        let wanted = wanted.iter();
        let wanted: Vec<(&str, Option<&[u8]>)> = wanted
            .map(|(name, value)| (name.as_str(), value.as_deref().map(str::as_bytes)))
            .collect();
        let found: Vec<(&str, Option<&[u8]>)> = routed.headers().collect();
        if found != wanted {
            return differs("list of headers", headers(&found), &headers(&wanted));
        }
    }
    for (what, found, wanted) in [
        ("key", routed.key, &test.key),
        ("payload", routed.value, &test.payload),
    ] {
        if let Some(wanted) = wanted
            && found != Some(wanted.as_bytes())
        {
            return differs(what, shown(found), wanted);
        }
    }
    Ok(())
}
