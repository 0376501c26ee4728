//! Backups in blocks with pauses, as a table.

use proto::centre;

use crate::output::{Cell, Table};

/// Newest first, as the server gives them.
pub fn table(sessions: &[centre::Session]) -> Table {
    let columns = [
        "session", "variant", "state", "received", "blocks", "missing", "delay_s", "started", "updated", "next", "note",
    ];
    let mut table = Table::new(&columns, "no backups in blocks");
    for session in sessions {
        let optional = |micros: i64| if micros == 0 { Cell::text("") } else { Cell::Time(micros) };
        table.row(vec![
            Cell::Number(session.number.into()),
            Cell::text(&session.variant),
            Cell::text(&session.state),
            Cell::Number(session.received.into()),
            Cell::Number(session.blocks.into()),
            Cell::text(ranges(&session.missing)),
            Cell::Number(session.delay_seconds.into()),
            Cell::Time(session.started_micros),
            Cell::Time(session.updated_micros),
            optional(session.next_micros),
            Cell::text(if session.failed { "blocks were refused" } else { "" }),
        ]);
    }
    table
}

/// `4-6 9`: numbers in ascending order, runs of them as one.
fn ranges(numbers: &[u32]) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for &number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let shown = |(first, last): &(u32, u32)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    ranges.iter().map(shown).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_shown_with_what_is_missing() {
        let session = centre::Session {
            number: 7,
            variant: "server_countdown".to_owned(),
            state: "counting".to_owned(),
            blocks: 10,
            received: 6,
            missing: vec![4, 5, 6, 9],
            ..centre::Session::default()
        };
        let shown = table(&[session]).render();
        assert!(shown.contains("server_countdown") && shown.contains("counting") && shown.contains("4-6 9"), "{shown}");
    }
}
