//! Times as people write and read them; on the wire they are UTC microseconds.

use jiff::{SignedDuration, Timestamp, Zoned, civil::DateTime, tz::TimeZone};

/// `10m`, `2h`, `3d`, `45s` ago; RFC 3339; or a local date and time.
pub fn parse(text: &str) -> Result<i64, String> {
    parse_at(text, &Zoned::now())
}

fn parse_at(text: &str, now: &Zoned) -> Result<i64, String> {
    let ago = relative(text).map(|span| now.timestamp() - span);
    let stamp = ago.or_else(|| text.parse::<Timestamp>().ok()).or_else(|| {
        let local: DateTime = text.parse().ok()?;
        local.to_zoned(now.time_zone().clone()).ok().map(|zoned| zoned.timestamp())
    });
    let micros = stamp.map(Timestamp::as_microsecond).filter(|micros| *micros > 0);
    micros.ok_or_else(|| {
        format!("{text:?} is no time: expected 45s, 10m, 2h or 3d (ago), 2026-03-01T09:30 (local) or RFC 3339")
    })
}

fn relative(text: &str) -> Option<SignedDuration> {
    let unit = text.chars().last()?;
    let count: i64 = text.strip_suffix(unit)?.parse().ok().filter(|count| (0..=1_000_000).contains(count))?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return None,
    };
    Some(SignedDuration::from_secs(count * seconds))
}

/// Local time to the second; an empty text for 0 (never).
pub fn show(micros: i64) -> String {
    show_in(micros, TimeZone::system())
}

fn show_in(micros: i64, zone: TimeZone) -> String {
    if micros == 0 {
        return String::new();
    }
    // Whole seconds: nobody reads microseconds.
    let stamp = Timestamp::from_microsecond(micros - micros.rem_euclid(1_000_000));
    stamp.map_or_else(|_| micros.to_string(), |stamp| stamp.to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_local_and_absolute_times_are_read() {
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let now = "2026-03-01T12:00:00Z".parse::<Timestamp>().unwrap().to_zoned(zone.clone());
        let shown = |text| show_in(parse_at(text, &now).unwrap(), zone.clone());
        assert_eq!(shown("10m"), "2026-03-01 12:50:00");
        assert_eq!(shown("2h"), "2026-03-01 11:00:00");
        assert_eq!(shown("3d"), "2026-02-26 13:00:00");
        assert_eq!(shown("2026-03-01T09:30"), "2026-03-01 09:30:00");
        assert_eq!(shown("2026-03-01 09:30:15"), "2026-03-01 09:30:15");
        assert_eq!(shown("2026-03-01T09:30:00Z"), "2026-03-01 10:30:00");
        assert_eq!(shown("2026-03-01T09:30:00+05:00"), "2026-03-01 05:30:00");
        for wrong in ["yesterday", "10", "10w", "-5m", "2026-13-01T00:00"] {
            assert!(parse_at(wrong, &now).unwrap_err().contains("is no time"), "{wrong}");
        }
        assert_eq!(show(0), "");
    }
}
