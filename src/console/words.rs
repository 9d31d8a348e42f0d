//! How numbers, sizes and times are written on a page.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// With commas: `1,234,567`.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 row`, `2,000 rows`.
pub(super) fn count(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(count), if count == 1 { one } else { many })
}

/// `512 bytes`, `3.4 MB`.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KB", "MB", "GB", "TB"];
    if bytes < 1_000 {
        return count(bytes, "byte", "bytes");
    }
    let (mut size, mut unit) = (bytes as f64 / 1e3, 0);
    // What would be written as 1000.0 is one of the next unit.
    while size >= 999.95 && unit + 1 < UNITS.len() {
        size /= 1e3;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS[unit])
}

/// `0.3 s`, `12 s`, `4 min 5 s`, `2 h 3 min`.
pub(super) fn duration(ms: i64) -> String {
    let ms = ms.max(0);
    let s = ms / 1_000;
    match s {
        0..=9 => format!("{}.{} s", s, ms % 1_000 / 100),
        10..=59 => format!("{s} s"),
        60..=3_599 => format!("{} min {} s", s / 60, s % 60),
        _ => format!("{} h {} min", number((s / 3_600).unsigned_abs()), s % 3_600 / 60),
    }
}

/// A moment as pages show it. A script may write it in the reader's own time zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct When(pub(super) i64);

impl When {
    fn zoned(self) -> Option<jiff::Zoned> {
        Timestamp::from_millisecond(self.0).ok().map(|at| at.to_zoned(TimeZone::UTC))
    }

    /// For `datetime`.
    pub(super) fn iso(self) -> String {
        self.zoned().map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()).unwrap_or_default()
    }

    /// For people.
    pub(super) fn text(self) -> String {
        self.zoned().map(|at| at.strftime("%Y-%m-%d %H:%M UTC").to_string()).unwrap_or_default()
    }
}

/// Milliseconds in a day.
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// The day of a moment: days since 1970-01-01, UTC.
pub(super) fn day_of(ms: i64) -> i64 {
    ms.div_euclid(DAY_MS)
}

/// When a day begins.
pub(super) fn day_begins(day: i64) -> i64 {
    day.saturating_mul(DAY_MS)
}

fn date_of(day: i64) -> Option<Date> {
    Timestamp::from_millisecond(day_begins(day)).ok().map(|at| at.to_zoned(TimeZone::UTC).date())
}

/// `2026-11-28`.
pub(super) fn date(day: i64) -> String {
    date_of(day).map(|date| date.to_string()).unwrap_or_default()
}

/// `28 Nov`.
pub(super) fn short_date(day: i64) -> String {
    date_of(day).map(|date| date.strftime("%-d %b").to_string()).unwrap_or_default()
}

/// The day that is written `2026-11-28`.
pub(super) fn read_date(text: &str) -> Option<i64> {
    let date: Date = text.trim().parse().ok()?;
    Some(day_of(date.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond()))
}

/// `+1 (239) 574-5030` of North American numbers, others as they are.
pub(super) fn phone(e164: &str) -> String {
    match e164.strip_prefix("+1") {
        Some(digits) if digits.len() == 10 && digits.is_ascii() => {
            format!("({}) {}-{}", &digits[..3], &digits[3..6], &digits[6..])
        }
        _ => e164.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        let numbers = [0, 7, 999, 1_000, 12_345, 1_234_567].map(number);
        assert_eq!(numbers, ["0", "7", "999", "1,000", "12,345", "1,234,567"]);
        let sizes = [0, 1, 999, 1_000, 999_949, 999_950, 3_400_000, 12_000_000_000].map(bytes);
        assert_eq!(sizes, ["0 bytes", "1 byte", "999 bytes", "1.0 KB", "999.9 KB", "1.0 MB", "3.4 MB", "12.0 GB"]);
        let times = [-5, 0, 340, 9_999, 10_000, 59_999, 245_000, 7_380_000].map(duration);
        assert_eq!(times, ["0.0 s", "0.0 s", "0.3 s", "9.9 s", "10 s", "59 s", "4 min 5 s", "2 h 3 min"]);
        assert_eq!(phone("+12395745030"), "(239) 574-5030");
        assert_eq!(phone("+442079460000"), "+442079460000");
    }

    #[test]
    fn days_are_days_of_utc() {
        assert_eq!(read_date("2026-11-28"), Some(20_785));
        assert_eq!((date(20_785), short_date(20_785)), ("2026-11-28".to_owned(), "28 Nov".to_owned()));
        assert_eq!(day_of(day_begins(20_785)), 20_785);
        assert_eq!(day_of(day_begins(20_785) - 1), 20_784);
        for none in ["", "tomorrow", "2026-13-01", "28.11.2026"] {
            assert_eq!(read_date(none), None, "{none}");
        }
        assert_eq!(When(0).text(), "1970-01-01 00:00 UTC");
        assert_eq!(When(1_700_000_000_000).iso(), "2023-11-14T22:13:20Z");
    }
}
