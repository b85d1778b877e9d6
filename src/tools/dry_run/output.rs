//! What is printed: rows as they are emitted, or what holds at the end.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;

use uuid::Uuid;

use super::DryRunError;
use super::partitions::{Emitted, Output};
use crate::codec;
use crate::codec::json::Row;

/// Prints rows, and counts what it has printed.
pub(super) struct Printer<W> {
    output: W,
    current: Option<Current>,
    printed: BTreeMap<&'static str, u64>,
}

/// The last version of each row, in the order of their first.
#[derive(Default)]
struct Current {
    places: HashMap<(&'static str, Uuid), usize>,
    rows: Vec<(&'static str, Option<Vec<u8>>)>,
}

impl<W: Write> Printer<W> {
    pub(super) fn new(output: W, is_current: bool) -> Self {
        let current = is_current.then(Current::default);
        Self { output, current, printed: BTreeMap::new() }
    }

    /// Whoever reads sees all rows up to here.
    pub(super) fn flush(&mut self) -> Result<(), DryRunError> {
        self.output.flush().map_err(DryRunError::Write)
    }

    /// No row will follow.
    pub(super) fn finish(&mut self) -> Result<(), DryRunError> {
        for (topic, line) in self.current.take().into_iter().flat_map(|current| current.rows) {
            if let Some(line) = line {
                write(&mut self.output, &mut self.printed, topic, &line)?;
            }
        }
        self.flush()
    }

    /// The rows printed, by topic.
    pub(super) fn summary(&self) -> String {
        let counts: Vec<String> =
            self.printed.iter().map(|(topic, count)| format!("{count} {topic}")).collect();
        if counts.is_empty() { "none".to_owned() } else { counts.join(", ") }
    }
}

impl<W: Write> Output for Printer<W> {
    fn row(&mut self, row: &Emitted<'_>) -> Result<(), DryRunError> {
        let (_, value) = codec::decode_generic(Some(row.value))?;
        let mut line = serde_json::to_vec(&Row { topic: row.topic, value: &value })?;
        line.push(b'\n');
        match &mut self.current {
            None => write(&mut self.output, &mut self.printed, row.topic, &line),
            Some(current) => {
                current.put(row, line);
                Ok(())
            }
        }
    }
}

impl Current {
    fn put(&mut self, row: &Emitted<'_>, line: Vec<u8>) {
        let end = self.rows.len();
        // What has no versions is a row of its own.
        let Some((id, retracted)) = row.version else { return self.rows.push((row.topic, Some(line))) };
        let line = (!retracted).then_some(line);
        match *self.places.entry((row.topic, id)).or_insert(end) {
            // A row lives in one partition, where versions grow (I6).
            place if place < end => self.rows[place].1 = line,
            _ => self.rows.push((row.topic, line)),
        }
    }
}

fn write(
    output: &mut impl Write,
    printed: &mut BTreeMap<&'static str, u64>,
    topic: &'static str,
    line: &[u8],
) -> Result<(), DryRunError> {
    *printed.entry(topic).or_default() += 1;
    output.write_all(line).map_err(DryRunError::Write)
}
