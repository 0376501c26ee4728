//! What the TOML reader says, in words of an operator: what was found, what is accepted, what may have been meant.

/// How the reader begins when a key is not known.
pub(super) const UNKNOWN_KEY: &str = "unknown field";

/// Types of Rust, and what they mean in a file.
const TYPES: [(&str, &str); 13] = [
    ("usize", "a whole number, 0 or more"),
    ("u64", "a whole number, 0 or more"),
    ("u32", "a whole number, 0 to 4294967295"),
    ("u16", "a whole number, 0 to 65535"),
    ("u8", "a whole number, 0 to 255"),
    ("i64", "a whole number"),
    ("i32", "a whole number"),
    ("f64", "a number"),
    ("f32", "a number"),
    ("a boolean", "true or false"),
    ("a string", "a text in quotes"),
    ("a sequence", "a list in brackets"),
    ("a map", "a table"),
];

/// `message` of the reader; `found` is the text that it is about, where it is one.
pub(super) fn explain(message: &str, found: Option<&str>) -> String {
    if message == "invalid socket address syntax" {
        let found = found.map_or_else(String::new, |found| format!("found {found:?}, "));
        return format!("{found}accepted: ADDRESS:PORT, such as \"127.0.0.1:7101\" or \"[::1]:7101\"");
    }
    if message.starts_with(UNKNOWN_KEY) {
        return match meant(message) {
            Some(meant) => format!("{message}; did you mean `{meant}`?"),
            None => message.to_owned(),
        };
    }
    for (rust, accepted) in TYPES {
        if let Some(start) = message.strip_suffix(rust).and_then(|start| start.strip_suffix(", expected ")) {
            let found = start.trim_start_matches("invalid type: ").trim_start_matches("invalid value: ");
            return format!("found {found}, accepted: {accepted}");
        }
    }
    message.to_owned()
}

/// The known key that is nearest to the unknown one, if it is near: of the texts in backticks, the first is what was found.
fn meant(message: &str) -> Option<&str> {
    let mut names = message.split('`').skip(1).step_by(2);
    let found = names.next()?;
    let (distance, nearest) = names.map(|name| (distance(found, name), name)).min()?;
    (distance <= (found.chars().count() / 3).max(1)).then_some(nearest)
}

/// Characters to insert, delete or replace to make one text of the other (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (done, character) in from.chars().enumerate() {
        let mut diagonal = done;
        let mut left = done + 1;
        let mut next = vec![left];
        for (above, other) in row.iter().skip(1).zip(to.chars()) {
            left = (diagonal + usize::from(character != other)).min(left + 1).min(above + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_differ_by_what_has_to_be_changed() {
        for (from, to, expected) in
            [("", "abc", 3), ("abc", "", 3), ("window", "window", 0), ("widnow", "window", 2), ("windw", "window", 1)]
        {
            assert_eq!(distance(from, to), expected, "{from} {to}");
        }
    }

    #[test]
    fn the_readers_words_become_an_operators() {
        for (message, found, expected) in [
            (
                "invalid socket address syntax",
                Some("nowhere"),
                "found \"nowhere\", accepted: ADDRESS:PORT, such as \"127.0.0.1:7101\" or \"[::1]:7101\"",
            ),
            (
                "invalid type: string \"many\", expected usize",
                None,
                "found string \"many\", accepted: a whole number, 0 or more",
            ),
            (
                "invalid value: integer `70000`, expected u16",
                None,
                "found integer `70000`, accepted: a whole number, 0 to 65535",
            ),
            (
                "unknown field `windw`, expected one of `listen`, `window`",
                None,
                "unknown field `windw`, expected one of `listen`, `window`; did you mean `window`?",
            ),
            ("unknown field `colour`, expected `window`", None, "unknown field `colour`, expected `window`"),
        ] {
            assert_eq!(explain(message, found), expected);
        }
    }
}
