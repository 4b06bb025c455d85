//! The routes as a whole: one event in, records out.

use proptest::prelude::*;

use super::payload::{Mapping, PayloadSpec};
use super::spec::{HeaderSpec, KeySpec, Matching, NoMatch, PartitionSpec, RouteSpec, Spread};
use super::template::{Pick, Template};
use super::topic::TopicSpec;
use super::trigger::Trigger;
use super::*;

const EVENT: &str = r#"{"type":"track","userId":null,"anonymousId":"a-1","shard":2,
    "properties":{"total":120.50,"id":12345678901234567890,"store":"north"}}"#;

fn topic(source: &str) -> TopicSpec {
    TopicSpec::new(source, &[]).unwrap()
}

fn to(source: &str) -> RouteSpec {
    RouteSpec::new(topic(source))
}

fn template(source: &str) -> Template {
    Template::parse(source).unwrap()
}

fn fields(names: &[&str]) -> Pick {
    Pick::fields(names.iter().copied()).unwrap()
}

fn when(trigger: &str, route: RouteSpec) -> RouteSpec {
    RouteSpec {
        trigger: Some(Trigger::parse(trigger).unwrap()),
        ..route
    }
}

fn host() -> Host {
    Host {
        name: "edge-7".into(),
        spool_id: 0xab,
    }
}

fn router(specs: &[RouteSpec]) -> Router {
    Router::new(specs, Matching::First, &NoMatch::DeadLetter, host())
}

/// A verdict as text, to compare with.
fn shown(router: &Router, verdict: &Verdict<'_>) -> String {
    let text = |bytes: Option<&[u8]>| {
        bytes.map_or("-".to_owned(), |b| String::from_utf8_lossy(b).into_owned())
    };
    match verdict {
        Verdict::Drop => "drop".to_owned(),
        Verdict::DeadLetter { route, reason } => {
            let route = route.and_then(|route| router.route_name(route));
            format!("dead {}: {reason}", route.unwrap_or("-"))
        }
        Verdict::Send(routed) => {
            let topic = match routed.topic {
                RoutedTopic::Listed(index) => router.topics()[index].to_string(),
                RoutedTopic::Named(name) => name.to_owned(),
            };
            let headers: String = routed
                .headers()
                .map(|(name, value)| format!(" {name}={}", text(value)))
                .collect();
            let value = match routed.value {
                Some(value) if value == EVENT.as_bytes() => "same".to_owned(),
                value => text(value),
            };
            format!(
                "{topic}/{:?} {} {value}{headers}",
                routed.placement,
                text(routed.key)
            )
        }
    }
}

fn route(router: &Router, event: &str) -> Vec<String> {
    let source = testing::source();
    let event = Event {
        seq: 7,
        source: &source,
        offset: None,
        received: 1_700_000_000_123,
        bytes: event.as_bytes(),
    };
    let mut scratch = Scratch::default();
    let mut matches = router.matches(event, &mut scratch);
    let mut verdicts = Vec::new();
    while let Some(verdict) = matches.next() {
        verdicts.push(shown(router, &verdict));
    }
    verdicts
}

fn one(spec: RouteSpec, event: &str) -> String {
    let mut verdicts = route(&router(&[spec]), event);
    assert_eq!(verdicts.len(), 1);
    verdicts.remove(0)
}

#[test]
fn a_plain_route_sends_the_event_as_it_is_also_when_it_is_not_json() {
    assert_eq!(one(to("t"), EVENT), "t/Any(Sticky) - same");
    assert_eq!(one(to("t"), "plain text"), "t/Any(Sticky) - plain text");
}

#[test]
fn the_first_route_that_takes_the_event_gets_it() {
    let specs = [
        when("@page", to("pages")),
        when("@track", to("tracks")),
        to("rest"),
    ];
    assert_eq!(route(&router(&specs), EVENT), ["tracks/Any(Sticky) - same"]);
    assert_eq!(route(&router(&specs), "{}"), ["rest/Any(Sticky) - {}"]);
    assert_eq!(route(&router(&specs), "no"), ["rest/Any(Sticky) - no"]);
}

#[test]
fn all_routes_that_take_the_event_get_it_when_asked_for() {
    let specs = [
        to("raw"),
        when("@page", to("pages")),
        when("@track", to("tracks")),
    ];
    let router = Router::new(&specs, Matching::All, &NoMatch::Drop, host());
    let both = ["raw/Any(Sticky) - same", "tracks/Any(Sticky) - same"];
    assert_eq!(route(&router, EVENT), both);
    assert_eq!(route(&router, "no"), ["raw/Any(Sticky) - no"]);
}

#[test]
fn a_disabled_route_takes_nothing() {
    let off = RouteSpec {
        enabled: false,
        ..to("off")
    };
    assert_eq!(
        route(&router(&[off, to("on")]), EVENT),
        ["on/Any(Sticky) - same"]
    );
}

