//! Lists of values as rows of a statement.

use tokio_postgres::types::ToSql;

use super::times::At;

/// An array, as the parameter of a statement.
pub type Array<'a> = Box<dyn ToSql + Sync + Send + 'a>;

/// A value of which Postgres is told the type by name.
pub trait Value: ToSql + Sync + Send {
    const TYPE: &'static str;
}

macro_rules! values {
    ($($rust:ty => $sql:literal),*) => { $(impl Value for $rust { const TYPE: &'static str = $sql; })* };
}
values!(i64 => "bigint", i32 => "integer", i16 => "smallint", bool => "boolean", String => "text", &str => "text",
    Vec<u8> => "bytea", At => "timestamptz");

impl<V: Value> Value for Option<V> {
    const TYPE: &'static str = V::TYPE;
}

/// Rows of a statement: an array for each column, all of the same length.
///
/// The first column leads: it is unnested, and its row's number is the subscript into the others. `UNNEST` of many arrays is
/// a function scan, with a store for its tuples, for each of them: for a batch of few rows that costs more than writing
/// them. A subscript is found by walking when the values have no fixed size, so the first column is best the longest one.
pub struct Rows<'a, T> {
    items: &'a [T],
    columns: Vec<(&'static str, &'static str)>,
    arrays: Vec<Array<'a>>,
}

impl<'a, T> Rows<'a, T> {
    pub fn of(items: &'a [T]) -> Self {
        Self { items, columns: Vec::new(), arrays: Vec::new() }
    }

    /// Adds a column.
    pub fn with<V: Value + 'a>(mut self, name: &'static str, value: impl Fn(&'a T) -> V) -> Self {
        self.columns.push((name, V::TYPE));
        self.arrays.push(Box::new(self.items.iter().map(value).collect::<Vec<V>>()));
        self
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// As a table named `u`; its arrays are the parameters from `$first` on. Its column `ordinality` counts the rows from 1.
    pub fn table(&self, first: usize) -> String {
        let columns = self.columns.iter().enumerate();
        let each: Vec<String> = columns
            .map(|(at, (name, ty))| match at {
                0 => format!("k.v AS {name}"),
                _ => format!("(${}::{ty}[])[k.i] AS {name}", first + at),
            })
            .collect();
        let leads = self.columns.first().map_or("", |(_, ty)| ty);
        format!(
            "(SELECT k.i AS ordinality, {} FROM UNNEST(${first}::{leads}[]) WITH ORDINALITY AS k(v, i)) AS u",
            each.join(", ")
        )
    }

    /// `INSERT INTO table`, the columns having its names.
    pub fn insert_into(&self, table: &str, first: usize) -> String {
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| *name).collect();
        let names = names.join(", ");
        format!("INSERT INTO {table} ({names}) SELECT {names} FROM {}", self.table(first))
    }

    pub fn into_arrays(self) -> Vec<Array<'a>> {
        self.arrays
    }

    /// The arrays as the parameters of a statement that has no others.
    pub fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        params(&self.arrays)
    }
}

/// Arrays as the parameters of a statement.
pub fn params<'a>(arrays: &'a [Array<'_>]) -> Vec<&'a (dyn ToSql + Sync)> {
    arrays.iter().map(|array| -> &(dyn ToSql + Sync) { array.as_ref() }).collect()
}
