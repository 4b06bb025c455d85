//! Headers as they are written: `[["name", "value"], ["name"]]`, so that their order is kept.

use toml::de::DeValue;

use super::{Placed, items, texts_in};
use crate::config::section::{Entry, Section};

const SHAPE: &str = "a list of [\"name\", \"value\"] pairs, so that their order is kept";

/// A name, and its value unless that is null.
type Pair = (String, Option<Placed>);

/// The pairs of `key` in order; `None` when the key is not there. Broken ones are reported
/// and left out.
pub(super) fn read(section: &mut Section<'_, '_>, key: &'static str) -> Option<Vec<Pair>> {
    let entry = section.take(key)?;
    let Some(items) = items(section, key, &entry) else {
        section.wrong_type(key, &entry, SHAPE);
        return Some(Vec::new());
    };
    let pairs = items.filter_map(|item| pair(section, key, &item));
    Some(pairs.collect())
}

fn pair(section: &mut Section<'_, '_>, key: &'static str, item: &Entry<'_>) -> Option<Pair> {
    if !matches!(item.value.get_ref(), DeValue::Array(_)) {
        section.wrong_type(key, item, SHAPE);
        return None;
    }
    let mut parts = texts_in(section, key, item)?.into_iter();
    match (parts.next(), parts.next(), parts.next()) {
        (Some(name), value, None) => Some((name.into_inner(), value)),
        _ => {
            section.wrong_type(key, item, SHAPE);
            None
        }
    }
}
