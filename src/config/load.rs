//! The two ways to a [`Config`](super::Config): a file, or the flags of a first look.
//!
//! Both go through the same parser; flags become the file that they stand for.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::parse::{Context, Loaded, parse};
use super::parts::Parts;
use super::report::Report;

/// The folder of drop-ins, beside the configuration file.
pub const DROP_INS: &str = "conf.d";

/// Most drop-ins of one configuration.
const DROP_INS_MAX: usize = 64;

/// Largest configuration, drop-ins included, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The flags of `spoolway run` without a file.
#[derive(Debug, Clone)]
pub struct FirstLook {
    /// `--socket`
    pub socket: PathBuf,
    /// `--brokers`, as `bootstrap.servers` has it; plain TCP.
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

/// Reads and checks the file at `path`, with the drop-ins `conf.d/*.toml` beside it.
///
/// # Errors
/// The report of every mistake; or of one, when a file cannot be read.
pub fn from_file(path: &Path, mut context: Context) -> Result<Loaded, Report> {
    let parts = read_parts(path, &mut context)?;
    parse(parts, &context)
}

/// The texts of a configuration. Notes in `context` when others may read one of them.
pub(super) fn read_parts(path: &Path, context: &mut Context) -> Result<Parts, Report> {
    let mut parts = Parts::default();
    let paths = if context.drop_in {
        Vec::new()
    } else {
        drop_ins(path)?
    };
    for path in [path.to_owned()].into_iter().chain(paths) {
        let (text, exposed) = read_text(&path)?;
        context.text_exposed |= exposed;
        parts.add(&path.display().to_string(), &text);
        if parts.text.len() as u64 > FILE_BYTES_MAX {
            let message = format!("is larger than {FILE_BYTES_MAX} bytes with what is before it");
            return Err(Report::whole(path.display().to_string(), message, None));
        }
    }
    Ok(parts)
}

/// The drop-ins of the file at `path`, in lexical order; hidden files are none.
fn drop_ins(path: &Path) -> Result<Vec<PathBuf>, Report> {
    let folder = path.with_file_name(DROP_INS);
    let unreadable = |error: std::io::Error| {
        let message = format!("cannot list the drop-ins: {error}");
        Report::whole(folder.display().to_string(), message, None)
    };
    let listed = match fs::read_dir(&folder) {
        Ok(listed) => listed,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut paths = Vec::new();
    for entry in listed {
        let path = entry.map_err(unreadable)?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.as_bytes().starts_with(b"."));
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
            && !hidden
        {
            paths.push(path);
        }
    }
    if paths.len() > DROP_INS_MAX {
        let message = format!("has more than {DROP_INS_MAX} drop-ins");
        return Err(Report::whole(folder.display().to_string(), message, None));
    }
    paths.sort();
    Ok(paths)
}

/// A file's text, and whether others may read it.
fn read_text(path: &Path) -> Result<(String, bool), Report> {
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
    let exposed = metadata.permissions().mode() & 0o044 != 0;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let message = format!("is larger than {FILE_BYTES_MAX} bytes; is it the right file?");
        return Err(Report::whole(origin, message, None));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok((text, exposed)),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let bytes = error.into_bytes();
            let before = bytes.get(..valid).unwrap_or_default();
            let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
            let message = format!("line {line} is not UTF-8 text");
            Err(Report::whole(origin, message, None))
        }
    }
}

/// Checks a text as if it were the file `name`.
///
/// # Errors
/// The report of every mistake.
pub fn from_text(text: &str, name: &str, context: &Context) -> Result<Loaded, Report> {
    parse(Parts::file(name, text), context)
}

/// Checks texts, each with the name of its file, as if the first were the file and the
/// others its drop-ins.
///
/// # Errors
/// The report of every mistake.
pub fn from_texts(texts: &[(&str, &str)], context: &Context) -> Result<Loaded, Report> {
    let mut parts = Parts::default();
    for (name, text) in texts {
        parts.add(name, text);
    }
    parse(parts, context)
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
         [kafka]\nbootstrap.servers = {}\nsecurity.protocol = \"PLAINTEXT\"\n\
         [[route]]\ntopic = {}\n",
        quoted(socket),
        quoted(&flags.brokers),
        quoted(&flags.topic)
    );
    parse(Parts::command_line(&text), context)
}
