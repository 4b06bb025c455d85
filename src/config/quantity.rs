//! Getters of a [`Section`] for quantities: numbers, sizes and durations within a range.
//!
//! Our own keys require a unit; Kafka's take a bare number in Kafka's unit as well.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::DeValue;

use super::section::{Entry, Section};
use super::units::{format_duration, format_size, parse_duration, parse_size};

impl Section<'_, '_> {
    /// A whole number.
    pub(super) fn number(
        &mut self,
        key: &'static str,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> u64 {
        let Some(entry) = self.take(key) else {
            return default;
        };
        let Some(number) = whole_number(entry.value.get_ref()) else {
            self.wrong_type(key, &entry, "a whole number");
            return default;
        };
        self.within(key, &entry, number, default, range, |n| n.to_string())
    }

    /// A size with its unit.
    pub(super) fn size(
        &mut self,
        key: &'static str,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> u64 {
        let Some(entry) = self.take(key) else {
            return default;
        };
        let Some(size) = self.size_of(key, &entry) else {
            return default;
        };
        self.within(key, &entry, size, default, range, format_size)
    }

    fn size_of(&mut self, key: &str, entry: &Entry<'_>) -> Option<u64> {
        let text = match entry.value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(_) => return self.bare_number(key, entry, "KiB"),
            _ => {
                self.wrong_type(key, entry, "a size such as \"10GiB\"");
                return None;
            }
        };
        let size = parse_size(&text);
        size.map_err(|e| self.fault(key, entry.value.span(), &e.to_string(), None))
            .ok()
    }

    /// A duration with its unit.
    pub(super) fn duration(
        &mut self,
        key: &'static str,
        default: Duration,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        let Some(entry) = self.take(key) else {
            return default;
        };
        let Some(duration) = self.duration_of(key, &entry) else {
            return default;
        };
        self.within(key, &entry, duration, default, range, format_duration)
    }

    /// The duration of an entry already taken.
    pub(super) fn duration_of(&mut self, key: &str, entry: &Entry<'_>) -> Option<Duration> {
        let text = match entry.value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(_) => return self.bare_number(key, entry, "s"),
            _ => {
                self.wrong_type(key, entry, "a duration such as \"10s\"");
                return None;
            }
        };
        let duration = parse_duration(&text);
        duration
            .map_err(|e| self.fault(key, entry.value.span(), &e.to_string(), None))
            .ok()
    }

    fn bare_number<T>(&mut self, key: &str, entry: &Entry<'_>, unit: &str) -> Option<T> {
        let number = whole_number(entry.value.get_ref()).unwrap_or(10);
        let help = Some(format!(
            "write a string with its unit, as in \"{number}{unit}\""
        ));
        self.fault(key, entry.value.span(), "has no unit", help);
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
        let Some(entry) = self.take_alias(key, aliases) else {
            return default;
        };
        let millis = whole_number(entry.value.get_ref()).map(Duration::from_millis);
        let Some(duration) = millis.or_else(|| self.duration_of(key, &entry)) else {
            return default;
        };
        self.within(key, &entry, duration, default, range, format_duration)
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
