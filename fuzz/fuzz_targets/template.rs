//! Templates of topics, keys, headers and payloads: no text and no event makes them panic.
//!
//! The input is a template, a line end, and an event.
#![no_main]

mod one_route;

use libfuzzer_sys::fuzz_target;
use spoolway::route::payload::{Mapping, PayloadSpec};
use spoolway::route::spec::{HeaderSpec, KeySpec, RouteSpec};
use spoolway::route::template::{Pick, Template};
use spoolway::route::timestamp::{TimeUnit, TimestampSpec};
use spoolway::route::topic::TopicSpec;

fuzz_target!(|input: &str| {
    let (source, event) = input.split_once('\n').unwrap_or((input, "{}"));
    let topic = TopicSpec::new(&format!("t{source}"), &[]);
    let template = match Template::parse(source) {
        Ok(template) => template,
        Err(error) => return drop(error.to_string()),
    };
    let topic = topic.or_else(|_| TopicSpec::new("events", &[]));
    let mut spec = RouteSpec::new(topic.expect("a fixed topic"));
    spec.key = Some(KeySpec::Template(template.clone()));
    spec.headers.push(HeaderSpec {
        name: "h".to_owned(),
        value: Some(template.clone()),
    });
    let text = || Mapping::Text(template.clone());
    let list = Mapping::List(vec![text()]);
    let members = vec![("a".to_owned(), text()), ("b".to_owned(), list)];
    spec.payload = PayloadSpec::Mapping(Mapping::Object(members));
    if let Ok(fields) = Pick::fields([source]) {
        let unit = TimeUnit::Seconds;
        spec.timestamp = Some(TimestampSpec { fields, unit });
    }
    one_route::apply(spec, event);
});
