//! Answers as tables for people or JSON for scripts.

use std::io::Write;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::time;

/// One value, shown in either form.
pub enum Cell {
    Text(String),
    Number(i64),
    /// UTC microseconds; 0: never.
    Time(i64),
    Octets(Bytes),
    Flag(bool),
}

impl Cell {
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    fn shown(&self) -> String {
        match self {
            Self::Text(text) => printable(text),
            Self::Number(number) => number.to_string(),
            Self::Time(micros) => time::show(*micros),
            Self::Octets(octets) => hexadecimal(octets),
            Self::Flag(flag) => if *flag { "yes" } else { "" }.to_owned(),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Text(text) => text.as_str().into(),
            Self::Number(number) | Self::Time(number) => (*number).into(),
            Self::Octets(octets) => hexadecimal(octets).into(),
            Self::Flag(flag) => (*flag).into(),
        }
    }
}

/// A name from a card must not move the cursor.
fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '\u{FFFD}' } else { character }).collect()
}

fn hexadecimal(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02X}")).collect()
}

/// Rows with the names of their columns.
pub struct Table {
    columns: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
    /// What is said when there are no rows.
    empty: &'static str,
}

impl Table {
    pub fn new(columns: &[&'static str], empty: &'static str) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new(), empty }
    }

    /// As many cells as there are columns.
    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// For people; columns that are empty in every row are left out.
    pub fn render(&self) -> String {
        if self.rows.is_empty() {
            return format!("{}\n", self.empty);
        }
        let shown: Vec<Vec<String>> = self.rows.iter().map(|row| row.iter().map(Cell::shown).collect()).collect();
        let width = |column: usize| {
            let widest = shown.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
            widest
                .filter(|widest| *widest > 0)
                .map(|widest| widest.max(self.columns.get(column).map_or(0, |name| name.chars().count())))
        };
        let widths: Vec<Option<usize>> = (0..self.columns.len()).map(width).collect();
        let numeric = |column: usize| self.rows.iter().all(|row| matches!(row.get(column), Some(Cell::Number(_))));
        let mut text = String::new();
        let heads: Vec<String> = self.columns.iter().map(|name| name.to_uppercase()).collect();
        for row in std::iter::once(&heads).chain(&shown) {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let Some(Some(width)) = widths.get(column) else { continue };
                let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
                let (before, after) = if numeric(column) { (padding.as_str(), "") } else { ("", padding.as_str()) };
                line.push_str(&format!("{before}{cell}{after}  "));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    fn json(&self) -> Value {
        let object = |row: &Vec<Cell>| {
            let fields = self.columns.iter().zip(row).map(|(name, cell)| (name.replace(' ', "_"), cell.json()));
            Value::Object(fields.collect::<Map<_, _>>())
        };
        Value::Array(self.rows.iter().map(object).collect())
    }

    /// One name and value per line, for a single thing.
    pub fn render_single(&self) -> String {
        let Some(row) = self.rows.first() else { return format!("{}\n", self.empty) };
        let shown: Vec<(&str, String)> = self.columns.iter().copied().zip(row.iter().map(Cell::shown)).collect();
        let width = shown.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let lines = shown.iter().filter(|(_, value)| !value.is_empty());
        lines.map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
    }
}

/// Writes answers in the form asked for.
pub struct Output {
    pub json: bool,
}

impl Output {
    pub fn table(&self, table: &Table) -> std::io::Result<()> {
        self.write(&if self.json { pretty(&table.json()) } else { table.render() })
    }

    /// A line for people above the table.
    pub fn headed(&self, head: &str, table: &Table) -> std::io::Result<()> {
        self.write(&if self.json { pretty(&table.json()) } else { format!("{head}\n{}", table.render()) })
    }

    /// A table of one row.
    pub fn single(&self, table: &Table) -> std::io::Result<()> {
        let first = || table.json().as_array().and_then(|rows| rows.first().cloned()).unwrap_or(Value::Null);
        self.write(&if self.json { pretty(&first()) } else { table.render_single() })
    }

    /// A table of one row, and a list that belongs to it.
    pub fn single_with(&self, table: &Table, name: &str, list: &Table) -> std::io::Result<()> {
        if !self.json {
            return self.write(&format!("{}\n{}", table.render_single(), list.render()));
        }
        let mut value = table.json().as_array().and_then(|rows| rows.first().cloned()).unwrap_or(Value::Null);
        if let Value::Object(fields) = &mut value {
            fields.insert(name.to_owned(), list.json());
        }
        self.write(&pretty(&value))
    }

    /// Several lists, one below the other.
    pub fn lists(&self, lists: &[(&str, &Table)]) -> std::io::Result<()> {
        if !self.json {
            let shown: Vec<String> = lists.iter().map(|(_, list)| list.render()).collect();
            return self.write(&shown.join("\n"));
        }
        let fields = lists.iter().map(|(name, list)| (name.replace(' ', "_"), list.json()));
        self.write(&pretty(&Value::Object(fields.collect())))
    }

    /// A closed pipe (`| head`) is no error.
    fn write(&self, text: &str) -> std::io::Result<()> {
        match std::io::stdout().lock().write_all(text.as_bytes()) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["record", "name", "note", "data"], "no records");
        table.row(vec![Cell::Number(3), Cell::text("ANNA\u{1b}[2J"), Cell::text(""), Cell::Octets(vec![0xFF].into())]);
        table.row(vec![Cell::Number(12), Cell::text("Bo"), Cell::text(""), Cell::Octets(vec![1, 2].into())]);
        table
    }

    #[test]
    fn a_table_lines_up_and_leaves_out_what_is_empty() {
        let expected = "RECORD  NAME      DATA\n     3  ANNA\u{FFFD}[2J  FF\n    12  Bo        0102\n";
        assert_eq!(table().render(), expected);
        assert_eq!(Table::new(&["record"], "no records").render(), "no records\n");
        assert_eq!(table().render_single(), "record  3\nname    ANNA\u{FFFD}[2J\ndata    FF\n");
    }

    #[test]
    fn json_keeps_numbers_and_names() {
        let json = table().json();
        assert_eq!(json[1]["record"], 12);
        assert_eq!(json[1]["data"], "0102");
    }
}
