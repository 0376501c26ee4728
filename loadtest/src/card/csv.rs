//! A phonebook as a table: record, name, number. Fields may stand in quotation marks (RFC 4180), on one line each.

use std::collections::BTreeMap;

use uicc::phonebook::Contact;

/// The first line.
pub const HEADER: &str = "record,name,number";

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// From 1, the header's.
    pub line: usize,
    pub record: u8,
    pub contact: Contact,
}

/// What is wrong with a line, and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}{}: {problem}", column.map(|column| format!(", column {column}")).unwrap_or_default())]
pub struct BadRow {
    pub line: usize,
    pub column: Option<&'static str>,
    pub problem: String,
}

impl BadRow {
    pub fn new(line: usize, column: &'static str, problem: impl Into<String>) -> Self {
        Self { line, column: Some(column), problem: problem.into() }
    }

    fn whole(line: usize, problem: impl Into<String>) -> Self {
        Self { line, column: None, problem: problem.into() }
    }
}

/// Reads a table for a card of so many records. Empty lines do not count.
///
/// # Errors
/// The first line that is wrong.
pub fn read(text: &str, records: u8) -> Result<Vec<Row>, BadRow> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let (first, header) = lines.next().unwrap_or((1, ""));
    let header: Vec<String> = fields(header).map_err(|problem| BadRow::whole(first, problem))?;
    if header.iter().map(|name| name.trim()).ne(HEADER.split(',')) {
        return Err(BadRow::whole(first, format!("expected the header {HEADER}")));
    }
    let mut rows = Vec::new();
    let mut taken = BTreeMap::new();
    for (line, text) in lines {
        let row = row(line, text, records)?;
        if let Some(before) = taken.insert(row.record, line) {
            return Err(BadRow::new(line, "record", format!("record {} is in line {before} already", row.record)));
        }
        rows.push(row);
    }
    Ok(rows)
}

/// The table of these entries, as [`read`] takes it.
pub fn write(contacts: &[(u8, Contact)]) -> String {
    let mut text = format!("{HEADER}\n");
    for (record, Contact { name, number }) in contacts {
        text.push_str(&format!("{record},{},{}\n", quoted(name), quoted(number)));
    }
    text
}

fn row(line: usize, text: &str, records: u8) -> Result<Row, BadRow> {
    let fields = fields(text).map_err(|problem| BadRow::whole(line, problem))?;
    let [record, name, number] = fields.as_slice() else {
        return Err(BadRow::whole(line, format!("{} fields, expected 3: {HEADER}", fields.len())));
    };
    let wanted = || BadRow::new(line, "record", format!("{record:?}, expected a whole number, 1 to {records}"));
    let record = record.trim().parse().ok().filter(|number| (1..=records).contains(number)).ok_or_else(wanted)?;
    let contact = Contact { name: name.clone(), number: number.trim().to_owned() };
    Ok(Row { line, record, contact })
}

/// The fields of a line, out of their quotation marks.
fn fields(line: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(inside) => unquoted(inside)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                let (field, after) = rest.split_at(end);
                (field.to_owned(), after)
            }
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(fields),
            None => return Err(format!("{after:?} behind a quotation mark, expected a comma or the end of the line")),
        }
    }
}

/// A field up to its closing quotation mark, and what follows; two marks are one of the field's own.
fn unquoted(inside: &str) -> Result<(String, &str), String> {
    let mut field = String::new();
    let mut rest = inside;
    loop {
        let Some((before, after)) = rest.split_once('"') else {
            return Err("a quotation mark is not closed on its line".to_owned());
        };
        field.push_str(before);
        let Some(next) = after.strip_prefix('"') else { return Ok((field, after)) };
        field.push('"');
        rest = next;
    }
}

/// In quotation marks where it would not be read back without.
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\r', '\n']) || field.trim() != field {
        // A line break cannot stand in a line; no phone shows one.
        format!("\"{}\"", field.replace('"', "\"\"").replace(['\r', '\n'], " "))
    } else {
        field.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact(name: &str, number: &str) -> Contact {
        Contact { name: name.to_owned(), number: number.to_owned() }
    }

    #[test]
    fn a_table_is_read_and_written_back() {
        let text = "record,name,number\r\n1,Alice,+491721217212\r\n\r\n7,\"O\"\"Neil, Ann\",112\r\n9,,*100#\r\n";
        let rows = read(&format!("\u{feff}{text}"), 250).expect("a table");
        let lines: Vec<usize> = rows.iter().map(|row| row.line).collect();
        assert_eq!(lines, [2, 4, 5]);
        let contacts: Vec<(u8, Contact)> = rows.into_iter().map(|row| (row.record, row.contact)).collect();
        assert_eq!(
            contacts,
            [(1, contact("Alice", "+491721217212")), (7, contact("O\"Neil, Ann", "112")), (9, contact("", "*100#"))]
        );
        let written = write(&contacts);
        assert_eq!(written, text.replace("\r\n\r\n", "\n").replace("\r\n", "\n"));
        let again = read(&written, 250).expect("a table");
        assert!(again.iter().map(|row| (row.record, &row.contact)).eq(contacts.iter().map(|(n, c)| (*n, c))));
    }

    #[test]
    fn what_is_wrong_is_told_with_line_and_column() {
        for (text, expected) in [
            ("", "line 1: expected the header record,name,number"),
            ("name,number\n", "line 1: expected the header record,name,number"),
            ("record,name,number\n1,A\n", "line 2: 2 fields, expected 3: record,name,number"),
            ("record,name,number\n\nx,A,1\n", "line 3, column record: \"x\", expected a whole number, 1 to 20"),
            ("record,name,number\n21,A,1\n", "line 2, column record: \"21\", expected a whole number, 1 to 20"),
            ("record,name,number\n1,A,1\n1,B,2\n", "line 3, column record: record 1 is in line 2 already"),
            ("record,name,number\n1,\"A,1\n", "line 2: a quotation mark is not closed on its line"),
            (
                "record,name,number\n1,\"A\"B,1\n",
                "line 2: \"B,1\" behind a quotation mark, expected a comma or the end of the line",
            ),
        ] {
            assert_eq!(read(text, 20).expect_err("wrong").to_string(), expected);
        }
    }
}
