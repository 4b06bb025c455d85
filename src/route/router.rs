//! All routes together: one event in, one verdict for each copy that is to be sent.
//!
//! Holds no state between events; what is written lies in a [`Scratch`] of the caller.

use std::sync::Arc;

use super::compiled::Route;
use super::field::{Slots, View};
use super::json::{JsonFault, Plan, PlanBuilder};
use super::meta::{Event, Host};
use super::partition::keyed_partition;
use super::spec::{Matching, NoMatch, RouteSpec, Spread};
use crate::event::UnixMillis;

/// Every enabled route, ready to be applied.
#[derive(Debug)]
pub struct Router {
    routes: Vec<Route>,
    topics: Vec<Arc<str>>,
    plan: Plan,
    matching: Matching,
    no_match: Unmatched,
    host: Host,
}

#[derive(Debug)]
enum Unmatched {
    DeadLetter,
    Drop,
    /// Index of the topic in [`Router::topics`].
    Topic(usize),
}

/// Memory for the verdicts on one event, used again for the next.
#[derive(Debug, Default)]
pub struct Scratch {
    slots: Slots,
    topic: Vec<u8>,
    key: Vec<u8>,
    value: Vec<u8>,
    headers: Vec<u8>,
    /// For each header where its value ends within `headers`, and whether there is one.
    header_ends: Vec<(usize, bool)>,
}

/// The topic of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoutedTopic<'a> {
    /// Index in [`Router::topics`].
    Listed(usize),
    /// Made for this event; follows Kafka's naming rules and is confined.
    Named(&'a str),
}

/// How the partition of a record is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// This one.
    Fixed(i32),
    /// By the hash of the key.
    Keyed,
    /// Any, chosen so.
    Any(Spread),
}

/// A record as a route wants it.
#[derive(Debug)]
pub struct Routed<'a> {
    /// Index of the route among the enabled ones; their number for the default topic.
    pub route: usize,
    /// Where it goes.
    pub topic: RoutedTopic<'a>,
    /// Its partition.
    pub placement: Placement,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: Option<&'a [u8]>,
    /// Its timestamp; the time at which it is sent when absent.
    pub timestamp: Option<UnixMillis>,
    /// Whether it carries its stable id, before all other headers.
    pub id_header: bool,
    headers: Headers<'a>,
}

/// What becomes of one copy of an event.
#[derive(Debug)]
pub enum Verdict<'a> {
    /// It is sent.
    Send(Routed<'a>),
    /// It goes to the dead letters.
    DeadLetter {
        /// Route that gave it up, as [`Routed::route`]; none when no route takes it.
        route: Option<usize>,
        /// Why.
        reason: String,
    },
    /// It is dropped, and counted.
    Drop,
}

impl Verdict<'_> {
    /// The route that it is about, as [`Routed::route`]; none when no route takes the event.
    pub fn route(&self) -> Option<usize> {
        match self {
            Self::Send(routed) => routed.headers.route.map(|_| routed.route),
            Self::DeadLetter { route, .. } => *route,
            Self::Drop => None,
        }
    }
}

#[derive(Debug)]
struct Headers<'a> {
    route: Option<&'a Route>,
    bytes: &'a [u8],
    ends: &'a [(usize, bool)],
}

impl Routed<'_> {
    /// The partition that this asks for among `partitions`; `None` = any will do.
    pub fn partition(&self, partitions: i32) -> Option<i32> {
        match self.placement {
            Placement::Fixed(partition) => Some(partition),
            Placement::Keyed => self.key.map(|key| keyed_partition(key, partitions)),
            Placement::Any(_) => None,
        }
    }

    /// Its headers in order, without the stable id.
    pub fn headers(&self) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        let names = self.headers.route.map(|route| &route.spec.headers);
        let mut start = 0;
        names
            .into_iter()
            .flatten()
            .zip(self.headers.ends)
            .map(move |(header, &(end, there))| {
                let value = self.headers.bytes.get(start..end).filter(|_| there);
                start = end;
                (header.name.as_str(), value)
            })
    }
}

impl Router {
    /// Prepares the enabled routes among `specs`, in their order.
    pub fn new(specs: &[RouteSpec], matching: Matching, no_match: &NoMatch, host: Host) -> Self {
        let mut topics: Vec<Arc<str>> = Vec::new();
        let mut listed = |name: &str| {
            let known = topics.iter().position(|topic| **topic == *name);
            known.unwrap_or_else(|| {
                topics.push(name.into());
                topics.len() - 1
            })
        };
        let mut plan = PlanBuilder::default();
        let routes = specs
            .iter()
            .filter(|spec| spec.enabled)
            .map(|spec| Route::new(spec, spec.topic.fixed().map(&mut listed), &mut plan))
            .collect();
        let no_match = match no_match {
            NoMatch::DeadLetter => Unmatched::DeadLetter,
            NoMatch::Drop => Unmatched::Drop,
            NoMatch::Topic(topic) => Unmatched::Topic(listed(topic)),
        };
        Self {
            routes,
            topics,
            plan: plan.build(),
            matching,
            no_match,
            host,
        }
    }

    /// Every topic that is named outright.
    pub fn topics(&self) -> &[Arc<str>] {
        &self.topics
    }

    /// Whether some topic is made from events, so that [`Router::topics`] does not have it.
    pub fn makes_topics(&self) -> bool {
        self.routes.iter().any(|route| route.topic.is_none())
    }

    /// Whether an event goes to each route that takes it, not only to the first.
    pub fn sends_all(&self) -> bool {
        self.matching == Matching::All
    }

