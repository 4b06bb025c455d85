//! `[[route.test]]`: what has to become of a sample event. Read here, run by `check`.

use toml::Spanned;
use toml::de::DeValue;

use crate::config::RouteTest;
use crate::config::section::{Entry, Section};

/// Most tests of one route.
const TESTS_MAX: usize = 256;

/// The tests of a route.
pub(super) fn read_all(section: &mut Section<'_, '_>) -> Vec<RouteTest> {
    let Some(entry) = section.take("test") else {
        return Vec::new();
    };
    let DeValue::Array(array) = entry.value.get_ref() else {
        section.wrong_type("test", &entry, "tables, each written [[route.test]]");
        return Vec::new();
    };
    if array.len() > TESTS_MAX {
        let what = format!("has more than {TESTS_MAX} entries");
        section.fault("test", entry.key.clone(), &what, None);
    }
    let entries = array.iter().take(TESTS_MAX).map(|value| Entry {
        key: value.span(),
        value,
    });
    entries
        .collect::<Vec<_>>()
        .iter()
        .filter_map(|entry| read(section, entry))
        .collect()
}

fn read(route: &mut Section<'_, '_>, entry: &Entry<'_>) -> Option<RouteTest> {
    let mut section = crate::config::parse::table("[[route.test]]", entry, route.sink)?;
    let mut text = |key| section.text(key).map(Spanned::into_inner);
    let (event, topic, key, payload) = (text("event"), text("topic"), text("key"), text("payload"));
    if event.is_none() {
        section.absent(
            "event",
            "give the event, e.g. event = '{\"type\":\"track\"}'",
        );
    }
    let matches = section.flag("matches", true);
    let partition = section
        .take("partition")
        .and_then(|entry| super::partition_number(&mut section, "partition", &entry));
    let timestamp = section.text("timestamp").map(Spanned::into_inner);
    let headers = super::pairs::read(&mut section, "headers");
    let headers = headers.map(|pairs| {
        let text = |(name, value): (String, Option<Spanned<String>>)| {
            (name, value.map(Spanned::into_inner))
        };
        pairs.into_iter().map(text).collect()
    });
    section.finish();
    Some(RouteTest {
        event: event?,
        matches,
        topic,
        partition,
        key,
        headers,
        timestamp,
        payload,
    })
}
