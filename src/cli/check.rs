//! `spoolway check`: what a start would say about a configuration, without starting.

use serde::Serialize;

use super::CliError;
use super::args::CheckArgs;
use super::control::print_line;
use crate::config::certificate::{Facts, configured, in_words};
use crate::config::{Config, Report, format_size};

/// Most certificates that are listed: a chain and some authorities, not a system's bundle.
const CERTIFICATES_SHOWN: usize = 10;

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Verdict<'r> {
    ok: bool,
    #[serde(flatten)]
    report: &'r Report,
}

pub(super) fn check(args: &CheckArgs) -> Result<(), CliError> {
    let result = args.source().load();
    let report = match &result {
        Ok(loaded) => &loaded.warnings,
        Err(report) => report,
    };
    if args.json {
        let verdict = Verdict {
            ok: !report.has_errors(),
            report,
        };
        let text = serde_json::to_string(&verdict);
        print_line(&text.map_err(|error| CliError::Answer(error.to_string()))?)?;
    }
    if report.has_errors() {
        return Err(CliError::Config(report.clone()));
    }
    let failed = match &result {
        Ok(loaded) => super::route::failed_tests(&loaded.config),
        Err(_) => Vec::new(),
    };
    if !failed.is_empty() {
        return Err(CliError::RouteTests(failed));
    }
    if !args.json {
        for warning in report.lines() {
            eprintln!("{warning}");
        }
        print_line(&format!("{}: ok", report.origin))?;
        // A drop-in alone is right and yet no whole configuration.
        if let Ok(loaded) = &result {
            print_line(&memory(&loaded.config))?;
            certificates(&loaded.config)?;
            if args.show {
                show(&loaded.config)?;
            }
        }
    }
    Ok(())
}

/// The routes in full.
fn show(config: &Config) -> Result<(), CliError> {
    print_line(&format!("\n{}", config.routing.show()))?;
    config
        .routes
        .iter()
        .try_for_each(|route| print_line(&route.show()))
}

/// Until when the certificates are good.
fn certificates(config: &Config) -> Result<(), CliError> {
    let tls = config.kafka.tls.iter();
    let found: Vec<(&str, Facts)> = tls.flat_map(configured).collect();
    for (key, facts) in found.iter().take(CERTIFICATES_SHOWN) {
        let end = in_words(facts.not_after);
        print_line(&format!("{key}: {}, good until {end}", facts.subject))?;
    }
    Ok(())
}

/// The limits that memory adds up from; nothing grows with the backlog.
fn memory(config: &Config) -> String {
    format!(
        "memory limits: {} intake, {} for each open file of the queue, {} batches in flight",
        format_size(config.spool.intake_memory.into()),
        format_size(config.spool.cache_bytes),
        format_size(config.kafka.buffer_memory.into())
    )
}
