//! Whose number it is: the centre is known by type, plan and digits (S2-AK-07).

use sms::{Address, numbering_plan, type_of_number};

/// Text is no number, whatever its characters.
pub(crate) fn is_same_number(one: &Address, other: &Address) -> bool {
    one.ton() != type_of_number::ALPHANUMERIC && normalised(one) == normalised(other)
}

/// Type, plan and digits, one form for each number: 00 is the international prefix (D-70), and an unknown plan is that of
/// telephone numbers.
fn normalised(address: &Address) -> (u8, u8, &str) {
    let prefixed = address.digits().strip_prefix("00");
    let (ton, digits) = match (address.ton(), prefixed) {
        (type_of_number::UNKNOWN | type_of_number::INTERNATIONAL, Some(rest)) => (type_of_number::INTERNATIONAL, rest),
        (ton, _) => (ton, address.digits()),
    };
    let npi = if address.npi() == numbering_plan::UNKNOWN { numbering_plan::ISDN } else { address.npi() };
    (ton, npi, digits)
}
