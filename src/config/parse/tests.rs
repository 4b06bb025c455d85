//! Whole configurations: what is accepted, and what each mistake is answered with.

use std::time::Duration;

use crate::config::*;
use crate::route::spec::RouteSpec;
use crate::route::topic::TopicSpec;

const SAMPLE: &str = include_str!("../../../packaging/spoolway.toml");

const DOCUMENTATION: &str = include_str!("../../../docs/configuration.md");

const MINIMAL: &str = "[spool]\ndir = \"/s\"\n[[input]]\nname = \"app\"\ntype = \"unix\"\n\
    path = \"/r/app.sock\"\n[kafka]\nbootstrap.servers = \"k:9092\"\n[[route]]\ntopic = \"t\"\n";

pub(super) fn load(text: &str) -> Result<Loaded, Report> {
    from_text(text, "f.toml", &Context::default())
}

/// A whole configuration with these lines added to `[kafka]`.
pub(super) fn with_kafka(lines: &str) -> Result<Loaded, Report> {
    load(&MINIMAL.replace("[[route]]", &format!("{lines}\n[[route]]")))
}

fn with_spool(lines: &str) -> Result<Loaded, Report> {
    load(&MINIMAL.replace("[[input]]", &format!("{lines}\n[[input]]")))
}

#[track_caller]
pub(super) fn refusal(result: Result<Loaded, Report>) -> String {
    result.expect_err("this has to be refused").to_string()
}

#[track_caller]
pub(super) fn accepted(result: Result<Loaded, Report>) -> Config {
    result.unwrap_or_else(|report| panic!("{report}")).config
}

#[test]
fn the_shipped_sample_is_accepted_and_holds_the_defaults() {
    let sample = accepted(load(SAMPLE));
    let kafka = KafkaConfig::new(vec![HostPort {
        host: "localhost".into(),
        port: 9092,
    }]);
    assert_eq!(sample.kafka, kafka);
    assert_eq!(sample.spool, SpoolConfig::new("/var/lib/spoolway".into()));
    let plain = RouteSpec::new(TopicSpec::new("events", &[]).unwrap());
    assert_eq!(sample.routes, [RouteConfig::new(plain)]);
    assert_eq!(sample.log, LogConfig::default());
}

#[test]
fn every_commented_line_of_the_sample_shows_the_true_default() {
    // What has no default value, or needs another line, is left as it is.
    let optional = [
        "ssl.",
        "sasl.",
        "key = ",
        "[control]",
        "path = ",
        "group",
        "test_topic",
        "transaction",
    ];
    let uncommented: Vec<String> = SAMPLE
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with([' ']) || rest.is_empty() => line.to_owned(),
            Some(rest) if optional.iter().any(|o| rest.starts_with(o)) => line.to_owned(),
            Some(rest) => rest.to_owned(),
            None => line.to_owned(),
        })
        .collect();
    let loaded = load(&uncommented.join("\n")).unwrap_or_else(|report| panic!("{report}"));
    let plain = accepted(load(SAMPLE));
    assert_eq!(loaded.config.kafka, plain.kafka);
    assert_eq!(loaded.config.spool, plain.spool);
    assert_eq!(loaded.config.inputs, plain.inputs);
    assert_eq!(loaded.config.routes, plain.routes);
    assert_eq!(loaded.config.log, plain.log);
    assert_eq!(loaded.config.stop_timeout, plain.stop_timeout);
}

#[test]
fn the_documentation_names_every_key_of_the_sample() {
    let keys = SAMPLE.lines().filter_map(|line| {
        let (key, _) = line.trim_start_matches('#').split_once(" = ")?;
        (!key.contains(' ')).then_some(key)
    });
    let keys: Vec<&str> = keys.collect();
    assert!(keys.len() > 50, "{keys:?}");
    for key in keys {
        assert!(DOCUMENTATION.contains(&format!("\n| `{key}`")), "{key}");
    }
}

