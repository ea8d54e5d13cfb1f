//! Durations, sizes and ranges of status codes as text, in both directions.

use std::ops::RangeInclusive;
use std::time::Duration;

const DURATION_UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
const SIZE_UNITS: [(&str, u64); 4] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

/// The forms that [`duration`] accepts.
pub(super) const DURATION: &str =
    "a whole number and a unit such as \"300ms\", \"10s\", \"5m\" or \"24h\"";
/// The forms that [`size`] accepts.
pub(super) const SIZE: &str = "a whole number and a unit such as \"512B\", \"16KiB\" or \"1MiB\"";

/// Pattern of the JSON Schema for texts that [`duration`] accepts.
pub(super) const DURATION_PATTERN: &str = "^[0-9]+(ms|s|m|h)$";
/// Pattern of the JSON Schema for texts that [`size`] accepts.
pub(super) const SIZE_PATTERN: &str = "^[0-9]+(B|KiB|MiB|GiB)$";

/// Parses `300ms`, `10s`, `5m`, `24h`.
///
/// # Errors
/// The fault, in words that follow the quoted text.
pub(super) fn duration(text: &str, range: &RangeInclusive<Duration>) -> Result<Duration, String> {
    let (number, unit) = number_and_unit(text, "a duration")?;
    let (_, factor) = DURATION_UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(|| format!("has the unknown unit {unit:?}"))?;
    let millis = number.checked_mul(*factor);
    let value = millis.map_or(Duration::MAX, Duration::from_millis);
    in_range(value, range, duration_text)
}

/// Parses `512B`, `16KiB`, `1MiB`, `2GiB`.
///
/// # Errors
/// The fault, in words that follow the quoted text.
pub(super) fn size(text: &str, range: &RangeInclusive<u64>) -> Result<u64, String> {
    let (number, unit) = number_and_unit(text, "a size")?;
    let (_, factor) = SIZE_UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(|| format!("has the unknown unit {unit:?}"))?;
    let value = number.saturating_mul(*factor);
    in_range(value, range, size_text)
}

fn number_and_unit<'t>(text: &'t str, kind: &str) -> Result<(u64, &'t str), String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(format!("is not {kind}"));
    }
    if unit.is_empty() {
        return Err("has no unit".to_owned());
    }
    // Digits alone can only be wrong by being too many.
    Ok((number.parse().unwrap_or(u64::MAX), unit))
}

fn in_range<T: PartialOrd + Copy>(
    value: T,
    range: &RangeInclusive<T>,
    show: fn(T) -> String,
) -> Result<T, String> {
    if value < *range.start() {
        return Err(format!("is below the least value {}", show(*range.start())));
    }
    if value > *range.end() {
        return Err(format!("is above the limit {}", show(*range.end())));
    }
    Ok(value)
}

/// Writes a duration in the largest unit that fits it exactly; below a millisecond is cut off.
pub(crate) fn duration_text(value: Duration) -> String {
    let millis = u64::try_from(value.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0s".to_owned();
    }
    in_largest_unit(millis, &DURATION_UNITS)
}

/// Writes a size in the largest unit that fits it exactly.
pub(super) fn size_text(bytes: u64) -> String {
    if bytes == 0 {
        return "0B".to_owned();
    }
    in_largest_unit(bytes, &SIZE_UNITS)
}

fn in_largest_unit(value: u64, units: &[(&str, u64)]) -> String {
    let exact = units
        .iter()
        .find(|(_, factor)| value.is_multiple_of(*factor));
    exact.map_or_else(
        || value.to_string(),
        |(name, factor)| format!("{}{name}", value / factor),
    )
}

/// Parses one range of status codes, `200-399` or `101`.
///
/// # Errors
/// The fault, in words that follow the quoted text.
pub(super) fn status_range(text: &str) -> Result<(u16, u16), String> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let (low, high) = (status(low)?, status(high)?);
    if low > high {
        return Err("ends before it begins".to_owned());
    }
    Ok((low, high))
}

fn status(text: &str) -> Result<u16, String> {
    let digits_only = text.bytes().all(|byte| byte.is_ascii_digit());
    let code = text.parse().ok().filter(|_| digits_only);
    code.filter(|code| (100..=599).contains(code))
        .ok_or_else(|| "is not a range of status codes".to_owned())
}

/// Writes ranges of status codes as they are parsed.
pub(super) fn status_ranges_text(ranges: &[(u16, u16)]) -> String {
    let one = |(low, high): &(u16, u16)| {
        if low == high {
            low.to_string()
        } else {
            format!("{low}-{high}")
        }
    };
    ranges.iter().map(one).collect::<Vec<_>>().join(",")
}
