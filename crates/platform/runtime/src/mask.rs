//! Personal data in logs: enough of a number to follow one case, never the number (PF-20).

use std::fmt;

/// Shows a subscriber's number as its first three and last two digits: `316*****78`. Numbers of seven digits or fewer show
/// nothing but their length.
#[derive(Clone, Copy, Debug)]
pub struct Number<'a>(pub &'a str);

impl fmt::Display for Number<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let characters = self.0.chars().count();
        let shown = |index: usize| characters > 7 && (index < 3 || index >= characters.saturating_sub(2));
        for (index, character) in self.0.chars().take(32).enumerate() {
            // What is not a digit came from outside: it must not write into the log.
            let safe = if character.is_ascii_digit() { character } else { '?' };
            fmt::Write::write_char(f, if shown(index) { safe } else { '*' })?;
        }
        Ok(())
    }
}

/// [`Number`] as text.
pub fn number(digits: &str) -> String {
    Number(digits).to_string()
}

/// Shows octets as their count: bodies and names never reach a log.
#[derive(Clone, Copy, Debug)]
pub struct Octets<'a>(pub &'a [u8]);

impl fmt::Display for Octets<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} octets)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_keeps_its_ends_only() {
        assert_eq!(number("31612345678"), "316******78");
        assert_eq!(number("1234567"), "*******");
        assert_eq!(number(""), "");
        assert_eq!(number("\n\n\n\u{1b}45678\n\n"), "???******??");
        assert_eq!(Octets(b"Anna").to_string(), "(4 octets)");
    }
}
