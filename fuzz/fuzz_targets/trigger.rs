//! The trigger language: no text makes the compiler or a compiled trigger panic.
//!
//! The input is a trigger, a line end, and an event.
#![no_main]

mod one_route;

use libfuzzer_sys::fuzz_target;
use spoolway::route::spec::RouteSpec;
use spoolway::route::topic::TopicSpec;
use spoolway::route::trigger::Trigger;

fuzz_target!(|input: &str| {
    let (source, event) = input.split_once('\n').unwrap_or((input, "{}"));
    match Trigger::parse(source) {
        Ok(trigger) => {
            let topic = TopicSpec::new("events", &[]).expect("a fixed topic");
            let mut spec = RouteSpec::new(topic);
            spec.trigger = Some(trigger);
            one_route::apply(spec, event);
        }
        Err(error) => drop(error.to_string()),
    }
});
