//! The timestamp of a record from a field of the event.
//!
//! A string is a time after RFC 3339, such as `2026-11-21T06:30:00.250+01:00`; a number, also
//! as a string, counts milliseconds or seconds since 1970, as the route says. Reads no clock.

use chrono::DateTime;

use super::field::{Field, Fields, Slots, View};
use super::template::Pick;
use super::value::Value;
use crate::event::UnixMillis;

/// The last millisecond of the year 9999. Kafka wants no time before 1970.
const LAST: UnixMillis = 253_402_300_799_999;

/// What a number in the field counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimeUnit {
    /// Milliseconds since 1970.
    #[default]
    Millis,
    /// Seconds since 1970, perhaps with a fraction.
    Seconds,
}

/// Where a record's timestamp comes from.
#[derive(Debug, Clone)]
pub struct TimestampSpec {
    /// The first of these fields that is there; else the time when the event was received.
    pub fields: Pick,
    /// What a number in it counts.
    pub unit: TimeUnit,
}

impl TimestampSpec {
    /// The timestamp of one event.
    ///
    /// # Errors
    /// The value as JSON, shortened, when it is no time from 1970 to 9999.
    pub(super) fn of(&self, view: &View<'_>, slots: &Slots) -> Result<UnixMillis, String> {
        let Some(value) = self.fields.value(view, slots) else {
            return Ok(view.event.received);
        };
        let time = match &value {
            Value::Number(digits) => self.number(digits),
            Value::Text(text) => match DateTime::parse_from_rfc3339(text) {
                Ok(time) => Some(time.timestamp_millis()),
                Err(_) => self.number(text),
            },
            _ => None,
        };
        let time = time.filter(|time| (0..=LAST).contains(time));
        time.ok_or_else(|| value.shown())
    }

    fn number(&self, digits: &str) -> Option<UnixMillis> {
        let scale = match self.unit {
            TimeUnit::Millis => 1,
            TimeUnit::Seconds => 1_000,
        };
        if let Ok(whole) = digits.parse::<i64>() {
            return whole.checked_mul(scale);
        }
        let millis = digits.parse::<f64>().ok()? * scale as f64;
        // A cast of what is out of range would give a wrong time instead of none.
        (0.0..=LAST as f64)
            .contains(&millis)
            .then_some(millis.round() as i64)
    }
}

impl Fields for TimestampSpec {
    fn each_field(&mut self, visit: &mut dyn FnMut(&mut Field)) {
        self.fields.each_field(visit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::testing::with_bound;

    fn time(unit: TimeUnit, event: &str) -> Result<UnixMillis, String> {
        let fields = Pick::fields(["time", "at"]).unwrap();
        let mut spec = TimestampSpec { fields, unit };
        with_bound(event, &mut spec, |spec, view, slots| spec.of(view, slots))
    }

    #[test]
    fn rfc_3339_milliseconds_and_seconds_are_read() {
        for (unit, event, wanted) in [
            (
                TimeUnit::Millis,
                r#"{"time":1700000000123}"#,
                1_700_000_000_123,
            ),
            (
                TimeUnit::Millis,
                r#"{"time":"1700000000123"}"#,
                1_700_000_000_123,
            ),
            (TimeUnit::Millis, r#"{"time":1.7e12}"#, 1_700_000_000_000),
            (
                TimeUnit::Seconds,
                r#"{"time":1700000000}"#,
                1_700_000_000_000,
            ),
            (
                TimeUnit::Seconds,
                r#"{"time":"1700000000.5"}"#,
                1_700_000_000_500,
            ),
            (
                TimeUnit::Millis,
                r#"{"time":"1970-01-01T01:00:00.25+01:00"}"#,
                250,
            ),
            (
                TimeUnit::Seconds,
                r#"{"at":"2023-11-14T22:13:20Z"}"#,
                1_700_000_000_000,
            ),
            (TimeUnit::Millis, r#"{"time":null,"at":5}"#, 5),
        ] {
            assert_eq!(time(unit, event), Ok(wanted), "{event}");
        }
    }

    #[test]
    fn an_event_without_the_field_has_the_time_when_it_was_received() {
        assert_eq!(time(TimeUnit::Millis, "{}"), Ok(1_700_000_000_123));
    }

    #[test]
    fn what_is_no_time_from_1970_to_9999_is_an_error() {
        for value in [
            "-1",
            "\"yesterday\"",
            "true",
            "[1]",
            "253402300800000",
            "1e300",
            "\"1969-12-31T23:59:59Z\"",
            "\"NaN\"",
            "99999999999999999999",
        ] {
            let event = format!("{{\"time\":{value}}}");
            assert_eq!(time(TimeUnit::Millis, &event), Err(value.to_owned()));
        }
        assert!(time(TimeUnit::Seconds, r#"{"time":9223372036854775807}"#).is_err());
    }
}