    /// The names of the enabled routes, in their order.
    pub fn route_names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.routes.iter().map(|route| &route.name)
    }

    /// The name of a route by [`Routed::route`].
    pub fn route_name(&self, route: usize) -> Option<&str> {
        self.routes.get(route).map(|route| &*route.name)
    }

    /// Begins to apply the routes to `event`.
    pub fn matches<'a>(&'a self, event: Event<'a>, scratch: &'a mut Scratch) -> Matches<'a> {
        Matches {
            router: self,
            scratch,
            view: View::new(event, &self.host),
            next: 0,
            fault: None,
            matched: false,
        }
    }
}

/// The verdicts on one event, one after the other; at least one.
pub struct Matches<'a> {
    router: &'a Router,
    scratch: &'a mut Scratch,
    view: View<'a>,
    next: usize,
    /// Why the event could not be looked into.
    fault: Option<JsonFault>,
    matched: bool,
}

impl<'a> Matches<'a> {
    /// The next verdict. It borrows the scratch memory, so there is one at a time.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator cannot lend its memory"
    )]
    pub fn next(&mut self) -> Option<Verdict<'_>> {
        if self.matched && self.router.matching == Matching::First {
            return None;
        }
        let router = self.router;
        while let Some(route) = router.routes.get(self.next) {
            let index = self.next;
            self.next += 1;
            if self.takes(route) {
                self.matched = true;
                return Some(self.send(index, route));
            }
        }
        if self.matched {
            return None;
        }
        self.matched = true;
        Some(self.unmatched())
    }

    fn takes(&mut self, route: &Route) -> bool {
        let readable = !route.looks_to_match || self.look_inside().is_ok();
        readable && route.takes(&self.view, &self.scratch.slots)
    }

    fn look_inside(&mut self) -> Result<(), JsonFault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let looked = self
            .view
            .look_inside(&self.router.plan, &mut self.scratch.slots);
        self.fault = looked.err();
        looked
    }

    fn unmatched(&self) -> Verdict<'_> {
        if let Some(fault) = self.fault {
            let reason = format!("it is not JSON ({fault}), and every route looks into it");
            return Verdict::DeadLetter {
                route: None,
                reason,
            };
        }
        match self.router.no_match {
            Unmatched::DeadLetter => Verdict::DeadLetter {
                route: None,
                reason: "no route takes it".to_owned(),
            },
            Unmatched::Drop => Verdict::Drop,
            Unmatched::Topic(topic) => Verdict::Send(Routed {
                route: self.router.routes.len(),
                topic: RoutedTopic::Listed(topic),
                placement: Placement::Any(Spread::Sticky),
                key: None,
                value: Some(self.view.event.bytes),
                timestamp: None,
                id_header: true,
                headers: Headers {
                    route: None,
                    bytes: &[],
                    ends: &[],
                },
            }),
        }
    }

    fn send(&mut self, index: usize, route: &'a Route) -> Verdict<'_> {
        let refuse = |reason: String| Verdict::DeadLetter {
            route: Some(index),
            reason,
        };
        if route.looks_to_send
            && let Err(fault) = self.look_inside()
        {
            return refuse(format!(
                "it is not JSON ({fault}), and route {} looks into it",
                route.name
            ));
        }
        let Self { scratch, view, .. } = self;
        let scratch = &mut **scratch;
        let spec = &route.spec;
        scratch.clear();
        if route.topic.is_none()
            && let Err(refused) = spec.topic.render(view, &scratch.slots, &mut scratch.topic)
        {
            return refuse(refused.to_string());
        }
        let asked = match spec.partition.as_ref().map(|p| p.of(view, &scratch.slots)) {
            None => None,
            Some(Ok(partition)) => partition,
            Some(Err(value)) => return refuse(format!("{value} is not a partition")),
        };
        let timestamp = spec.timestamp.as_ref().map(|t| t.of(view, &scratch.slots));
        let timestamp = match timestamp.transpose() {
            Ok(timestamp) => timestamp,
            Err(value) => return refuse(format!("{value} is not a time")),
        };
        let key = spec.key.as_ref();
        let has_key = key.is_some_and(|key| key.render(view, &scratch.slots, &mut scratch.key));
        for header in &spec.headers {
            let there = header.render(view, &scratch.slots, &mut scratch.headers);
            scratch.header_ends.push((scratch.headers.len(), there));
        }
        let tombstone = spec.tombstone.as_ref();
        let buried = tombstone.is_some_and(|condition| condition.holds(view, &scratch.slots));
        let made = match buried {
            true => None,
            false => spec
                .payload
                .render(view, &scratch.slots, &mut scratch.value),
        };
        Verdict::Send(Routed {
            route: index,
            topic: match route.topic {
                Some(topic) => RoutedTopic::Listed(topic),
                None => RoutedTopic::Named(std::str::from_utf8(&scratch.topic).unwrap_or_default()),
            },
            placement: match asked.or(spec.default_partition) {
                Some(partition) => Placement::Fixed(partition),
                None if has_key && spec.partition_by_key => Placement::Keyed,
                None => Placement::Any(spec.spread),
            },
            key: has_key.then_some(scratch.key.as_slice()),
            value: made.map(|made| match made {
                true => scratch.value.as_slice(),
                false => view.event.bytes,
            }),
            timestamp,
            id_header: spec.id_header,
            headers: Headers {
                route: Some(route),
                bytes: &scratch.headers,
                ends: &scratch.header_ends,
            },
        })
    }
}

impl Scratch {
    fn clear(&mut self) {
        self.topic.clear();
        self.key.clear();
        self.value.clear();
        self.headers.clear();
        self.header_ends.clear();
    }
}
