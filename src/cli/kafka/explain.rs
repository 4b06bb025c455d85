//! `spoolway kafka explain`: prints what `config::explain` finds, for people or as JSON.

use std::path::PathBuf;

use clap::Args;

use super::super::CliError;
use super::super::args::config_or_default;
use super::super::control::print_line;
use super::super::shown::printable;
use crate::config::{Context, Explained};

/// Flags of `kafka explain`.
#[derive(Debug, Args)]
pub(in crate::cli) struct ExplainArgs {
    /// Configuration file [default: /etc/spoolway/spoolway.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print one JSON array on standard output
    #[arg(long)]
    json: bool,
}

pub(in crate::cli) fn explain(args: &ExplainArgs) -> Result<(), CliError> {
    let path = config_or_default(args.config.clone());
    let rows = crate::config::explain(&path, Context::default()).map_err(CliError::Config)?;
    if args.json {
        return print_line(&serde_json::json!(rows).to_string());
    }
    rows.iter().try_for_each(|row| print_line(&line(row)))
}

fn line(row: &Explained) -> String {
    let value = row.value.as_deref().unwrap_or("(none)");
    let value = printable(value);
    let spelled = row.spelled.as_ref().map(|name| format!(", as {name}"));
    let spelled = spelled.unwrap_or_default();
    format!("{} = {value}  # {}{spelled}", row.name, row.origin)
}
