//! Time formats (SMPP 3.4 7.1.1): `YYMMDDhhmmsstnnp`, absolute (`p` = `+` or `-`, quarters of an hour from UTC) or relative (`R`),
//! and the `YYMMDDhhmm` of delivery receipts. Years are 2000 to 2099.

use std::time::Duration;

use crate::Text;

/// A `validity_period` or `schedule_delivery_time`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmppTime {
    /// From now; months count 30 days and years 365 days.
    Relative(Duration),
    /// Seconds since 1970 UTC.
    Absolute(i64),
}

/// A relative period to the second, at most 99 years.
#[must_use]
pub fn format_relative(period: Duration) -> Text<16> {
    let seconds = period.as_secs().min(99 * 365 * 86_400);
    let days = seconds / 86_400;
    let (years, days) = (days / 365, days % 365);
    // 365 days leave at most 12 months and 5 days.
    let (months, days) = (days / 30, days % 30);
    let (hours, minutes, rest) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    fit(format!("{years:02}{months:02}{days:02}{hours:02}{minutes:02}{rest:02}000R"))
}

/// An absolute time in UTC; outside 2000 to 2099 the nearest end of that range.
#[must_use]
pub fn format_absolute(seconds: i64) -> Text<16> {
    let [years, months, days, hours, minutes, rest] = civil(seconds);
    fit(format!("{years:02}{months:02}{days:02}{hours:02}{minutes:02}{rest:02}000+"))
}

/// Reads either form; `None` when it is neither.
#[must_use]
pub fn parse(text: &[u8]) -> Option<SmppTime> {
    let text: &[u8; 16] = text.try_into().ok()?;
    let [years, months, days, hours, minutes, seconds] = six(text)?;
    let quarters = pair(text.get(13..15)?)?;
    if !text.get(12)?.is_ascii_digit() {
        return None;
    }
    match text.get(15)? {
        b'R' => {
            let days = years * 365 + months * 30 + days;
            let total = u64::try_from(days * 86_400 + hours * 3600 + minutes * 60 + seconds).ok()?;
            Some(SmppTime::Relative(Duration::from_secs(total)))
        }
        sign @ (b'+' | b'-') if quarters <= 48 => {
            let local = epoch([years, months, days, hours, minutes, seconds])?;
            let offset = quarters * 900;
            Some(SmppTime::Absolute(if *sign == b'+' { local - offset } else { local + offset }))
        }
        _ => None,
    }
}

/// `YYMMDDhhmm` of a receipt, UTC.
#[must_use]
pub fn format_receipt_date(seconds: i64) -> String {
    let [years, months, days, hours, minutes, _] = civil(seconds);
    format!("{years:02}{months:02}{days:02}{hours:02}{minutes:02}")
}

/// `YYMMDDhhmm` or `YYMMDDhhmmss`, taken as UTC.
#[must_use]
pub fn parse_receipt_date(text: &str) -> Option<i64> {
    let mut octets = *b"000000000000";
    if !matches!(text.len(), 10 | 12) {
        return None;
    }
    octets.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
    epoch(six(&octets)?)
}

fn fit(text: String) -> Text<16> {
    Text::new(text).expect("six pairs of digits and four characters")
}

fn pair(octets: &[u8]) -> Option<i64> {
    match octets {
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => Some(i64::from(tens - b'0') * 10 + i64::from(ones - b'0')),
        _ => None,
    }
}

fn six(text: &[u8]) -> Option<[i64; 6]> {
    let mut values = [0; 6];
    for (value, octets) in values.iter_mut().zip(text.chunks_exact(2)) {
        *value = pair(octets)?;
    }
    Some(values)
}

/// Years since 2000, month, day, hour, minute, second (days of the civil calendar after H. Hinnant).
fn civil(seconds: i64) -> [i64; 6] {
    let seconds = seconds.clamp(946_684_800, 4_102_444_799);
    let (days, rest) = (seconds.div_euclid(86_400) + 719_468, seconds.rem_euclid(86_400));
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    [year - 2000, month, day, rest / 3600, rest / 60 % 60, rest % 60]
}

fn epoch([years, month, day, hours, minutes, seconds]: [i64; 6]) -> Option<i64> {
    let fields_hold =
        (1..=12).contains(&month) && (1..=31).contains(&day) && hours < 24 && minutes < 60 && seconds < 61;
    if !fields_hold {
        return None;
    }
    let year = years + 2000 - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some((era * 146_097 + day_of_era - 719_468) * 86_400 + hours * 3600 + minutes * 60 + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_and_absolute_forms_round_trip() {
        assert_eq!(format_relative(Duration::from_secs(2 * 86_400 + 3661)).as_str(), Some("000002010101000R"));
        assert_eq!(parse(b"000002010101000R"), Some(SmppTime::Relative(Duration::from_secs(2 * 86_400 + 3661))));
        assert_eq!(format_absolute(1_700_000_040).as_str(), Some("231114221400000+"));
        assert_eq!(parse(b"231114221400000+"), Some(SmppTime::Absolute(1_700_000_040)));
        // The same moment told by a clock one hour east and one hour west.
        assert_eq!(parse(b"231114231400004+"), Some(SmppTime::Absolute(1_700_000_040)));
        assert_eq!(parse(b"231114211400004-"), Some(SmppTime::Absolute(1_700_000_040)));
        for wrong in [&b"231314221400000+"[..], b"2311142214000000", b"", b"23111422140000x+", b"231114221400099+"] {
            assert_eq!(parse(wrong), None);
        }
        for day in (0..36_000).step_by(17) {
            let seconds = 946_684_800 + day * 86_400 + 45_296;
            assert_eq!(parse(format_absolute(seconds).as_bytes()), Some(SmppTime::Absolute(seconds)));
            let period = Duration::from_secs(u64::try_from(day).unwrap() * 86_400 + 7);
            assert_eq!(parse(format_relative(period).as_bytes()), Some(SmppTime::Relative(period)));
        }
    }
}
