//! TP-SCTS and TP-DT (TS 23.040 9.2.3.11): swapped BCD, local time and zone in quarter hours.

/// Seven octets as on the wire. Any octets are kept; [`Self::to_unix_seconds`] says whether they are a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TimeStamp(pub [u8; 7]);

const SECONDS_PER_DAY: i64 = 86_400;
const SECONDS_PER_QUARTER: i64 = 900;

impl TimeStamp {
    /// The local time at `zone_quarters` (-79 to 79 quarter hours from UTC) of `unix_seconds` since 1970.
    /// Years are two digits: 1990 to 2089.
    #[must_use]
    pub fn from_unix_seconds(unix_seconds: i64, zone_quarters: i8) -> Self {
        let zone = zone_quarters.clamp(-79, 79);
        let local = unix_seconds.saturating_add(i64::from(zone) * SECONDS_PER_QUARTER);
        let (year, month, day) = civil_from_days(local.div_euclid(SECONDS_PER_DAY));
        let second_of_day = local.rem_euclid(SECONDS_PER_DAY);
        let sign = if zone < 0 { 8 } else { 0 };
        Self([
            swapped(year.rem_euclid(100)),
            swapped(month),
            swapped(day),
            swapped(second_of_day / 3600),
            swapped(second_of_day / 60 % 60),
            swapped(second_of_day % 60),
            swapped(i64::from(zone.unsigned_abs())) | sign,
        ])
    }

    /// Seconds since 1970, or `None` when the octets are no time. Two-digit years below 90 are of this century.
    #[must_use]
    pub fn to_unix_seconds(self) -> Option<i64> {
        let [year, month, day, hour, minute, second, zone] = self.0;
        let field = |octet: u8, low: i64, high: i64| unswapped(octet).filter(|value| (low..=high).contains(value));
        let year = field(year, 0, 99)?;
        let year = if year < 90 { 2000 + year } else { 1900 + year };
        let days = days_from_civil(year, field(month, 1, 12)?, field(day, 1, 31)?);
        let local =
            days * SECONDS_PER_DAY + field(hour, 0, 23)? * 3600 + field(minute, 0, 59)? * 60 + field(second, 0, 59)?;
        let quarters = field(zone & !8, 0, 79)?;
        let offset = if zone & 8 != 0 { -quarters } else { quarters } * SECONDS_PER_QUARTER;
        Some(local - offset)
    }
}

/// 0 to 99 as BCD with its digits swapped.
fn swapped(value: i64) -> u8 {
    let value = u8::try_from(value.rem_euclid(100)).unwrap_or_default();
    ((value % 10) << 4) | (value / 10)
}

fn unswapped(octet: u8) -> Option<i64> {
    let (tens, units) = (octet & 0xF, octet >> 4);
    (tens < 10 && units < 10).then(|| i64::from(tens) * 10 + i64::from(units))
}

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}
