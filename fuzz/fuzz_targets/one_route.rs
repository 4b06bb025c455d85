//! One event through one route, as the drain does it.

use spoolway::event::Source;
use spoolway::route::spec::{Matching, NoMatch, RouteSpec};
use spoolway::route::{Event, Host, Router, Scratch, Verdict};

/// Applies the route; true when the event is sent.
pub fn apply(spec: RouteSpec, event: &str) -> bool {
    let host = Host {
        name: "edge".into(),
        spool_id: 1,
    };
    let router = Router::new(&[spec], Matching::All, &NoMatch::Drop, host);
    let source = Source::of_input("app");
    let event = Event {
        seq: 1,
        source: &source,
        offset: Some(7),
        received: 0,
        bytes: event.as_bytes(),
    };
    let mut scratch = Scratch::default();
    let mut matches = router.matches(event, &mut scratch);
    let mut sent = false;
    while let Some(verdict) = matches.next() {
        sent |= matches!(verdict, Verdict::Send(_));
    }
    sent
}