proptest::proptest! {
    #[test]
    fn a_damaged_file_is_reported_and_never_panics(
        at in 0..SAMPLE.len(),
        length in 0usize..40,
        insert in ".{0,12}",
    ) {
        let keep = |mut index: usize| {
            while !SAMPLE.is_char_boundary(index) {
                index -= 1;
            }
            index
        };
        let end = keep((at + length).min(SAMPLE.len()));
        let damaged = [&SAMPLE[..keep(at).min(end)], &insert, &SAMPLE[end..]].concat();
        let report = load(&damaged).map_or_else(|report| report, |loaded| loaded.warnings);
        for finding in report.lines() {
            // A mistake within a text is shown below, indented, with a caret.
            let lines: Vec<&str> = finding.split("\n    ").collect();
            proptest::prop_assert!(matches!(lines.len(), 1 | 3), "{finding:?}");
            let is_clean = lines.iter().all(|line| !line.chars().any(char::is_control));
            proptest::prop_assert!(is_clean, "{finding:?}");
        }
    }
}

#[test]
fn every_mistake_is_reported_at_once_with_its_line_and_a_suggestion() {
    let text = "stop_timeout = 5\n[spool]\ndir = \"/s\"\nmax_byts = \"1GiB\"\nmin_free = \"1G\"\n\
        [[input]]\nname = \"a\"\ntype = \"unix\"\npath = \"/p\"\nack = \"durabel\"\nmode = 660\n\
        [[input]]\nname = \"a\"\ntype = \"unix\"\npath = \"/p\"\n\
        [kafka]\nbootstrap.servers = \"k\"\nlinger = 5\nacks = 1\n[[route]]\ntopic = \"a/b\"\n";
    let report = load(text).expect_err("all of it is wrong");
    let lines: Vec<usize> = report.diagnostics.iter().filter_map(|d| d.line).collect();
    assert_eq!(lines, [1, 4, 5, 10, 11, 13, 15, 17, 18, 19, 21], "{report}");
    let text = report.to_string();
    for part in [
        "write a string with its unit, as in \"5s\"",
        "f.toml:4:1: error: [spool] max_byts: is not a known key; did you mean max_bytes?",
        "did you mean 1GiB?",
        "did you mean \"durable\"?",
        "mode = \"0660\"",
        "\"a\" is used by an earlier input",
        "is the path of input \"a\" already",
        "\"k\" has no port",
        "linger: is not a known key; did you mean linger.ms?",
        "acks: a broker may lose what it has acknowledged so",
        "\"a/b\" has characters that a topic cannot have",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn missing_tables_are_named_with_what_to_write() {
    let text = refusal(load(""));
    for part in [
        "[spool]: is missing",
        "[[input]]: is missing",
        "[kafka]: is missing",
        "[[route]]: is missing",
        "pass --spool-dir",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn broken_toml_is_reported_together_with_the_mistakes_on_other_lines() {
    let report = load("[spool]\ndir = \nmax_byts = 1\n[kafka\n").expect_err("broken");
    let lines: Vec<usize> = report.diagnostics.iter().filter_map(|d| d.line).collect();
    assert!(
        lines.contains(&2) && lines.contains(&3) && lines.contains(&4),
        "{report}"
    );
    assert!(!report.to_string().contains("is missing"), "{report}");
}

#[test]
fn arbitrary_text_never_panics() {
    for text in [
        "\u{0}",
        "a.b.c = 1",
        "[[kafka]]",
        "kafka = 1",
        "spool = []",
        "[[spool]]\n[kafka]",
        "input = [1, 2]",
        "route = [[]]",
        "[kafka]\nbootstrap.servers = [1]\nlinger.ms.x = 1",
        "[kafka]\nlinger = { ms = { a = 1 } }",
        "log = \"x\"",
        "control = 3",
    ] {
        assert!(load(text).is_err(), "{text}");
    }
}

#[test]
fn kafka_names_work_dotted_and_quoted_in_both_notations() {
    let kafka = accepted(with_kafka(
        "linger.ms = 20\n\"batch.size\" = \"256KiB\"\nrequest.timeout.ms = \"30s\"\n\
         retry.backoff.ms = \"50\"\nretry.backoff.max.ms = 9000\nacks = \"all\"\n\
         enable.idempotence = true\nsend.buffer.bytes = -1\nreceive.buffer.bytes = 65536\n\
         compression.type = \"zstd\"\ncompression.zstd.level = 7\n\
         max.in.flight.requests.per.connection = 3\ntopic_patience = \"2h\"",
    ))
    .kafka;
    assert_eq!(kafka.linger, Duration::from_millis(20));
    assert_eq!(kafka.batch_size, 256 << 10);
    assert_eq!(kafka.request_timeout, Duration::from_secs(30));
    assert_eq!(kafka.retry_backoff, Duration::from_millis(50));
    assert_eq!(kafka.retry_backoff_max, Duration::from_secs(9));
    assert_eq!(
        (kafka.send_buffer, kafka.receive_buffer),
        (None, Some(65_536))
    );
    assert_eq!(kafka.compression, Compression::Zstd(7));
    assert_eq!(kafka.max_in_flight, 3);
    assert_eq!(kafka.topic_patience, Some(Duration::from_secs(7200)));
}

#[test]
fn an_alias_counts_as_the_name_and_not_beside_it() {
    let kafka = accepted(with_kafka("queue.buffering.max.ms = 7")).kafka;
    assert_eq!(kafka.linger, Duration::from_millis(7));
    let text = refusal(with_kafka("linger.ms = 1\nqueue.buffering.max.ms = 7"));
    assert!(text.contains("means the same as linger.ms"), "{text}");
}

#[test]
fn kafka_properties_that_could_lose_or_reorder_events_are_refused_with_the_reason() {
    for (line, reason) in [
        ("acks = 0", "may lose"),
        ("acks = \"1\"", "may lose"),
        (
            "enable.idempotence = true\nallow_data_loss = true\nacks = 1",
            "needs acks = \"all\"",
        ),
        (
            "transaction.two.phase.commit.enable = true",
            "committed by Spoolway alone",
        ),
        (
            "partitioner.availability.timeout.ms = 1",
            "follows from the key",
        ),
        ("delivery.timeout.ms = 10000", "is less than linger.ms and"),
        ("max.in.flight.requests.per.connection = 6", "use 1 to 5"),
        ("sasl.kerberos.service.name = \"k\"", "Kerberos"),
        ("ssl.provider = \"canary\"", "Java code"),
    ] {
        let text = refusal(with_kafka(line));
        assert!(
            text.contains(reason) && text.contains("f.toml:9"),
            "{line}: {text}"
        );
        assert!(!text.contains("canary"), "{text}");
    }
}

/// "Producer Configs" of the documentation of Apache Kafka 4.
const PRODUCER_CONFIGS: &str = "bootstrap.servers key.serializer value.serializer \
    buffer.memory compression.type retries ssl.key.password ssl.keystore.certificate.chain \
    ssl.keystore.key ssl.keystore.location ssl.keystore.password \
    ssl.truststore.certificates ssl.truststore.location ssl.truststore.password batch.size \
    client.dns.lookup client.id compression.gzip.level compression.lz4.level \
    compression.zstd.level connections.max.idle.ms delivery.timeout.ms linger.ms max.block.ms \
    max.request.size partitioner.class partitioner.ignore.keys receive.buffer.bytes \
    request.timeout.ms sasl.client.callback.handler.class sasl.jaas.config \
    sasl.kerberos.service.name sasl.login.callback.handler.class sasl.login.class \
    sasl.mechanism sasl.oauthbearer.token.endpoint.url security.protocol send.buffer.bytes \
    socket.connection.setup.timeout.max.ms socket.connection.setup.timeout.ms \
    ssl.enabled.protocols ssl.keystore.type ssl.protocol ssl.provider ssl.truststore.type acks \
    enable.idempotence enable.metrics.push interceptor.classes \
    max.in.flight.requests.per.connection metadata.max.age.ms metadata.max.idle.ms \
    metadata.recovery.rebootstrap.trigger.ms metadata.recovery.strategy metric.reporters \
    metrics.num.samples metrics.recording.level metrics.sample.window.ms \
    partitioner.adaptive.partitioning.enable partitioner.availability.timeout.ms \
    reconnect.backoff.max.ms reconnect.backoff.ms retry.backoff.max.ms retry.backoff.ms \
    sasl.kerberos.kinit.cmd sasl.login.refresh.buffer.seconds sasl.oauthbearer.scope.claim.name \
    security.providers ssl.cipher.suites ssl.endpoint.identification.algorithm \
    ssl.engine.factory.class ssl.keymanager.algorithm ssl.secure.random.implementation \
    ssl.trustmanager.algorithm transaction.timeout.ms transaction.two.phase.commit.enable \
    transactional.id config.providers auto.include.jmx.reporter";

#[test]
fn every_producer_property_of_kafka_is_known_and_none_is_refused_without_a_reason() {
    for name in PRODUCER_CONFIGS.split_whitespace() {
        let text = match with_kafka(&format!("\"{name}\" = \"strange value\"")) {
            Ok(_) => continue,
            Err(report) => report.to_string(),
        };
        assert!(!text.contains("is not a known key"), "{text}");
    }
    assert!(refusal(with_kafka("client.idd = \"x\"")).contains("did you mean client.id?"));
}

#[test]
fn sizes_that_contradict_each_other_are_refused_or_warned_about() {
    let text = refusal(with_kafka("batch.size = \"2MiB\""));
    assert!(
        text.contains("f.toml:9:7: error: [kafka] batch.size: 2MiB is more than"),
        "{text}"
    );
    let small = accepted(with_kafka("max.request.size = \"64KiB\""));
    assert_eq!(small.kafka.batch_size, 64 << 10, "the default follows");
    assert!(
        refusal(with_kafka(
            "buffer.memory = \"1MiB\"\nmax.request.size = \"2MiB\""
        ))
        .contains("holds not even one request")
    );
    assert!(refusal(with_spool("intake_memory = \"64KiB\"")).contains("not even one event"));
    assert!(
        refusal(with_spool(
            "max_bytes = \"64MiB\"\ngeneration_bytes = \"128MiB\""
        ))
        .contains("more than the whole spool")
    );
    let loaded = with_spool("max_event_bytes = \"2MiB\"").unwrap();
    assert!(
        loaded
            .warnings
            .to_string()
            .contains("go to the dead letters")
    );
}

#[test]
fn a_small_spool_lowers_the_defaults_that_would_not_fit_it() {
    let spool = accepted(with_spool("max_bytes = \"64MiB\"")).spool;
    assert_eq!(
        (spool.generation_bytes, spool.dead_letter_max_bytes),
        (16 << 20, 16 << 20)
    );
}

#[test]
fn socket_paths_and_modes_are_checked() {
    let long = "x".repeat(SOCKET_PATH_MAX);
    let path = |path: &str| load(&MINIMAL.replace("/r/app.sock", path));
    assert!(path(&long).is_ok());
    assert!(refusal(path(&format!("{long}x"))).contains("too long for a socket path, 107 fit"));
    let text = refusal(load(
        &MINIMAL.replace("dir = \"/s\"", &format!("dir = \"/{long}\"")),
    ));
    assert!(text.contains("[control] path"), "{text}");
    for mode in ["\"0640\"", "\"640\"", "0o640", "\"0o640\""] {
        let config = accepted(load(
            &MINIMAL.replace("type =", &format!("mode = {mode}\ntype =")),
        ));
        let InputKind::Unix(unix) = &config.inputs[0].kind else {
            panic!("a socket was configured");
        };
        assert_eq!(unix.mode, 0o640);
    }
    for mode in ["640", "\"0999\"", "\"7777\"", "\"\"", "true", "\"+640\""] {
        let text = MINIMAL.replace("type =", &format!("mode = {mode}\ntype ="));
        assert!(refusal(load(&text)).contains("not a file mode"), "{mode}");
    }
}

#[test]
fn topics_follow_the_naming_rules_of_kafka() {
    for topic in ["", ".", "..", "a b", "ä", &"x".repeat(250)] {
        let text = MINIMAL.replace("topic = \"t\"", &format!("topic = \"{topic}\""));
        assert!(load(&text).is_err(), "{topic}");
    }
    assert!(load(&MINIMAL.replace("\"t\"", &format!("\"{}\"", "x".repeat(249)))).is_ok());
}

#[test]
fn flags_of_a_first_look_go_through_the_same_checks() {
    let context = Context {
        spool_dir: Some("./spool".into()),
        ..Context::default()
    };
    let mut flags = FirstLook {
        socket: "./app.sock".into(),
        brokers: "localhost:9092".into(),
        topic: "events".into(),
    };
    let config = from_flags(&flags, &context).unwrap().config;
    assert_eq!(config.spool.dir, std::path::Path::new("./spool"));
    assert_eq!(
        config.control.path,
        std::path::Path::new("./spool/control.sock")
    );
    flags.brokers = "local\"host".into();
    flags.topic = "a\nb".into();
    let text = from_flags(&flags, &context).unwrap_err().to_string();
    assert!(
        text.contains("has no port") && text.contains("a topic cannot have"),
        "{text}"
    );
    assert!(
        text.lines()
            .all(|line| line.starts_with("command line: error:")),
        "{text}"
    );
}

#[test]
fn the_spool_dir_flag_wins_over_the_file() {
    let context = Context {
        spool_dir: Some("/other".into()),
        ..Context::default()
    };
    let config = from_text(MINIMAL, "f", &context).unwrap().config;
    assert_eq!(config.spool.dir, std::path::Path::new("/other"));
}

#[test]
fn a_reload_says_what_takes_effect_and_what_needs_a_restart() {
    let old = accepted(load(MINIMAL));
    assert_eq!(changes(&old, &old), []);
    let new = MINIMAL
        .replace("\"t\"", "\"u\"")
        .replace("k:9092\"", "k2:9092\"\nlinger.ms = 9");
    let new = accepted(load(&new));
    let found = changes(&old, &new);
    let text: Vec<String> = found.iter().map(Change::to_string).collect();
    assert_eq!(
        text,
        [
            "[[route]]: takes effect now",
            "[kafka] linger.ms: takes effect now",
            "[kafka] (all but its batch limits): takes effect after a restart",
        ]
    );
    let merged = old.with_live_parts(new.clone());
    assert_eq!(
        (&merged.routes, &merged.kafka.bootstrap),
        (&new.routes, &old.kafka.bootstrap)
    );
    assert!(changes(&merged, &new).iter().all(|change| !change.live));
}

#[test]
fn likely_slips_in_triggers_and_paths_are_warned_about() {
    let warned = |lines: &str| {
        let text = MINIMAL.replace("[[route]]", &format!("[[route]]\n{lines}"));
        load(&text).unwrap().warnings.to_string()
    };
    let text = warned("trigger = 'a = 1 and !(type = track)'");
    assert!(text.contains("write \"track\" for the text"), "{text}");
    let text = warned("key = \"userId|anonymousId\"");
    assert!(text.contains("for alternatives write a list"), "{text}");
    assert!(warned("partition = \"{p}\"").contains("without braces"));
    for right in [
        "trigger = 'type = \"track\"'",
        "trigger = 'userId != $.anonymousId'",
        "trigger = 'a = b.c or type = @input'",
        "key = [\"userId\", \"anonymousId\"]",
        "key = \"{userId|anonymousId}\"",
    ] {
        assert_eq!(warned(right), "", "{right}");
    }
}
