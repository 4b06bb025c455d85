//! Commands that try the routes of a configuration.

use std::path::{Path, PathBuf};

use crate::cli::{assert_exit, spoolway, text, with_stdin, write};

/// A configuration with these tables of routes.
fn routed(dir: &Path, routes: &str) -> PathBuf {
    let text = format!(
        "[spool]\ndir = \"{0}/spool\"\n[[input]]\nname = \"app\"\ntype = \"unix\"\n\
         path = \"{0}/s\"\n[kafka]\nbootstrap.servers = \"k:9092\"\n{routes}",
        text(dir)
    );
    write(dir, "routes.toml", &text)
}

#[test]
fn route_test_shows_what_would_be_sent() {
    let dir = tempfile::tempdir().unwrap();
    let config = routed(
        dir.path(),
        "[[route]]\nname = \"orders\"\ntrigger = 'type = \"order\"'\ntopic = \"o-{shop}\"\n\
         key = [\"id\"]\nheaders = [[\"from\", \"{@input}\"]]\npayload = { n = \"{n}\" }\n\
         [[route]]\ntopic = \"pages\"\ntrigger = '@page'\ntombstone = 'true'\ndefault_partition = 4\n",
    );
    let events =
        b"{\"type\":\"order\",\"shop\":\"x\",\"id\":7,\"n\":1.0}\n{\"type\":\"page\"}\nno\n";
    let args = ["route", "test", "--config", text(&config), "-"];
    let (out, _) = assert_exit(&with_stdin(&args, events), 0);
    let wanted = "event 1: route orders\n  topic: o-x\n  partition: by the key\n  key: 7\n  \
                  header from: app\n  payload: {\"n\":1.0}\n\
                  event 2: route pages\n  topic: pages\n  partition: 4\n  key: null\n  \
                  payload: null\n\
                  event 3: dead letter: it is not JSON (no JSON value at byte 0), and every \
                  route looks into it\n";
    assert_eq!(out, wanted);
    // By the Java client's hash, as in tests/fixtures/murmur2.txt.
    let args = [&args[..], &["--partitions", "6"]].concat();
    let (out, _) = assert_exit(&with_stdin(&args, events), 0);
    let partition = spoolway::route::partition::keyed_partition(b"7", 6);
    assert!(
        out.contains(&format!("partition: {partition}, by the key\n")),
        "{out}"
    );
}

#[test]
fn check_runs_the_tests_of_routes() {
    let dir = tempfile::tempdir().unwrap();
    let with = |key: &str| {
        let config = routed(
            dir.path(),
            &format!(
                "[[route]]\ntopic = \"t\"\npreset = \"rudderstack\"\n[[route.test]]\n\
                 event = '{{\"anonymousId\":\"a\"}}'\nkey = \"{key}\"\ntopic = \"t\"\n"
            ),
        );
        spoolway(&["check", text(&config)])
    };
    assert_exit(&with("a"), 0);
    let (_, err) = assert_exit(&with("b"), 78);
    assert!(
        err.contains("test 1 of route t: the key is a, not b"),
        "{err}"
    );
}

#[test]
fn the_tests_of_routes_compare_all_headers_in_order_and_the_timestamp() {
    let dir = tempfile::tempdir().unwrap();
    let with = |headers: &str, timestamp: &str| {
        let config = routed(
            dir.path(),
            &format!(
                "[[route]]\ntopic = \"t\"\nheaders = [[\"h\", \"{{k}}\"], [\"n\"]]\n\
                 timestamp = \"at\"\n[[route.test]]\nevent = '{{\"k\":1,\"at\":1500}}'\n\
                 headers = {headers}\ntimestamp = \"{timestamp}\"\n"
            ),
        );
        spoolway(&["check", text(&config)])
    };
    let (right, time) = (r#"[["h", "1"], ["n"]]"#, "1970-01-01T00:00:01.500Z");
    assert_exit(&with(right, time), 0);
    let (_, err) = assert_exit(&with(r#"[["n"], ["h", "1"]]"#, time), 78);
    let wanted = "the list of headers is [h: 1, n: null], not [n: null, h: 1]";
    assert!(err.contains(wanted), "{err}");
    let (_, err) = assert_exit(&with(right, "sent"), 78);
    let wanted = "the timestamp is 1970-01-01T00:00:01.500Z, not sent";
    assert!(err.contains(wanted), "{err}");
}

#[test]
fn check_shows_what_a_preset_expands_to() {
    let dir = tempfile::tempdir().unwrap();
    let show = |preset: &str| {
        let table = format!("[[route]]\ntopic = \"t\"\npreset = \"{preset}\"\n");
        let config = routed(dir.path(), &table);
        assert_exit(&spoolway(&["check", "--show", text(&config)]), 0).0
    };
    for (preset, lines) in [
        (
            "segment",
            &[
                "trigger = \"@segment\"",
                "integrations = \"Kafka\"",
                "\"round-robin\"",
            ][..],
        ),
        ("rudderstack", &["key = [\"userId\", \"anonymousId\"]"][..]),
        ("signalsmith", &["key = [\"id\"]"][..]),
        (
            "airbyte",
            &[
                "key = [\"@uuid\"]",
                "\"_airbyte_data\" = \"{record.data|$}\"",
            ][..],
        ),
    ] {
        let shown = show(preset);
        for line in lines {
            assert!(shown.contains(line), "{preset} {line}:\n{shown}");
        }
        // What is shown is a configuration, and the same one.
        let routes = &shown[shown.find("[routing]").unwrap()..];
        let again = spoolway(&["check", "--show", text(&routed(dir.path(), routes))]);
        assert!(assert_exit(&again, 0).0.ends_with(routes));
    }
}

#[test]
fn a_broken_trigger_is_shown_with_a_caret() {
    let dir = tempfile::tempdir().unwrap();
    let config = routed(
        dir.path(),
        "[[route]]\ntopic = \"t\"\ntrigger = 'type = and'\n",
    );
    let (_, err) = assert_exit(&spoolway(&["check", text(&config)]), 78);
    let wanted = "11:11: error: [[route]] trigger: expected a value\n    type = and\n           ^";
    assert!(err.contains(wanted), "{err}");
    let config = routed(dir.path(), "[[route]]\ntopic = \"{type}\"\n");
    let (_, err) = assert_exit(&spoolway(&["check", text(&config)]), 78);
    assert!(err.contains("lets an event pick any topic"), "{err}");
}
