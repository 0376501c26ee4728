//! Tables for a terminal: two spaces between columns, numbers to the right, a rule under the header.

/// Rows of equal width under a header.
#[derive(Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    #[must_use]
    pub fn new(header: &[&str]) -> Self {
        Self { rows: vec![header.iter().map(ToString::to_string).collect()] }
    }

    pub fn row<T: ToString>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.rows.push(cells.into_iter().map(|cell| cell.to_string()).collect());
    }

    /// The table as lines, without a trailing line feed.
    #[must_use]
    pub fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cell = |row: &Vec<String>, column: usize| row.get(column).cloned().unwrap_or_default();
        let widths: Vec<usize> = (0..columns)
            .map(|column| self.rows.iter().map(|row| cell(row, column).chars().count()).max().unwrap_or(0))
            .collect();
        let numeric: Vec<bool> =
            (0..columns).map(|column| self.rows.iter().skip(1).all(|row| is_number(&cell(row, column)))).collect();
        let mut lines: Vec<String> = Vec::new();
        for row in &self.rows {
            let cells = widths.iter().zip(&numeric).enumerate().map(|(column, (&width, &is_numeric))| {
                let text = cell(row, column);
                if is_numeric { format!("{text:>width$}") } else { format!("{text:<width$}") }
            });
            lines.push(cells.collect::<Vec<_>>().join("  ").trim_end().to_owned());
        }
        let rule: Vec<String> = widths.iter().map(|&width| "─".repeat(width)).collect();
        lines.insert(1.min(lines.len()), rule.join("  "));
        lines.join("\n")
    }
}

/// Starts with a digit, or is empty or a dash: such columns stand to the right.
fn is_number(cell: &str) -> bool {
    cell.is_empty() || cell == "–" || cell.starts_with(|first: char| first.is_ascii_digit() || first == '-')
}

/// `12345678` as `12 345 678`.
#[must_use]
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Table, thousands};

    #[test]
    fn columns_of_numbers_stand_to_the_right() {
        let mut table = Table::new(&["bearer", "books"]);
        table.row(["SMS", "150"]);
        table.row(["IP", "7"]);
        assert_eq!(table.render(), "bearer  books\n──────  ─────\nSMS       150\nIP          7");
        assert_eq!(thousands(1_234_567), "1 234 567");
    }
}
