//! `spoolway kafka test`: prints what the doctor finds, and turns it into an exit code.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::super::args::config_or_default;
use super::super::control::print_line;
use super::super::shown::printable;
use super::super::{CliError, route};
use super::block_on;
use crate::config::{Config, ConfigSource, Context, parse_duration};
use crate::kafka::doctor::{Finding, Plan, PlannedTopic, Verdict, examine};

/// Flags of `kafka test`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 nothing FAILs, 65 a topic takes less than is sent, a setting \
    is beyond what the brokers allow, or the clocks differ, 66 a topic is missing or unfit, 67 \
    the login is refused, 68 a name does not resolve, 69 no connection or a broker that \
    advertises an unusable address, 75 a partition cannot be written now or the time is over, \
    76 TLS or the protocol, 77 a right is missing, 78 configuration."
)]
pub(in crate::cli) struct TestArgs {
    /// Configuration file [default: /etc/spoolway/spoolway.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Topic to look at, instead of those that the routes name; may be repeated
    #[arg(long, value_name = "TOPIC")]
    topic: Vec<String>,
    /// Write one marked record into the topic that --topic or test_topic names
    #[arg(long)]
    send: bool,
    /// Longest time for everything together
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_duration)]
    timeout: Duration,
    /// Print one JSON object on standard output
    #[arg(long)]
    json: bool,
}

pub(in crate::cli) fn test(args: &TestArgs) -> Result<(), CliError> {
    let source = ConfigSource::File {
        path: config_or_default(args.config.clone()),
        context: Context::default(),
    };
    let config = source.load().map_err(CliError::Config)?.config;
    let topics = topics(args, &config)?;
    let plan = Plan {
        topics,
        largest_event: config.spool.max_event_bytes,
        send: args.send,
        kafka: config.kafka,
        limit: args.timeout,
    };
    let mut findings = Vec::new();
    let mut broken = Ok(());
    let failed = block_on(examine(&plan, &mut |finding| {
        if args.json {
            findings.push(as_json(finding));
        } else if broken.is_ok() {
            broken = print_line(&line(finding));
        }
    }))?;
    broken?;
    if args.json {
        let verdict = json!({
            "ok": failed.is_none(),
            "kind": failed.map(|kind| kind.name()),
            "steps": findings,
        });
        print_line(&verdict.to_string())?;
    }
    match failed {
        None => Ok(()),
        Some(kind) => Err(CliError::Unwell(kind)),
    }
}

/// The topics that the flags name, or else the routes; the one to be written comes first.
fn topics(args: &TestArgs, config: &Config) -> Result<Vec<PlannedTopic>, CliError> {
    let mut names: Vec<Arc<str>> = args.topic.iter().map(|t| t.as_str().into()).collect();
    if names.is_empty() && args.send {
        let named = config.kafka.test_topic.clone();
        let missing = "--send writes into a topic made for it: name it with --topic, or with \
                       test_topic in [kafka]";
        names.push(named.ok_or_else(|| CliError::Usage(missing.to_owned()))?);
    }
    if names.is_empty() {
        names = route::fixed_topics(config);
    }
    let planned = names.into_iter().map(|name| PlannedTopic {
        batch_bytes: batch_bytes(config, &name),
        name,
    });
    Ok(planned.collect())
}

/// The largest batch that is built for a topic.
fn batch_bytes(config: &Config, topic: &str) -> u32 {
    let usual = config.kafka.batch_size;
    let routes = config.routes.iter();
    let routes = routes.filter(|route| route.spec.topic.source() == topic);
    let sizes = routes.map(|route| route.batch_bytes.unwrap_or(usual));
    sizes.max().unwrap_or(usual)
}

/// `OK    step  subject: what`, and what to do on a line of its own.
fn line(finding: &Finding) -> String {
    let (mark, todo) = marked(&finding.verdict);
    let mut text = format!(
        "{mark:<5} {:<10} {}: {}",
        finding.step.name(),
        printable(&finding.subject),
        printable(&finding.what)
    );
    if let Some(todo) = todo {
        text += &format!("\n{:>17}{}", "-> ", printable(todo));
    }
    text
}

fn marked(verdict: &Verdict) -> (&'static str, Option<&str>) {
    match verdict {
        Verdict::Ok => ("OK", None),
        Verdict::Skip => ("SKIP", None),
        Verdict::Warn(advice) => ("WARN", Some(&advice.todo)),
        Verdict::Fail(advice) => ("FAIL", Some(&advice.todo)),
    }
}

fn as_json(finding: &Finding) -> Value {
    let (mark, todo) = marked(&finding.verdict);
    let kind = match &finding.verdict {
        Verdict::Warn(advice) | Verdict::Fail(advice) => Some(advice.kind.name()),
        Verdict::Ok | Verdict::Skip => None,
    };
    json!({
        "step": finding.step.name(), "subject": finding.subject, "result": mark,
        "what": finding.what, "kind": kind, "todo": todo,
        "millis": u64::try_from(finding.took.as_millis()).unwrap_or(u64::MAX),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::kafka::doctor::{Advice, Kind, Step};

    #[test]
    fn a_command_can_be_pasted_as_it_is_shown_and_no_line_is_forged() {
        let todo = r"grant Write: `kafka-acls.sh --transactional-id 'edge 17'`".to_owned();
        let kind = Kind::Permission;
        let finding = Finding {
            step: Step::Write,
            subject: "t".to_owned(),
            verdict: Verdict::Fail(Advice { kind, todo }),
            what: "refused\nOK".to_owned(),
            took: Duration::ZERO,
        };
        let shown = line(&finding);
        assert!(shown.ends_with("--transactional-id 'edge 17'`"), "{shown}");
        assert!(shown.contains(r"t: refused\nOK"), "{shown}");
    }
}