#[test]
fn an_event_that_no_route_takes_meets_the_default() {
    let specs = [when("@page", to("pages"))];
    let with = |no_match| {
        route(
            &Router::new(&specs, Matching::First, &no_match, host()),
            EVENT,
        )
    };
    assert_eq!(with(NoMatch::DeadLetter), ["dead -: no route takes it"]);
    assert_eq!(with(NoMatch::Drop), ["drop"]);
    assert_eq!(
        with(NoMatch::Topic("rest".into())),
        ["rest/Any(Sticky) - same"]
    );
}

#[test]
fn an_event_that_is_not_json_is_dead_with_the_reason_when_every_route_looks_inside() {
    let verdict = one(when("@page", to("pages")), "no");
    assert!(
        verdict.starts_with("dead -: it is not JSON (no JSON value at byte 0)"),
        "{verdict}"
    );
    let keyed = RouteSpec {
        key: Some(KeySpec::Fields(fields(&["id"]))),
        ..to("t")
    };
    assert!(one(keyed, "{\"id\":").starts_with("dead t: it is not JSON (a value is missing"));
}

#[test]
fn a_topic_is_made_from_the_event_and_confined() {
    assert_eq!(
        one(to("o-{properties.store}"), EVENT),
        "o-north/Any(Sticky) - same"
    );
    assert_eq!(
        one(to("o-{no}"), EVENT),
        "dead o-{no}: no topic: the event has no no"
    );
    let bad = one(to("o-{type}"), r#"{"type":"a b"}"#);
    assert!(
        bad.starts_with("dead o-{type}: the topic \"o-a b\" has characters"),
        "{bad}"
    );
    assert!(one(to("_{type}"), r#"{"type":"_consumer_offsets"}"#).contains("Kafka's own"));
    assert!(TopicSpec::new("{type}", &[]).is_err());
    assert!(TopicSpec::new("a b", &[]).is_err() && TopicSpec::new("a b{type}", &[]).is_err());
    let allowed = TopicSpec::new("{type}", &["track".to_owned(), "page-*".to_owned()]).unwrap();
    assert_eq!(
        one(RouteSpec::new(allowed.clone()), EVENT),
        "track/Any(Sticky) - same"
    );
    let refused = one(RouteSpec::new(allowed), r#"{"type":"secret"}"#);
    assert!(refused.contains("not among allowed_topics"), "{refused}");
}

#[test]
fn a_key_has_fallbacks_and_may_be_a_text_or_a_uuid() {
    let keyed = |key| RouteSpec {
        key: Some(key),
        ..to("t")
    };
    let by = |names: &[&str]| one(keyed(KeySpec::Fields(fields(names))), EVENT);
    assert_eq!(by(&["userId", "anonymousId"]), "t/Keyed a-1 same");
    assert_eq!(by(&["properties.id"]), "t/Keyed 12345678901234567890 same");
    assert_eq!(by(&["userId"]), "t/Any(Sticky) - same");
    assert_eq!(
        by(&["@uuid"]),
        "t/Keyed 00000000-0000-80ab-8000-000000000007 same"
    );
    let text = one(keyed(KeySpec::Template(template("{type}:{shard}"))), EVENT);
    assert_eq!(text, "t/Keyed track:2 same");
}

#[test]
fn a_partition_comes_before_the_default_and_that_before_the_key() {
    let spec = RouteSpec {
        key: Some(KeySpec::Fields(fields(&["type"]))),
        partition: Some(PartitionSpec::Fields(fields(&["shard"]))),
        default_partition: Some(5),
        spread: Spread::RoundRobin,
        ..to("t")
    };
    assert_eq!(one(spec.clone(), EVENT), "t/Fixed(2) track same");
    assert_eq!(
        one(spec.clone(), r#"{"shard":"3"}"#),
        "t/Fixed(3) - {\"shard\":\"3\"}"
    );
    assert_eq!(one(spec.clone(), "{}"), "t/Fixed(5) - {}");
    assert_eq!(
        one(spec.clone(), r#"{"shard":-1}"#),
        "dead t: -1 is not a partition"
    );
    let keyed = RouteSpec {
        default_partition: None,
        ..spec
    };
    assert_eq!(
        one(keyed.clone(), r#"{"type":"x"}"#),
        "t/Keyed x {\"type\":\"x\"}"
    );
    assert_eq!(one(keyed.clone(), "{}"), "t/Any(RoundRobin) - {}");
    let sent_along = RouteSpec {
        partition_by_key: false,
        ..keyed
    };
    assert_eq!(
        one(sent_along, r#"{"type":"x"}"#),
        "t/Any(RoundRobin) x {\"type\":\"x\"}"
    );
}

#[test]
fn headers_keep_their_order_and_may_share_a_name_or_be_null() {
    let header = |name: &str, value: Option<&str>| HeaderSpec {
        name: name.to_owned(),
        value: value.map(template),
    };
    let spec = RouteSpec {
        headers: vec![
            header("b", Some("fixed")),
            header("a", Some("{type}")),
            header("b", Some("{@host}/{@input}/{@uid}")),
            header("none", None),
            header("gone", Some("x{missing}")),
            header("e", Some("")),
            header("all", Some("{properties}")),
        ],
        ..to("t")
    };
    let event = r#"{"type":"track","properties":{"a": [1]}}"#;
    let wanted = "b=fixed a=track b=edge-7/app/1000 none=- gone=- e= all={\"a\": [1]}";
    assert_eq!(
        one(spec, event),
        format!("t/Any(Sticky) - {event} {wanted}")
    );
}

#[test]
fn a_mapping_picks_renames_nests_and_fixes_and_keeps_every_digit() {
    let text = |source: &str| Mapping::Text(template(source));
    let member = |name: &str, value: Mapping| (name.to_owned(), value);
    let spec = RouteSpec {
        payload: PayloadSpec::Mapping(Mapping::Object(vec![
            member("total", text("{properties.total}")),
            member("gone", text("{properties.gone}")),
            member(
                "order",
                Mapping::Object(vec![
                    member("id", text("{properties.id}")),
                    member("label", text("{type} in {properties.store}")),
                ]),
            ),
            member("v", Mapping::Fixed("2".to_owned())),
            member(
                "list",
                Mapping::List(vec![text("{shard}"), text("{no}"), text("a\"b")]),
            ),
        ])),
        ..to("t")
    };
    let wanted = "{\"total\":120.50,\"order\":{\"id\":12345678901234567890,\
                  \"label\":\"track in north\"},\"v\":2,\"list\":[2,null,\"a\\\"b\"]}";
    assert_eq!(one(spec, EVENT), format!("t/Any(Sticky) - {wanted}"));
}

#[test]
fn the_airbyte_envelope_holds_the_record_or_else_the_event() {
    let spec = RouteSpec {
        payload: PayloadSpec::airbyte().unwrap(),
        ..to("t")
    };
    let id = "00000000-0000-80ab-8000-000000000007";
    let plain = one(spec.clone(), r#"{"a": 1.0}"#);
    let wanted = format!(
        "t/Any(Sticky) - {{\"_airbyte_ab_id\":\"{id}\",\"_airbyte_emitted_at\":1700000000123,\
         \"_airbyte_data\":{{\"a\": 1.0}}}}"
    );
    assert_eq!(plain, wanted);
    let message = r#"{"type":"RECORD","record":{"stream":"s","emitted_at":5,"data":{"x":1}}}"#;
    let tail = r#""_airbyte_emitted_at":5,"_airbyte_data":{"x":1}}"#;
    assert!(one(spec, message).ends_with(tail));
}

#[test]
fn a_tombstone_has_a_key_and_no_value() {
    let spec = RouteSpec {
        key: Some(KeySpec::Fields(fields(&["type"]))),
        tombstone: Some(Trigger::parse("deleted = true").unwrap()),
        ..to("t")
    };
    assert_eq!(
        one(spec.clone(), r#"{"type":"x","deleted":true}"#),
        "t/Keyed x -"
    );
    assert_eq!(one(spec, EVENT), "t/Keyed track same");
}

#[test]
fn segments_integrations_object_is_honoured() {
    let spec = RouteSpec {
        integrations: Some("Kafka".to_owned()),
        ..to("t")
    };
    let sent = |object: &str| {
        one(spec.clone(), &format!("{{\"integrations\":{object}}}")).starts_with("t/")
    };
    for yes in [
        "{}",
        "null",
        r#"{"All":true}"#,
        r#"{"All":false,"Kafka":true}"#,
        r#"{"All":false,"Kafka":{"topic":"x"}}"#,
        r#"{"kafka":false}"#,
    ] {
        assert!(sent(yes), "{yes}");
    }
    for no in [
        r#"{"Kafka":false}"#,
        r#"{"All":false}"#,
        r#"{"All":true,"Kafka":false}"#,
        r#"{"All":false,"Other":true}"#,
    ] {
        assert!(!sent(no), "{no}");
    }
}

proptest! {
    #[test]
    fn a_writer_never_gets_out_of_its_topics(store in any::<String>()) {
        let event = serde_json::json!({ "properties": { "store": store } }).to_string();
        let verdict = one(to("orders-{properties.store}"), &event);
        let fine = verdict.starts_with("dead ") || verdict.starts_with("orders-");
        prop_assert!(fine, "{}", verdict);
    }
}
