//! The JSON scanner: what it takes for JSON, serde_json does too.
#![no_main]

mod one_route;

use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;
use spoolway::route::spec::{KeySpec, RouteSpec};
use spoolway::route::template::Pick;
use spoolway::route::topic::TopicSpec;

fuzz_target!(|input: &str| {
    let topic = TopicSpec::new("events", &[]).expect("a fixed topic");
    let mut spec = RouteSpec::new(topic);
    let fields = Pick::fields(["a.b", "a[0]", "$", "a.b.c[1].d"]).expect("paths");
    spec.key = Some(KeySpec::Fields(fields));
    let is_json = one_route::apply(spec, input);
    match serde_json::from_str::<&RawValue>(input) {
        Ok(_) => {}
        // Both have a limit of about 128 levels.
        Err(error) if error.to_string().contains("recursion limit") => {}
        Err(error) => assert!(!is_json, "taken for JSON, but {error}: {input:?}"),
    }
});
