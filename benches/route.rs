//! What a route costs for each event, beside other ways to look into JSON, in one run.
//!
//! usage: cargo bench --bench route
//! Every figure is the median of 21 rounds on one core. The event has about 500 bytes; each
//! engine answers the same question: type is "track" and properties.total is above 100.

#![allow(clippy::expect_used, reason = "a bench fails by panicking")]

use std::hint::black_box;
use std::time::Instant;

use serde_json::Value;
use spoolway::event::Source;
use spoolway::route::payload::PayloadSpec;
use spoolway::route::spec::{KeySpec, Matching, NoMatch, RouteSpec};
use spoolway::route::template::Pick;
use spoolway::route::topic::TopicSpec;
use spoolway::route::trigger::Trigger;
use spoolway::route::{Event, Host, Router, Scratch, Verdict};

const ROUNDS: usize = 21;
const EVENTS: u32 = 20_000;

const EVENT: &str = r#"{"anonymousId":"507f191e810c19729de860ea","context":{"ip":"12.212.12.49","library":{"name":"analytics.js","version":"2.11.1"},"page":{"path":"/checkout","title":"Order","url":"https://shop.example/checkout"},"userAgent":"Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101"},"event":"Order Completed","messageId":"ajs-f8ca1e4de5024d9430b3928bd8ac6b96","properties":{"currency":"EUR","orderId":"50314b8e9bcf000000000000","total":127.50,"items":[{"sku":"A-1","n":2}]},"type":"track","userId":"AiUGstSDIg"}"#;

fn main() {
    println!("event: {} bytes; microseconds per event", EVENT.len());
    let trigger = r#"type = "track" and properties.total > 100"#;
    row("route that looks at nothing", &mut ours(&[spec(None)]));
    row("route on two fields", &mut ours(&[spec(Some(trigger))]));
    let keyed = RouteSpec {
        key: Some(KeySpec::Fields(
            Pick::fields(["userId", "anonymousId"]).expect("paths"),
        )),
        topic: TopicSpec::new("orders-{properties.currency}", &[]).expect("a topic"),
        ..spec(Some(trigger))
    };
    row("two fields, key, topic template", &mut ours(&[keyed]));
    let mut many: Vec<RouteSpec> = (0..50)
        .map(|n| spec(Some(&format!("event = \"Order {n}\""))))
        .collect();
    many.push(spec(Some(trigger)));
    row("51 routes, the last takes it", &mut ours(&many));
    let envelope = RouteSpec {
        payload: PayloadSpec::airbyte().expect("a payload"),
        ..spec(None)
    };
    row("Airbyte envelope", &mut ours(&[envelope]));
    row("serde_json: check only", &mut || {
        serde_json::from_str::<serde::de::IgnoredAny>(black_box(EVENT)).is_ok()
    });
    row("serde_json::Value, two pointers", &mut || {
        let event: Value = serde_json::from_str(black_box(EVENT)).expect("JSON");
        let total = event.pointer("/properties/total").and_then(Value::as_f64);
        event.pointer("/type").and_then(Value::as_str) == Some("track") && total > Some(100.0)
    });
    jmespath_row();
    json_path_row();
}

fn jmespath_row() {
    let expression = jmespath::compile("type == 'track' && properties.total > `100`").expect("it");
    row("jmespath 0.3, from text", &mut || {
        let event = jmespath::Variable::from_json(black_box(EVENT)).expect("JSON");
        expression.search(event).expect("a result").is_truthy()
    });
}

fn json_path_row() {
    let kind = serde_json_path::JsonPath::parse("$.type").expect("a path");
    let total = serde_json_path::JsonPath::parse("$.properties.total").expect("a path");
    row("serde_json_path 0.7, from text", &mut || {
        let event: Value = serde_json::from_str(black_box(EVENT)).expect("JSON");
        let kind = kind.query(&event).first().and_then(Value::as_str);
        let total = total.query(&event).first().and_then(Value::as_f64);
        kind == Some("track") && total > Some(100.0)
    });
}

fn spec(trigger: Option<&str>) -> RouteSpec {
    RouteSpec {
        trigger: trigger.map(|text| Trigger::parse(text).expect("a trigger")),
        ..RouteSpec::new(TopicSpec::new("events", &[]).expect("a topic"))
    }
}

fn ours(specs: &[RouteSpec]) -> impl FnMut() -> bool + use<> {
    let router = Router::new(
        specs,
        Matching::First,
        &NoMatch::Drop,
        Host {
            name: "edge".into(),
            spool_id: 1,
        },
    );
    let source = Source::of_input("app");
    let mut scratch = Scratch::default();
    move || {
        let event = Event {
            seq: 1,
            source: &source,
            offset: None,
            received: 0,
            bytes: black_box(EVENT.as_bytes()),
        };
        matches!(
            router.matches(event, &mut scratch).next(),
            Some(Verdict::Send(_))
        )
    }
}

fn row(name: &str, answer: &mut dyn FnMut() -> bool) {
    assert!(answer(), "{name} gives the right answer");
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..EVENTS {
                black_box(answer());
            }
            start.elapsed().as_secs_f64() * 1e6 / f64::from(EVENTS)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    let median = rounds.get(ROUNDS / 2).copied().unwrap_or_default();
    println!("{name:<36} {median:>8.3}");
}
