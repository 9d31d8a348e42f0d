//! Days and moments in a cell, and how a moment is printed everywhere. Arithmetic is jiff's; the shapes are the contract's.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};

/// `2026-11-22T12:00:00.000Z`, from milliseconds since 1970-01-01 UTC. A moment out of jiff's range prints as its end.
pub fn print_ms(ms: i64) -> String {
    let at = Timestamp::from_millisecond(ms).unwrap_or(if ms < 0 { Timestamp::MIN } else { Timestamp::MAX });
    format!("{at:.3}")
}

/// A day in one of the two accepted shapes, `2026-11-22` or `11/22/2026` (US order), as `2026-11-22`.
pub fn normal_date(cell: &str) -> Option<Cow<'_, str>> {
    if let Some((year, month, day)) = iso_date(cell.as_bytes()) {
        return real_day(year, month, day).map(|_| Cow::Borrowed(cell));
    }
    let mut parts = cell.split('/');
    let (month, day, year) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || month.len() > 2 || day.len() > 2 {
        return None;
    }
    let date = real_day(four_digits(year)?, digits(month)?, digits(day)?)?;
    Some(Cow::Owned(format!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day())))
}

/// `YYYY-MM-DD`, `T` or a space, `hh:mm[:ss[.f…]]` and an offset, as UTC cut to milliseconds: `2026-11-22T12:00:00.000Z`.
pub fn normal_date_time(cell: &str) -> Option<String> {
    let (date, rest) = cell.split_at_checked(10)?;
    let (year, month, day) = iso_date(date.as_bytes())?;
    let date = real_day(year, month, day)?;
    let rest = rest.strip_prefix(['T', ' '])?;
    let (time, offset_seconds) = split_offset(rest)?;
    let (hour, minute, second, milli) = clock(time)?;
    let civil =
        DateTime::from_parts(date, jiff::civil::Time::new(hour, minute, second, i32::from(milli) * 1_000_000).ok()?);
    let utc = civil.checked_sub(jiff::SignedDuration::from_secs(i64::from(offset_seconds))).ok()?;
    // A year that the shape cannot print (before 0001 or after 9999) is no date that the field can hold.
    if !(1..=9999).contains(&utc.year()) {
        return None;
    }
    Some(format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        utc.year(),
        utc.month(),
        utc.day(),
        utc.hour(),
        utc.minute(),
        utc.second(),
        milli
    ))
}

fn real_day(year: i16, month: i16, day: i16) -> Option<Date> {
    if year == 0 {
        return None;
    }
    Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
}

fn iso_date(bytes: &[u8]) -> Option<(i16, i16, i16)> {
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let text = std::str::from_utf8(bytes).ok()?;
    Some((digits(text.get(..4)?)?, digits(text.get(5..7)?)?, digits(text.get(8..)?)?))
}

fn four_digits(text: &str) -> Option<i16> {
    if text.len() == 4 { digits(text) } else { None }
}

/// One to four ASCII digits.
fn digits(text: &str) -> Option<i16> {
    let plain = !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

/// `12:00:00.5+01:00` → `12:00:00.5`, 3600.
fn split_offset(text: &str) -> Option<(&str, i32)> {
    if let Some(time) = text.strip_suffix('Z') {
        return Some((time, 0));
    }
    let at = text.rfind(['+', '-'])?;
    let (time, offset) = text.split_at(at);
    let sign = if offset.starts_with('-') { -1 } else { 1 };
    let offset = &offset[1..];
    let (hours, minutes) = match offset.len() {
        5 if offset.as_bytes()[2] == b':' => (offset.get(..2)?, offset.get(3..)?),
        4 => (offset.get(..2)?, offset.get(2..)?),
        _ => return None,
    };
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    Some((time, sign * (i32::from(hours) * 3600 + i32::from(minutes) * 60)))
}

/// `hh:mm[:ss[.f…]]` → hour, minute, second, millisecond (cut, not rounded). No 24:00, no :60.
fn clock(time: &str) -> Option<(i8, i8, i8, i16)> {
    let (whole, fraction) = match time.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (time, None),
    };
    let two = |text: Option<&str>, most: i16| -> Option<i8> {
        let text = text.filter(|text| text.len() == 2)?;
        i8::try_from(digits(text).filter(|number| *number <= most)?).ok()
    };
    let hour = two(whole.get(..2), 23)?;
    let minute = two(whole.get(2..)?.strip_prefix(':')?.get(..2), 59)?;
    let seconds = &whole[5..];
    if seconds.is_empty() {
        return if fraction.is_none() { Some((hour, minute, 0, 0)) } else { None };
    }
    let second = two(Some(seconds.strip_prefix(':')?), 59)?;
    let milli = match fraction {
        None => 0,
        Some(fraction) if !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits(&format!("{fraction:0<3}")[..3])?
        }
        Some(_) => return None,
    };
    Some((hour, minute, second, milli))
}
