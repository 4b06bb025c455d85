//! Getters of a [`Section`] for quantities: numbers, sizes and durations within a range.
//!
//! Our own keys require a unit; Kafka's take a bare number in Kafka's unit as well.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::DeValue;

use super::section::{Entry, Section};
use super::units::{UnitError, format_duration, format_size, parse_duration, parse_size};

impl Section<'_, '_> {
    /// A whole number.
    pub(super) fn number(
        &mut self,
        key: &'static str,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> u64 {
        self.ranged(key, default, range, Self::number_of, |n| n.to_string())
    }

    fn number_of(&mut self, key: &str, entry: &Entry<'_>) -> Option<u64> {
        let number = whole_number(entry.value.get_ref());
        if number.is_none() {
            self.wrong_type(key, entry, "a whole number");
        }
        number
    }

    /// A size with its unit.
    pub(super) fn size(
        &mut self,
        key: &'static str,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> u64 {
        self.ranged(key, default, range, Self::size_of, format_size)
    }

    fn size_of(&mut self, key: &str, entry: &Entry<'_>) -> Option<u64> {
        self.with_unit(key, entry, ("KiB", "a size such as \"10GiB\""), parse_size)
    }

    /// A duration with its unit.
    pub(super) fn duration(
        &mut self,
        key: &'static str,
        default: Duration,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        self.ranged(key, default, range, Self::duration_of, format_duration)
    }

    /// The duration of an entry already taken.
    pub(super) fn duration_of(&mut self, key: &str, entry: &Entry<'_>) -> Option<Duration> {
        let words = ("s", "a duration such as \"10s\"");
        self.with_unit(key, entry, words, parse_duration)
    }

    /// A string of number and unit; `unit` and `expected` are for the mistakes.
    fn with_unit<T>(
        &mut self,
        key: &str,
        entry: &Entry<'_>,
        (unit, expected): (&str, &str),
        parse: impl Fn(&str) -> Result<T, UnitError>,
    ) -> Option<T> {
        let value = entry.value.get_ref();
        let failure = match value {
            DeValue::String(text) => match parse(text) {
                Ok(parsed) => return Some(parsed),
                Err(error) => (error.to_string(), None),
            },
            DeValue::Integer(_) => {
                let number = whole_number(value).unwrap_or(10);
                let help = format!("write a string with its unit, as in \"{number}{unit}\"");
                ("has no unit".to_owned(), Some(help))
            }
            _ => {
                self.wrong_type(key, entry, expected);
                return None;
            }
        };
        self.fault(key, entry.value.span(), &failure.0, failure.1);
        None
    }

    /// Milliseconds as Kafka writes them, or a duration with its unit.
    pub(super) fn millis(
        &mut self,
        key: &'static str,
        aliases: &[&'static str],
        default: Duration,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        match self.take_alias(key, aliases) {
            Some(entry) => self.millis_of(key, &entry, default, range),
            None => default,
        }
    }

    /// The same of an entry already taken.
    pub(super) fn millis_of(
        &mut self,
        key: &str,
        entry: &Entry<'_>,
        default: Duration,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        let millis = whole_number(entry.value.get_ref()).map(Duration::from_millis);
        let Some(duration) = millis.or_else(|| self.duration_of(key, entry)) else {
            return default;
        };
        self.within(key, entry, duration, default, range, format_duration)
    }

    /// Bytes as Kafka writes them, or a size with its unit.
    pub(super) fn bytes(
        &mut self,
        key: &'static str,
        aliases: &[&'static str],
        default: u32,
        range: RangeInclusive<u32>,
    ) -> u32 {
        let Some(entry) = self.take_alias(key, aliases) else {
            return default;
        };
        let bytes = whole_number(entry.value.get_ref());
        let Some(bytes) = bytes.or_else(|| self.size_of(key, &entry)) else {
            return default;
        };
        let range = u64::from(*range.start())..=u64::from(*range.end());
        let bytes = self.within(key, &entry, bytes, u64::from(default), range, format_size);
        u32::try_from(bytes).unwrap_or(default)
    }

    /// What `parse` makes of the value of a key, when it is there and within the range.
    fn ranged<T: PartialOrd + Copy>(
        &mut self,
        key: &'static str,
        default: T,
        range: RangeInclusive<T>,
        parse: impl FnOnce(&mut Self, &str, &Entry<'_>) -> Option<T>,
        show: impl Fn(T) -> String,
    ) -> T {
        let Some(entry) = self.take(key) else {
            return default;
        };
        match parse(self, key, &entry) {
            Some(value) => self.within(key, &entry, value, default, range, show),
            None => default,
        }
    }

    fn within<T: PartialOrd + Copy>(
        &mut self,
        key: &str,
        entry: &Entry<'_>,
        value: T,
        default: T,
        range: RangeInclusive<T>,
        show: impl Fn(T) -> String,
    ) -> T {
        if range.contains(&value) {
            return value;
        }
        let what = format!("{} is out of range", show(value));
        let help = format!("use {} to {}", show(*range.start()), show(*range.end()));
        self.fault(key, entry.value.span(), &what, Some(help));
        default
    }
}

/// A whole number, written as such or as the string a properties file would have.
pub(super) fn whole_number(value: &DeValue<'_>) -> Option<u64> {
    match value {
        DeValue::Integer(i) => u64::from_str_radix(i.as_str(), i.radix()).ok(),
        DeValue::String(s) if s.chars().all(|c| c.is_ascii_digit()) => s.parse().ok(),
        _ => None,
    }
}
