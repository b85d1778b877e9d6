//! What came of a rebuild: as text for people, as JSON for programs.

use std::fmt;

use serde::Serialize;

/// What came of the rebuild of a table.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The table.
    pub table: String,
    /// The topic that it is the projection of.
    pub topic: String,
    /// Records of the topic that were replayed.
    pub records: u64,
    /// Of them, those that have no row: time marks, and what the sink has passed over or made dead letters of.
    pub records_without_row: u64,
    /// Of the records, those that the sinks had not committed when the comparison began: it is as of before them.
    pub records_pending: u64,
    /// Rows that were compared: those that are equal and those that are different.
    pub compared: u64,
    /// Of the rows that were looked at, those that are retracted.
    pub retracted: u64,
    /// Rows that are equal in every column that comes from the log.
    pub equal: u64,
    /// Rows that are not.
    pub different: Different,
    /// The first rows that are different.
    pub examples: Vec<Example>,
    /// Rows that were not compared.
    pub excluded: Vec<Excluded>,
    /// An earlier swap was cut short, and this run has completed it.
    pub completed: bool,
    /// The table is the rebuilt one now.
    pub swapped: bool,
}

/// How many rows are different, by how.
#[derive(Debug, Default, Serialize)]
pub struct Different {
    /// In both, and not the same.
    pub changed: u64,
    /// Not in the table.
    pub missing: u64,
    /// In the table, and not in the log.
    pub extra: u64,
}

impl Different {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.changed + self.missing + self.extra
    }

    pub(super) fn add(&mut self, kind: Kind) {
        match kind {
            Kind::Changed => self.changed += 1,
            Kind::Missing => self.missing += 1,
            Kind::Extra => self.extra += 1,
        }
    }
}

/// How a row is different.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It is in both, and not the same.
    Changed,
    /// It is not in the table.
    Missing,
    /// It is in the table, and not in the log.
    Extra,
}

/// A row that is different.
#[derive(Debug, Serialize)]
pub struct Example {
    /// Its sorting key.
    pub row: String,
    /// How it is different.
    pub kind: Kind,
    /// Where it was changed: the columns that differ.
    pub columns: Vec<Column>,
}

/// A column that differs, with the first characters of its values.
#[derive(Debug, Serialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What the table has.
    pub table: String,
    /// What the log gives.
    pub log: String,
}

/// Rows that were not compared.
#[derive(Debug, Serialize)]
pub struct Excluded {
    /// How many.
    pub rows: u64,
    /// The reason, as text.
    pub why: String,
}

impl Report {
    /// Whether the table is what its log gives, as far as rows were compared.
    pub fn is_equal(&self) -> bool {
        self.different.total() == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let excluded: u64 = self.excluded.iter().map(|excluded| excluded.rows).sum();
        let different = self.different.total();
        writeln!(
            out,
            "{}: {} rows compared, {} equal, {different} different, {excluded} excluded",
            self.table, self.compared, self.equal
        )?;
        if different > 0 {
            let Different { changed, missing, extra } = self.different;
            writeln!(
                out,
                "  different: {changed} changed, {missing} missing in the table, {extra} not in the log"
            )?;
        }
        for Example { row, kind, columns } in &self.examples {
            match kind {
                Kind::Missing => writeln!(out, "    {row} is missing in the table")?,
                Kind::Extra => writeln!(out, "    {row} is not in the log")?,
                Kind::Changed => {
                    writeln!(out, "    {row} is changed")?;
                    for Column { name, table, log } in columns {
                        writeln!(out, "      {name}: {table:?} in the table, {log:?} by the log")?;
                    }
                }
            }
        }
        if different > self.examples.len() as u64 && !self.examples.is_empty() {
            writeln!(out, "    … and {} more", different - self.examples.len() as u64)?;
        }
        for Excluded { rows, why } in &self.excluded {
            writeln!(out, "  excluded: {rows}, {why}")?;
        }
        write!(out, "  by {} records of the topic {}", self.records, self.topic)?;
        if self.records_without_row > 0 {
            write!(out, ", {} of them without a row", self.records_without_row)?;
        }
        writeln!(out, "; {} of the rows are retracted", self.retracted)?;
        if self.records_pending > 0 {
            writeln!(
                out,
                "  as of before {} of these records, which no sink had committed when it began",
                self.records_pending
            )?;
        }
        if self.completed {
            writeln!(out, "  a swap that had been cut short was completed first")?;
        }
        if self.swapped {
            writeln!(out, "  swapped: the table is the rebuilt one now")?;
        }
        Ok(())
    }
}
