//! `partitioner.class`, under Java's names and librdkafka's, and `partitioner.ignore.keys`:
//! what decides the partition in each route that does not decide it itself.
//!
//! Names: the classes of `org.apache.kafka.clients.producer` (KIP-369, KIP-480, KIP-794), and
//! `partitioner` in librdkafka's CONFIGURATION.md. Chooses no partition.

use toml::Spanned;

use crate::config::Partitioner;
use crate::config::section::Section;
use crate::route::spec::Spread;

const CLASS: &str = "partitioner.class";
const IGNORE_KEYS: &str = "partitioner.ignore.keys";

/// What the Java classes lie in.
const PACKAGE: &str = "org.apache.kafka.clients.producer.";

const BY_KEY: Partitioner = Partitioner {
    spread: Some(Spread::Sticky),
    by_key: true,
};
const STICKY: Partitioner = Partitioner {
    spread: Some(Spread::Sticky),
    by_key: false,
};
const IN_TURN: Partitioner = Partitioner {
    spread: Some(Spread::RoundRobin),
    by_key: false,
};

const KNOWN: [(&str, Partitioner); 5] = [
    ("DefaultPartitioner", BY_KEY),
    ("RoundRobinPartitioner", IN_TURN),
    ("UniformStickyPartitioner", STICKY),
    ("murmur2_random", BY_KEY),
    ("random", STICKY),
];

/// Names of librdkafka without an equal here.
const OTHER_HASHES: [(&str, &str); 5] = [
    ("consistent", CRC32),
    ("consistent_random", CRC32),
    ("fnv1a", FNV1A),
    ("fnv1a_random", FNV1A),
    (
        "murmur2",
        "it puts every event without a key into one partition; use murmur2_random",
    ),
];

const CRC32: &str = "keys are hashed by murmur2, as Java hashes them, and not by CRC32: a key \
    would change its partition; use murmur2_random, or partition in the route";
const FNV1A: &str = "keys are hashed by murmur2, as Java hashes them, and not by FNV-1a: a key \
    would change its partition; use murmur2_random, or partition in the route";

/// Reads both keys.
pub(super) fn read(section: &mut Section<'_, '_>) -> Partitioner {
    let ignore = section.take(IGNORE_KEYS);
    let ignores = ignore
        .as_ref()
        .and_then(|e| section.flag_of(IGNORE_KEYS, e));
    let named = section.take_alias(CLASS, &["partitioner"]);
    let named = named.and_then(|entry| section.text_of(CLASS, &entry));
    match named {
        None => Partitioner {
            spread: None,
            by_key: ignores != Some(true),
        },
        Some(name) => {
            if let Some(entry) = ignore.filter(|_| ignores == Some(true)) {
                let what = format!("has no effect beside {CLASS}, as in Kafka");
                section.caution(IGNORE_KEYS, entry.key, &what, None);
            }
            by_name(section, &name)
        }
    }
}

fn by_name(section: &mut Section<'_, '_>, name: &Spanned<String>) -> Partitioner {
    let text = name.get_ref();
    let bare = text.strip_prefix(PACKAGE).unwrap_or(text);
    let bare = bare.strip_prefix("internals.").unwrap_or(bare);
    let is = |known: &str| known.eq_ignore_ascii_case(bare);
    if let Some((_, partitioner)) = KNOWN.iter().find(|(known, _)| is(known)) {
        return *partitioner;
    }
    let other = OTHER_HASHES.iter().find(|(known, _)| is(known));
    let (what, help) = match other {
        Some((_, reason)) => (format!("{text:?} is refused, because {reason}"), None),
        None => {
            let names = "DefaultPartitioner, RoundRobinPartitioner or UniformStickyPartitioner";
            let what = format!("{text:?} is Java code that cannot be run here");
            (
                what,
                Some(format!("use {names}, or partition in the route")),
            )
        }
    };
    section.fault(CLASS, name.span(), &what, help);
    Partitioner::default()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{accepted, refusal, with_kafka};
    use super::*;

    /// Spread, and whether the key decides, of a route that says nothing itself.
    fn route(lines: &str) -> (Spread, bool) {
        let config = accepted(with_kafka(lines));
        let spec = &config.routes[0].spec;
        (spec.spread, spec.partition_by_key)
    }

    #[test]
    fn each_java_class_with_and_without_its_package_has_its_effect_on_the_routes() {
        for (class, effect) in [
            ("internals.DefaultPartitioner", (Spread::Sticky, true)),
            ("DefaultPartitioner", (Spread::Sticky, true)),
            ("RoundRobinPartitioner", (Spread::RoundRobin, false)),
            ("UniformStickyPartitioner", (Spread::Sticky, false)),
        ] {
            for package in ["", PACKAGE] {
                let line = format!("partitioner.class = \"{package}{class}\"");
                assert_eq!(route(&line), effect, "{line}");
            }
        }
        assert_eq!(route(""), (Spread::Sticky, true));
        let ignored = route("partitioner.ignore.keys = true");
        assert_eq!(ignored, (Spread::Sticky, false));
    }

    #[test]
    fn names_of_librdkafka_have_their_effect_or_a_reason() {
        assert_eq!(
            route("partitioner = \"murmur2_random\""),
            (Spread::Sticky, true)
        );
        assert_eq!(route("partitioner = \"random\""), (Spread::Sticky, false));
        for (name, words) in [
            ("consistent_random", "not by CRC32"),
            ("fnv1a", "not by FNV-1a"),
            ("murmur2", "into one partition"),
            ("com.example.Mine", "Java code"),
        ] {
            let text = refusal(with_kafka(&format!("partitioner = \"{name}\"")));
            assert!(text.contains(words), "{text}");
        }
    }

    #[test]
    fn what_a_route_says_wins() {
        let text = "[spool]\ndir = \"/s\"\n[[input]]\nname = \"a\"\ntype = \"unix\"\n\
            path = \"/a\"\n[kafka]\nbootstrap.servers = \"k:1\"\n\
            partitioner.class = \"RoundRobinPartitioner\"\n\
            [[route]]\ntopic = \"t\"\nspread = \"sticky\"\npartition_by_key = true\n";
        let context = crate::config::Context::default();
        let config = accepted(crate::config::from_text(text, "f.toml", &context));
        let spec = &config.routes[0].spec;
        assert_eq!((spec.spread, spec.partition_by_key), (Spread::Sticky, true));
    }
}
