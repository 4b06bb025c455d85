//! Sizes and durations as people write them, and back into words.
//!
//! Owns the notation only; ranges and defaults belong to the keys.

use std::time::Duration;

const UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("kB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
    ("TB", 1_000_000_000_000),
    ("TiB", 1 << 40),
];

/// Why a text is no size or no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not whole digits and then a unit.
    #[error("{0:?} is not a size; write whole digits and a unit, as in \"10GiB\"")]
    NotASize(String),
    /// Digits alone: bytes, kilobytes or what?
    #[error("{0:?} has no unit; write \"{0}B\", \"{0}KiB\", \"{0}MiB\" or \"{0}GiB\"")]
    NoUnit(String),
    /// A unit that is not in the table.
    #[error("{unit:?} is not a unit of size; did you mean {digits}{near}?")]
    UnknownUnit {
        /// The unit as written.
        unit: String,
        /// The number in front of it.
        digits: String,
        /// The nearest unit there is.
        near: &'static str,
    },
    /// More bytes than 64 bits count.
    #[error("{0:?} is more than 2^64 bytes")]
    TooLarge(String),
    /// humantime does not read it.
    #[error("{text:?} is not a duration ({reason}); write a number and a unit, as in \"10s\"")]
    NotADuration {
        /// The text as written.
        text: String,
        /// What humantime says.
        reason: String,
    },
}

/// Reads a size such as `10GiB` (powers of two) or `1MB` (powers of ten). The unit is
/// required: a bare number means bytes to some and megabytes to others.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let text = text.trim();
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let unit = unit.trim();
    if digits.is_empty() {
        return Err(UnitError::NotASize(text.to_owned()));
    }
    if unit.is_empty() {
        return Err(UnitError::NoUnit(digits.to_owned()));
    }
    if !unit.chars().all(|c| c.is_ascii_alphabetic()) {
        return Err(UnitError::NotASize(text.to_owned()));
    }
    let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        let near = nearest_unit(unit);
        return Err(UnitError::UnknownUnit {
            unit: unit.into(),
            digits: digits.into(),
            near,
        });
    };
    let number: Option<u64> = digits.parse().ok();
    number
        .and_then(|n| n.checked_mul(*factor))
        .ok_or_else(|| UnitError::TooLarge(text.to_owned()))
}

fn nearest_unit(unit: &str) -> &'static str {
    let first = unit.chars().next().map(|c| c.to_ascii_uppercase());
    match first {
        Some('K') => "KiB",
        Some('M') => "MiB",
        Some('G') => "GiB",
        Some('T') => "TiB",
        _ => "B",
    }
}

/// The size in the largest unit that shows it exactly, as [`parse_size`] reads it.
pub fn format_size(bytes: u64) -> String {
    let unit = UNITS
        .iter()
        .rev()
        .find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor));
    match unit {
        Some((name, factor)) => format!("{}{name}", bytes / factor),
        None => format!("{bytes}B"),
    }
}

/// Reads a duration such as `5ms`, `10s` or `1h 30min` (humantime). The unit is required.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    humantime::parse_duration(text.trim()).map_err(|error| UnitError::NotADuration {
        text: text.to_owned(),
        reason: error.to_string(),
    })
}

/// The duration as [`parse_duration`] reads it.
pub fn format_duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_and_decimal_units_differ() {
        assert_eq!(parse_size("10GiB"), Ok(10 << 30));
        assert_eq!(parse_size("1MB"), Ok(1_000_000));
        assert_eq!(parse_size("1 MiB"), Ok(1 << 20));
        assert_eq!(parse_size("0B"), Ok(0));
    }

    #[test]
    fn a_bare_number_asks_for_its_unit() {
        let error = parse_size("10").unwrap_err().to_string();
        assert!(
            error.contains("no unit") && error.contains("10MiB"),
            "{error}"
        );
        assert!(
            parse_duration("10")
                .unwrap_err()
                .to_string()
                .contains("10s")
        );
    }

    #[test]
    fn a_near_unit_is_offered() {
        let error = parse_size("10G").unwrap_err().to_string();
        assert!(error.contains("did you mean 10GiB?"), "{error}");
        assert!(
            parse_size("10gib")
                .unwrap_err()
                .to_string()
                .contains("10GiB")
        );
    }

    #[test]
    fn what_does_not_fit_is_refused_and_never_wraps() {
        assert!(matches!(
            parse_size("99999999999TiB"),
            Err(UnitError::TooLarge(_))
        ));
        assert!(matches!(
            parse_size("18446744073709551616B"),
            Err(UnitError::TooLarge(_))
        ));
        assert!(matches!(parse_size("1.5GiB"), Err(UnitError::NotASize(_))));
        assert!(matches!(parse_size("-1B"), Err(UnitError::NotASize(_))));
    }

    #[test]
    fn a_size_is_printed_as_it_can_be_read() {
        for bytes in [0, 1, 1000, 1024, 10 << 30, 1_000_001, 512 << 10] {
            assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
        }
        assert_eq!(format_size(10 << 30), "10GiB");
    }
}
