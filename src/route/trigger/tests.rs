//! Triggers as a whole: what holds, what is refused and where.

use std::time::Instant;

use proptest::prelude::*;

use super::{TRIGGER_BYTES_MAX, TRIGGER_DEPTH_MAX, Trigger};
use crate::route::testing::with_bound;

const EVENT: &str = r#"{"type":"track","event":"Order Completed","userId":"u\u0031",
    "properties":{"total":120.5,"id":12345678901234567890,"vip":true,"tags":["a","b, c",3],
    "items":[{"sku":"x"},{"sku":"y"}],"none":null,"first name":"Ann"},"integrations":{}}"#;

fn holds(trigger: &str) -> bool {
    let mut trigger = Trigger::parse(trigger).unwrap_or_else(|error| panic!("{error}"));
    with_bound(EVENT, &mut trigger, |trigger, view, slots| {
        trigger.holds(view, slots)
    })
}

#[test]
fn what_holds_for_an_order() {
    for trigger in [
        r#"type = "track" and properties.total > 100"#,
        r#"type = 'page' or event = 'Order Completed'"#,
        r#"!(type = "page")"#,
        r#"! type = "page""#,
        r#"match(event, "Order *")"#,
        r#"contains(event, "Comp") and contains(properties.tags, "b, c")"#,
        r#"lowercase(event) = "order completed" and uppercase(type) = "TRACK""#,
        r#"properties.id = 12345678901234567890 and properties.id != 12345678901234567891"#,
        r#"properties.vip and properties.vip = true and !properties.none"#,
        r#"properties.none = null and missing.field = null and userId != null"#,
        r#"properties.items[1].sku = "y" and properties.items[9].sku = null"#,
        r#"properties["first name"] = "Ann" and properties.first\ name = "Ann""#,
        r#"userId = "u1""#,
        r#""a" in properties.tags and 3 in properties.tags and type in ["page", "track"]"#,
        r#"length(properties.tags) = 3 and length(type) >= 5 and length(missing) = null"#,
        r#"typeof(properties.total) = "number" and typeof(properties) = "object""#,
        r#"@input = "app" and @uid = 1000 and @file = null and @host = "edge-7""#,
        r#"@track and @segment and !@page"#,
        r#"event > "Order" and event < "P" and properties.total <= 120.50"#,
        "true and type = \"track\"\n  and true",
    ] {
        assert!(holds(trigger), "{trigger}");
    }
}

#[test]
fn what_does_not_hold_for_an_order() {
    for trigger in [
        r#"type = "track" and properties.total > 120.5"#,
        r#"type = "page" or false"#,
        r#"properties.total > "100""#,
        r#"type > 1 or type < 1 or type = 1"#,
        r#"contains(properties.total, "1") or match(properties.total, "*")"#,
        r#"type"#,
        r#"missing > 0 or missing < 0 or missing"#,
        r#""q" in properties.tags or "a" in type or "t" in []"#
            .trim_end_matches(r#" or "t" in []"#),
        r#"!(type = "track" or nothing)"#,
        r#"type = "page" and true or false and type = "track""#,
    ] {
        assert!(!holds(trigger), "{trigger}");
    }
}

#[test]
fn and_binds_tighter_than_or_and_not_tightest() {
    assert!(holds("true or true and false"));
    assert!(holds("!false and true"));
    assert!(!holds("!(false or true)"));
}

#[test]
fn a_mistake_is_shown_with_a_caret_under_its_place() {
    let error = Trigger::parse("type = and").unwrap_err();
    assert_eq!(
        error.to_string(),
        "expected a value\n    type = and\n           ^"
    );
    let error = Trigger::parse("größe = 1\nand x == 2").unwrap_err();
    let wanted = "== is not known\n    and x == 2\n          ^ write = here";
    assert_eq!(error.to_string(), wanted);
}

#[test]
fn every_kind_of_mistake_names_its_byte() {
    for (trigger, at) in [
        ("", 0),
        ("type =", 6),
        ("type = \"track", 7),
        ("(a = 1", 6),
        ("a = 1)", 5),
        ("a = 1 b = 2", 6),
        ("foo(a) = 1", 0),
        ("match(a, b)", 9),
        ("match(a, \"[\")", 9),
        ("contains(a)", 10),
        ("@nothing = 1", 0),
        ("a = 01", 4),
        ("a in [b]", 6),
        ("a && b", 2),
        ("\"a\"", 3),
        ("a..b = 1", 2),
        ("a = #", 4),
    ] {
        let error = Trigger::parse(trigger).expect_err(trigger);
        assert_eq!(error.at, at, "{trigger}: {error}");
    }
}

#[test]
fn depth_and_length_are_bounded() {
    let nested = |open: &str, close: &str, depth: usize| {
        Trigger::parse(&format!(
            "{}true{}",
            open.repeat(depth),
            close.repeat(depth)
        ))
    };
    assert!(nested("(", ")", TRIGGER_DEPTH_MAX).is_ok());
    assert!(nested("(", ")", TRIGGER_DEPTH_MAX + 1).is_err());
    assert!(nested("!", "", TRIGGER_DEPTH_MAX + 1).is_err());
    assert!(Trigger::parse(&"lowercase(".repeat(500)).is_err());
    assert!(Trigger::parse(&" ".repeat(TRIGGER_BYTES_MAX + 1)).is_err());
}

#[test]
fn the_longest_trigger_is_compiled_and_evaluated_at_once() {
    let mut source = "a = 1".to_owned();
    while source.len() < TRIGGER_BYTES_MAX - 20 {
        source += " or b != b";
    }
    let start = Instant::now();
    assert!(!holds(&source));
    assert!(start.elapsed().as_millis() < 500, "{:?}", start.elapsed());
}

proptest! {
    #[test]
    fn any_text_is_survived(source in any::<String>()) {
        let _ = Trigger::parse(&source).map_err(|error| error.to_string());
    }

    #[test]
    fn nearly_right_triggers_are_survived(
        words in proptest::collection::vec(
            prop::sample::select(vec![
                "type", "and", "or", "!", "(", ")", "=", "!=", "<", ">=", "in", "[", "]", ",",
                "\"x\"", "1.5", "-2", "true", "null", "contains", "match", "lowercase(", "a.b[0]",
                "@input", "@track", "length(", "'",
            ]),
            0..20,
        )
    ) {
        if let Ok(mut trigger) = Trigger::parse(&words.join(" ")) {
            with_bound(EVENT, &mut trigger, |trigger, view, slots| trigger.holds(view, slots));
        }
    }
}
