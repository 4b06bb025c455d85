//! What a test may order: on which request the broker misbehaves, and how.
//!
//! Owns the matching and counting of rules; carrying them out is `answer` and `server`.

use std::time::Duration;

/// The requests that the scripted broker speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Api {
    /// ApiVersions, key 18.
    ApiVersions,
    /// Metadata, key 3.
    Metadata,
    /// InitProducerId, key 22.
    InitProducerId,
    /// Produce, key 0.
    Produce,
}

/// What the broker does instead of answering as it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Nothing is applied; this code is answered.
    Error(i16),
    /// Applied, and yet this code is answered.
    ErrorAfter(i16),
    /// INVALID_RECORD, naming one record of the batch; nothing is applied.
    RejectRecord(i32, &'static str),
    /// Applied and answered with this `throttle_time_ms` (KIP-219).
    Throttle(Duration),
    /// Applied at once, answered after this time.
    Delay(Duration),
    /// Not applied; this connection is never answered again and stays open.
    Silence,
    /// Applied; this connection is never answered again and stays open.
    SilenceAfter,
    /// Not applied; the connection is closed.
    DropBefore,
    /// Applied, then the connection is closed.
    DropAfter,
    /// Applied; these bytes come in place of the answer's body.
    Malformed(Vec<u8>),
    /// Applied; a length prefix of this value and nothing more. The connection stays open.
    FrameLength(i32),
    /// Applied; the answer carries the correlation id of no request.
    WrongCorrelationId,
    /// Applied; the answer's body lacks this many bytes at its end, the length agrees.
    Truncated(usize),
    /// Applied; half of the answer, then the connection is closed.
    CutShort,
}

/// On which requests a rule fires. Without a filter: on every one, once.
#[derive(Debug, Clone)]
pub struct When {
    api: Option<Api>,
    broker: Option<i32>,
    topic: Option<String>,
    partition: Option<i32>,
    skip: u32,
    times: Option<u32>,
}

impl When {
    /// Any request.
    pub fn any() -> Self {
        Self {
            api: None,
            broker: None,
            topic: None,
            partition: None,
            skip: 0,
            times: Some(1),
        }
    }

    /// Requests of this kind.
    pub fn api(api: Api) -> Self {
        Self {
            api: Some(api),
            ..Self::any()
        }
    }

    /// Produce requests.
    pub fn produce() -> Self {
        Self::api(Api::Produce)
    }

    /// Only at this broker.
    pub fn broker(mut self, id: i32) -> Self {
        self.broker = Some(id);
        self
    }

    /// Only requests that name this topic; an error then concerns this topic alone.
    pub fn topic(mut self, topic: &str) -> Self {
        self.topic = Some(topic.to_owned());
        self
    }

    /// Only requests that carry this partition; an error then concerns it alone.
    pub fn partition(mut self, topic: &str, partition: i32) -> Self {
        self.partition = Some(partition);
        self.topic(topic)
    }

    /// Not before the `n`-th matching request, counted from 1 when the rule was given.
    pub fn nth(mut self, n: u32) -> Self {
        self.skip = n.saturating_sub(1);
        self
    }

    /// So many times in a row.
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// Until the rules are cleared.
    pub fn always(mut self) -> Self {
        self.times = None;
        self
    }

    /// Whether this topic and partition are within the filter.
    pub(super) fn covers(&self, topic: &str, partition: Option<i32>) -> bool {
        self.topic.as_deref().is_none_or(|t| t == topic)
            && match (self.partition, partition) {
                (Some(wanted), Some(p)) => wanted == p,
                _ => true,
            }
    }

    fn matches(&self, api: Api, broker: i32, targets: &[(String, Option<i32>)]) -> bool {
        self.api.is_none_or(|a| a == api)
            && self.broker.is_none_or(|b| b == broker)
            && (self.topic.is_none() || targets.iter().any(|(t, p)| self.covers(t, *p)))
    }
}

/// A rule and how often it has matched.
#[derive(Debug, Clone)]
struct Rule {
    when: When,
    action: Action,
    seen: u32,
}

/// The rules in the order in which they were given.
#[derive(Debug, Default)]
pub(super) struct Script {
    rules: Vec<Rule>,
}

/// The rules that one request set off.
#[derive(Debug, Default, Clone)]
pub struct Fired(Vec<(When, Action)>);

impl Script {
    pub(super) fn add(&mut self, when: When, action: Action) {
        self.rules.push(Rule {
            when,
            action,
            seen: 0,
        });
    }

    pub(super) fn clear(&mut self) {
        self.rules.clear();
    }

    /// Counts one request against every rule and returns those that fire.
    pub(super) fn fire(
        &mut self,
        api: Api,
        broker: i32,
        targets: &[(String, Option<i32>)],
    ) -> Fired {
        let mut fired = Fired::default();
        for rule in &mut self.rules {
            if !rule.when.matches(api, broker, targets) {
                continue;
            }
            let turn = rule.seen;
            rule.seen = rule.seen.saturating_add(1);
            let over = rule
                .when
                .times
                .is_some_and(|t| turn >= rule.when.skip.saturating_add(t));
            if turn >= rule.when.skip && !over {
                fired.0.push((rule.when.clone(), rule.action.clone()));
            }
        }
        fired
    }
}

impl Fired {
    /// The actions, in the order of the rules.
    pub fn actions(&self) -> impl Iterator<Item = &Action> {
        self.0.iter().map(|(_, action)| action)
    }

    /// The first error ordered for this topic and partition.
    pub(super) fn error_for(&self, topic: &str, partition: Option<i32>) -> Option<&Action> {
        self.0
            .iter()
            .filter(|(when, _)| when.covers(topic, partition))
            .map(|(_, action)| action)
            .find(|a| {
                matches!(
                    a,
                    Action::Error(_) | Action::ErrorAfter(_) | Action::RejectRecord(..)
                )
            })
    }

    /// The code ordered for a request that has only one.
    pub(super) fn error(&self) -> Option<i16> {
        self.actions().find_map(|a| match a {
            Action::Error(code) | Action::ErrorAfter(code) => Some(*code),
            _ => None,
        })
    }

    /// The throttle time to answer with, milliseconds.
    pub(super) fn throttle_ms(&self) -> i32 {
        let found = self.actions().find_map(|a| match a {
            Action::Throttle(time) => i32::try_from(time.as_millis()).ok(),
            _ => None,
        });
        found.unwrap_or_default()
    }

    /// Whether the request must not be applied at all.
    pub(super) fn withheld(&self) -> Option<&Action> {
        self.actions()
            .find(|a| matches!(a, Action::Silence | Action::DropBefore))
    }
}
