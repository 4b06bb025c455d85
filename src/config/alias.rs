//! The other spellings of Kafka's names: librdkafka's, and those of PEM stores.
//!
//! The table of keys is their one source; this only looks names up in it.

use super::keys;

/// The official name of a property of `[kafka]`, whichever way it is spelled; one that is
/// not known is its own.
pub(super) fn official(name: &str) -> &str {
    let mut all = keys::kafka_keys();
    let found = all.find(|key| key.name == name || key.also.contains(&name));
    found.map_or(name, |key| key.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_spelling_leads_to_the_official_name() {
        assert_eq!(official("queue.buffering.max.ms"), "linger.ms");
        assert_eq!(official("request.required.acks"), "acks");
        assert_eq!(official("linger.ms"), "linger.ms");
        assert_eq!(official("nobody.knows"), "nobody.knows");
    }
}
