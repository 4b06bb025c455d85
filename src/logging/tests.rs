//! What a line looks like, and which lines are held back.

use std::sync::Arc;

use super::*;

/// A style that is read easily in assertions.
const TEXT: Style = Style {
    format: LogFormat::Text,
    journal: true,
    colour: false,
};

/// Collects lines as [`Lines`] would write them.
#[derive(Clone, Default)]
struct Caught(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber> Layer<S> for Caught {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut said = Said::default();
        event.record(&mut said);
        let level = *event.metadata().level();
        let line = TEXT.line(SystemTime::UNIX_EPOCH, level, "t", &said, 0);
        self.0.lock().unwrap().push(line);
    }
}

fn caught(log: impl FnOnce()) -> Vec<String> {
    let lines = Caught::default();
    tracing::subscriber::with_default(Registry::default().with(lines.clone()), log);
    let lines = lines.0.lock().unwrap();
    lines.clone()
}

#[test]
fn fields_follow_the_message_and_the_journal_gets_its_priority() {
    let lines = caught(|| {
        tracing::warn!(
            broker = "k:9092",
            tries = 3,
            why = "no route",
            "cannot connect"
        );
        tracing::error!("x");
    });
    assert_eq!(
        lines,
        [
            "<4> WARN t: cannot connect broker=k:9092 tries=3 why=\"no route\"\n",
            "<3>ERROR t: x\n"
        ]
    );
}

#[test]
fn control_characters_of_a_peer_cannot_start_a_line_or_steer_a_terminal() {
    let lines = caught(|| tracing::info!(peer = "a\nb\u{1b}[31m\u{202e}\"q", "x\r\u{7}y"));
    assert_eq!(
        lines,
        ["<6> INFO t: x\\r\\u{7}y peer=\"a\\nb\\u{1b}[31m\\u{202e}\\\"q\"\n"]
    );
}

#[test]
fn an_error_field_is_shown_with_its_causes() {
    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] io::Error);
    let error = Outer(io::Error::other("inner"));
    let lines = caught(|| {
        tracing::info!(
            error = &error as &(dyn std::error::Error + 'static),
            "failed"
        );
    });
    assert_eq!(lines, ["<6> INFO t: failed error=\"outer: inner\"\n"]);
}

#[test]
fn json_is_one_object_a_line() {
    let said = Said {
        message: "a\nb".into(),
        fields: [("n".to_owned(), Value::from(1))].into_iter().collect(),
        log_target: None,
    };
    let style = Style {
        format: LogFormat::Json,
        journal: false,
        colour: true,
    };
    let line = style.line(SystemTime::UNIX_EPOCH, Level::INFO, "t", &said, 4);
    assert_eq!(line.matches('\n').count(), 1);
    let value: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(value["message"], "a\nb");
    assert_eq!(
        (&value["fields"]["n"], &value["suppressed"]),
        (&1.into(), &4.into())
    );
    assert_eq!(value["time"], "1970-01-01T00:00:00.000Z");
}

/// Two callsites to tell apart.
fn callsites() -> (Identifier, Identifier) {
    struct Ids(Arc<Mutex<Vec<Identifier>>>);
    impl<S: Subscriber> Layer<S> for Ids {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            self.0.lock().unwrap().push(event.metadata().callsite());
        }
    }
    let ids = Arc::new(Mutex::new(Vec::new()));
    tracing::subscriber::with_default(Registry::default().with(Ids(ids.clone())), || {
        tracing::info!("one");
        tracing::info!("two");
    });
    let ids = ids.lock().unwrap();
    (ids[0].clone(), ids[1].clone())
}

#[test]
fn a_repeated_line_is_written_once_in_the_interval_and_then_with_the_count() {
    let (one, two) = callsites();
    let start = Instant::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    let mut repeats = Repeats::new(Duration::from_secs(10));
    assert_eq!(repeats.admit(one.clone(), 1, after(0)), Some(0));
    assert_eq!(repeats.admit(one.clone(), 1, after(1)), None);
    assert_eq!(repeats.admit(one.clone(), 1, after(9)), None);
    assert_eq!(
        repeats.admit(two, 1, after(9)),
        Some(0),
        "another callsite is another line"
    );
    assert_eq!(
        repeats.admit(one.clone(), 2, after(9)),
        Some(0),
        "another text is another line"
    );
    assert_eq!(repeats.admit(one.clone(), 1, after(10)), Some(2));
    assert_eq!(repeats.admit(one, 1, after(30)), Some(0));
}

#[test]
fn one_callsite_with_ever_new_texts_is_held_back_too() {
    let (one, _) = callsites();
    let mut repeats = Repeats::new(Duration::from_secs(10));
    let now = Instant::now();
    let admitted = (0..1000).filter(|&text| repeats.admit(one.clone(), text, now).is_some());
    assert_eq!(admitted.count(), LINES_PER_CALLSITE);
}

#[test]
fn a_wrong_filter_is_refused() {
    assert!(parse_filter("info,spoolway::kafka=debug").is_ok());
    assert!(matches!(
        parse_filter("spoolway=loud"),
        Err(LogError::Filter { .. })
    ));
}
