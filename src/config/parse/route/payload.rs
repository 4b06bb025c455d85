//! `payload`: a word, or a table that is the JSON to be sent, with holes in its strings.

use toml::de::DeValue;

use super::preset::Preset;
use crate::config::section::{Entry, Section};
use crate::route::payload::{MAPPING_DEPTH_MAX, Mapping, PayloadSpec};

const KEY: &str = "payload";

/// The payload of a route.
pub(super) fn read(section: &mut Section<'_, '_>, preset: &Preset) -> PayloadSpec {
    let airbyte = || PayloadSpec::airbyte().unwrap_or(PayloadSpec::Event);
    let Some(entry) = section.take(KEY) else {
        return match preset.airbyte_payload {
            true => airbyte(),
            false => PayloadSpec::Event,
        };
    };
    if let DeValue::Table(_) = entry.value.get_ref() {
        let mapping = mapping(section, &entry, 0);
        return mapping.map_or(PayloadSpec::Event, PayloadSpec::Mapping);
    }
    let words = [("event", 0), ("airbyte", 1), ("tombstone", 2)];
    let word = section.text_of(KEY, &entry);
    let word = word.and_then(|word| section.choice_of(KEY, &word, &words));
    match word {
        Some(1) => airbyte(),
        Some(2) => PayloadSpec::Tombstone,
        _ => PayloadSpec::Event,
    }
}

fn mapping(section: &mut Section<'_, '_>, entry: &Entry<'_>, depth: usize) -> Option<Mapping> {
    if depth > MAPPING_DEPTH_MAX {
        let what = format!("is nested deeper than {MAPPING_DEPTH_MAX}");
        section.fault(KEY, entry.value.span(), &what, None);
        return None;
    }
    Some(match entry.value.get_ref() {
        DeValue::String(_) => {
            let text = section.text_of(KEY, entry)?;
            Mapping::Text(super::template(section, KEY, &text)?)
        }
        DeValue::Integer(number) if number.radix() == 10 => {
            Mapping::Fixed(number.as_str().trim_start_matches('+').to_owned())
        }
        DeValue::Float(number) if json_number(number.as_str()) => {
            Mapping::Fixed(number.as_str().to_owned())
        }
        DeValue::Boolean(flag) => Mapping::Fixed(flag.to_string()),
        DeValue::Array(array) => {
            let items = array.iter().map(|value| {
                let key = value.span();
                mapping(section, &Entry { key, value }, depth + 1)
            });
            Mapping::List(items.collect::<Option<_>>()?)
        }
        DeValue::Table(table) => {
            // A table has its keys sorted; the JSON has them as they were written.
            let mut entries: Vec<_> = table.iter().collect();
            entries.sort_by_key(|(name, _)| name.span().start);
            let members = entries.into_iter().map(|(name, value)| {
                let key = name.span();
                let member = mapping(section, &Entry { key, value }, depth + 1)?;
                Some((name.get_ref().to_string(), member))
            });
            Mapping::Object(members.collect::<Option<_>>()?)
        }
        _ => {
            section.wrong_type(KEY, entry, "what JSON has: strings, numbers, flags, tables");
            return None;
        }
    })
}

/// TOML has numbers that JSON lacks, such as `inf` and `+1.5`.
fn json_number(text: &str) -> bool {
    serde_json::from_str::<serde_json::Number>(text).is_ok()
}
