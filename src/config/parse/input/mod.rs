//! `[[input]]`: what is read, and what its writers are told.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::Context;
use crate::config::report::Sink;
use crate::config::section::{Entry, Section};
use crate::config::{InputConfig, InputKind};

pub(super) use unix::socket_path_fault;

mod file;
mod probe;
mod unix;

/// Most inputs of one daemon.
const INPUTS_MAX: usize = 64;

/// Longest name of an input; it is stored with every block.
const NAME_BYTES_MAX: usize = 64;

/// What is known besides the tables of the inputs.
#[derive(Clone, Copy)]
pub(super) struct Around<'c> {
    pub(super) context: &'c Context,
    /// `spool.max_event_bytes`, which no line may exceed.
    pub(super) max_event_bytes: u32,
}

/// Reads all of them; a second one with the name, the path or a pattern of an earlier one is
/// refused.
pub(super) fn read_all(
    entry: Option<&Entry<'_>>,
    around: Around<'_>,
    sink: &mut Sink,
) -> Vec<InputConfig> {
    let mut seen = Seen::default();
    let entries = super::tables("[[input]]", entry, INPUTS_MAX, sink);
    entries
        .iter()
        .filter_map(|entry| read(entry, around, &mut seen, sink))
        .collect()
}

/// What the inputs so far have taken.
#[derive(Default)]
struct Seen {
    names: BTreeMap<String, ()>,
    paths: BTreeMap<PathBuf, String>,
    /// Patterns of files, and the input that has each.
    patterns: BTreeMap<String, String>,
}

#[derive(Clone, Copy)]
enum Type {
    File,
    Unix,
}

fn read(
    entry: &Entry<'_>,
    around: Around<'_>,
    seen: &mut Seen,
    sink: &mut Sink,
) -> Option<InputConfig> {
    let mut section = super::table("[[input]]", entry, sink)?;
    let name = read_name(&mut section, seen);
    let known = name.as_deref().unwrap_or("?");
    let kind = match read_type(&mut section) {
        Type::File => {
            let file = file::read(&mut section, known, around, seen);
            file.map(|file| InputKind::File(Box::new(file)))
        }
        Type::Unix => unix::read(&mut section, known, seen).map(InputKind::Unix),
    };
    section.finish();
    Some(InputConfig {
        name: name?,
        kind: kind?,
    })
}

/// The type; where it is missing or wrong, that which the other keys speak for, so that
/// their mistakes are found as well.
fn read_type(section: &mut Section<'_, '_>) -> Type {
    let found = match section.text("type") {
        None => {
            section.absent("type", "set type = \"unix\" or type = \"file\"");
            None
        }
        Some(kind) => {
            let types = [("unix", Type::Unix), ("file", Type::File)];
            section.choice_of("type", &kind, &types)
        }
    };
    found.unwrap_or(if section.has("include") {
        Type::File
    } else {
        Type::Unix
    })
}

fn read_name(section: &mut Section<'_, '_>, seen: &mut Seen) -> Option<Arc<str>> {
    let Some(name) = section.text("name") else {
        section.absent(
            "name",
            "give it a short name of its own, e.g. name = \"app\"",
        );
        return None;
    };
    let span = name.span();
    let name = name.into_inner();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(plain) {
        let help = format!("use 1 to {NAME_BYTES_MAX} of a-z, A-Z, 0-9, dot, _ and -");
        section.fault("name", span, &format!("{name:?} is not a name"), Some(help));
        return None;
    }
    if seen.names.insert(name.clone(), ()).is_some() {
        let help = Some("give each input its own name".to_owned());
        section.fault(
            "name",
            span,
            &format!("{name:?} is used by an earlier input"),
            help,
        );
    }
    Some(name.into())
}

#[cfg(test)]
mod tests;
