//! `spoolway config`: the sample, the schema, and what is in force.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::CliError;
use super::args::{ConfigArgs, ConfigCommand, config_or_default};
use super::control::print_line;
use crate::config::{Context, schema, show};

/// The file that the packages install as well.
const SAMPLE: &str = include_str!("../../packaging/spoolway.toml");

/// Mode of a file written by `init`: a password may be put into it.
const MODE: u32 = 0o600;

pub(super) fn config(args: ConfigArgs) -> Result<(), CliError> {
    match args.command {
        ConfigCommand::Init { file: None } => print_line(SAMPLE.trim_end()),
        ConfigCommand::Init { file: Some(file) } => write_new(&file),
        ConfigCommand::Schema => print_line(&format!("{:#}", schema())),
        ConfigCommand::Show { config, origin } => {
            let path = config_or_default(config);
            let text = show(&path, Context::default(), origin).map_err(CliError::Config)?;
            print_line(text.trim_end())
        }
    }
}

/// Never replaces a file: somebody may have put work into it.
fn write_new(path: &Path) -> Result<(), CliError> {
    let mut options = OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(MODE).open(path);
    let mut file = opened.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => CliError::Usage(format!(
            "{} exists already; name another file, or move it away",
            path.display()
        )),
        _ => CliError::Io {
            what: "cannot create the file",
            source,
        },
    })?;
    file.write_all(SAMPLE.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(|source| CliError::Io {
            what: "cannot write the file",
            source,
        })?;
    eprintln!("spoolway: wrote {}; edit it, then check it", path.display());
    Ok(())
}
