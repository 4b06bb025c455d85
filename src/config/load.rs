//! The two ways to a [`Config`]: a file, or the flags of a first look.
//!
//! Both go through the same parser; flags become the file that they stand for.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::parse::{Context, Loaded, parse};
use super::report::{Origin, Report};

/// Largest configuration file, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The flags of `spoolway run` without a file.
#[derive(Debug, Clone)]
pub struct FirstLook {
    /// `--socket`
    pub socket: PathBuf,
    /// `--brokers`, as `bootstrap.servers` has it.
    pub brokers: String,
    /// `--topic`
    pub topic: String,
}

/// Where a configuration comes from: loaded at the start, and again at each reload.
#[derive(Debug, Clone)]
pub enum ConfigSource {
    /// A file.
    File {
        /// Its path.
        path: PathBuf,
        /// What is known besides.
        context: Context,
    },
    /// The flags of a first look; they never change.
    Flags {
        /// The flags.
        flags: FirstLook,
        /// What is known besides.
        context: Context,
    },
}

impl ConfigSource {
    /// Reads and checks it now.
    ///
    /// # Errors
    /// The report of every mistake.
    pub fn load(&self) -> Result<Loaded, Report> {
        match self {
            Self::File { path, context } => from_file(path, context.clone()),
            Self::Flags { flags, context } => from_flags(flags, context),
        }
    }
}

/// Reads and checks the file at `path`.
///
/// # Errors
/// The report of every mistake; or of one, when the file cannot be read.
pub fn from_file(path: &Path, mut context: Context) -> Result<Loaded, Report> {
    let origin = path.display().to_string();
    let unreadable = |error: std::io::Error| {
        let help = "name another one with --config".to_owned();
        Report::whole(
            origin.clone(),
            format!("cannot read the file: {error}"),
            Some(help),
        )
    };
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    context.text_exposed = metadata.permissions().mode() & 0o044 != 0;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let message = format!("is larger than {FILE_BYTES_MAX} bytes; is it the right file?");
        return Err(Report::whole(origin, message, None));
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => parse(text, Origin::File(origin), &context),
        Err(error) => {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
            Err(Report::whole(
                origin,
                format!("line {line} is not UTF-8 text"),
                None,
            ))
        }
    }
}

/// Checks a text as if it were the file `name`.
///
/// # Errors
/// The report of every mistake.
pub fn from_text(text: &str, name: &str, context: &Context) -> Result<Loaded, Report> {
    parse(text, Origin::File(name.to_owned()), context)
}

/// Checks the flags of a first look. `context.spool_dir` is `--spool-dir`.
///
/// # Errors
/// The report of every mistake.
pub fn from_flags(flags: &FirstLook, context: &Context) -> Result<Loaded, Report> {
    let Some(socket) = flags.socket.to_str() else {
        let message = "--socket: is not UTF-8".to_owned();
        return Err(Report::whole("command line".to_owned(), message, None));
    };
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let text = format!(
        "[[input]]\nname = \"socket\"\ntype = \"unix\"\nack = \"durable\"\npath = {}\n\
         [kafka]\nbootstrap.servers = {}\n[[route]]\ntopic = {}\n",
        quoted(socket),
        quoted(&flags.brokers),
        quoted(&flags.topic)
    );
    parse(&text, Origin::CommandLine, context)
}
