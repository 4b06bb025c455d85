//! What the checkpoints of the spool say at the start: which files were followed, and how
//! far they were read.
//!
//! Looks at no file; where they are now, the first look shows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tracing::{info, warn};

use super::checkpoint::{Known, Place};
use super::files::Files;
use super::follow::Follow;
use super::input::Input;
use crate::spool::Checkpoints;

/// The table of files as the spool remembers it, and the keys that it should forget.
pub(super) fn files(inputs: &mut [Input], checkpoints: &Checkpoints) -> (Files, BTreeSet<u64>) {
    let mut files = Files::default();
    let mut obsolete = BTreeSet::new();
    let mut strangers = BTreeMap::<String, u64>::new();
    for (&key, value) in &checkpoints.entries {
        match Known::decode(value) {
            Ok(Known::File(place)) => match named(inputs, &place.input) {
                Some(input) => add(&mut files, &mut obsolete, key, input, place),
                None => *strangers.entry(place.input).or_default() += 1,
            },
            Ok(Known::Input {
                name,
                since,
                patterns,
            }) => {
                if let Some(input) = named(inputs, &name) {
                    input.key = key;
                    input.since = since;
                    input.known_patterns = patterns;
                }
            }
            Err(error) => warn!(key, %error, "a file may be read again"),
        }
    }
    for (input, files) in strangers {
        info!(
            input,
            files, "the checkpoints of an input that is not configured are kept"
        );
    }
    if let Some(loss) = &checkpoints.loss {
        warn!(%loss, "how far files were read is not known for all of them: lines may come twice");
        for input in inputs {
            let patterns = input.config.patterns.included().iter();
            input.known_patterns = patterns
                .map(|p| super::checkpoint::pattern_id(p.as_str()))
                .collect();
        }
    }
    (files, obsolete)
}

fn named<'i>(inputs: &'i mut [Input], name: &str) -> Option<&'i mut Input> {
    inputs.iter_mut().find(|input| &*input.name == name)
}

fn add(files: &mut Files, obsolete: &mut BTreeSet<u64>, key: u64, input: &Input, place: Place) {
    let source = input.source(Path::new(&place.path), place.id);
    let follow = Follow::remembered(key, input.index, place, source);
    // Two contents of one file: a crash came between the new one and the farewell.
    let other = files.with_id(input.index, follow.id);
    let other = other.and_then(|other| files.get(other));
    match other.map(|other| (other.key, other.contents)) {
        Some((_, contents)) if contents > follow.contents => {
            obsolete.insert(key);
        }
        Some((older, _)) => {
            obsolete.insert(older);
            files.remove(older);
            files.insert(follow);
        }
        None => files.insert(follow),
    }
}
