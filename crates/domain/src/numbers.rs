//! An address as a bearer gave it becomes a subscriber number (D-116, D-70).

use crate::identity::Msisdn;

/// Normalises to E.164 with the home country code of the link.
///
/// Type of number 1 is taken as it is, less a leading `+` or `00`; 2 gets the country code; 0 is read by its prefix: `+`
/// or `00` international, `0` national. Anything else (alphanumeric, network-specific, no prefix) is ambiguous: `None`.
#[must_use]
pub fn normalise(ton: u32, digits: &str, country_code: &str) -> Option<Msisdn> {
    let international = |digits: &str| Msisdn::parse(digits).ok();
    let national = |digits: &str| {
        let valid = !country_code.is_empty() && !digits.is_empty();
        valid.then(|| international(&format!("{country_code}{digits}"))).flatten()
    };
    let prefixed = digits.strip_prefix('+').or_else(|| digits.strip_prefix("00"));
    match (ton, prefixed) {
        (1, prefixed) => international(prefixed.unwrap_or(digits)),
        (0, Some(rest)) => international(rest),
        (2, Some(_)) => None,
        (2, None) => national(digits.strip_prefix('0').unwrap_or(digits)),
        (0, None) => national(digits.strip_prefix('0')?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::normalise;

    #[test]
    fn every_form_of_a_number_is_one_number() {
        let check = |ton, digits, expected: Option<&str>| {
            assert_eq!(
                normalise(ton, digits, "44").map(|msisdn| msisdn.digits()).as_deref(),
                expected,
                "{ton} {digits}"
            );
        };
        check(1, "447700900123", Some("447700900123"));
        check(1, "00447700900123", Some("447700900123"));
        check(1, "+447700900123", Some("447700900123"));
        check(2, "7700900123", Some("447700900123"));
        check(2, "07700900123", Some("447700900123"));
        check(0, "+447700900123", Some("447700900123"));
        check(0, "00447700900123", Some("447700900123"));
        check(0, "07700900123", Some("447700900123"));
        check(0, "447700900123", None);
        check(5, "BANK", None);
        check(1, "BANK", None);
        check(1, "", None);
        check(3, "1234", None);
        check(1, "4477009001234567", None);
        assert_eq!(normalise(2, "7700900123", ""), None);
    }
}
