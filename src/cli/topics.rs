//! `spoolway topics`: the topics of the cluster that the configuration names.
//!
//! Asks the cluster itself; the daemon need not run.

use serde_json::json;

use super::CliError;
use super::args::TopicsArgs;
use super::control::print_line;
use super::kafka::block_on;
use crate::kafka::{TopicInfo, list_topics};
use crate::route::Glob;

/// Shortest column of names.
const NAME_WIDTH_MIN: usize = 20;

pub(super) fn topics(args: &TopicsArgs) -> Result<(), CliError> {
    let filter = args.filter.as_deref().map(Glob::new).transpose();
    let filter = filter.map_err(|error| CliError::Usage(format!("the pattern {error}")))?;
    let loaded = args.source().load().map_err(CliError::Config)?;
    let listed = block_on(list_topics(&loaded.config.kafka))??;
    let wanted = |topic: &&TopicInfo| {
        let matches = filter.as_ref().is_none_or(|glob| glob.matches(&topic.name));
        matches && (args.all || !topic.internal)
    };
    let shown: Vec<&TopicInfo> = listed.iter().filter(wanted).collect();
    let width = shown.iter().map(|topic| topic.name.len()).max();
    let width = width.unwrap_or(0).max(NAME_WIDTH_MIN);
    for topic in &shown {
        let line = if args.json {
            as_json(topic)
        } else {
            format!("{:width$}  {}", topic.name, described(topic))
        };
        print_line(&line)?;
    }
    if shown.is_empty() && !args.json {
        eprintln!("no topic that this login may see");
    }
    Ok(())
}

fn as_json(topic: &TopicInfo) -> String {
    let value = json!({
        "name": topic.name, "partitions": topic.partitions, "replicas": topic.replicas,
        "leaderless": topic.leaderless, "under_replicated": topic.under_replicated,
        "internal": topic.internal,
    });
    value.to_string()
}

fn described(topic: &TopicInfo) -> String {
    let plural = |count: usize, word: &str| match count {
        1 => format!("1 {word}"),
        _ => format!("{count} {word}s"),
    };
    let mut words = format!(
        "{}, {}",
        plural(topic.partitions, "partition"),
        plural(topic.replicas, "replica")
    );
    if topic.leaderless > 0 {
        words += &format!(", {} WITHOUT LEADER", topic.leaderless);
    }
    if topic.under_replicated > 0 {
        words += &format!(", {} with replicas behind", topic.under_replicated);
    }
    if topic.internal {
        words += ", internal";
    }
    words
}
