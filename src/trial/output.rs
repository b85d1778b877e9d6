//! What is printed: rows as they are emitted, or what holds at the end.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;

use uuid::Uuid;

use super::TrialError;
use crate::codec;
use crate::codec::json::Row;
use crate::worker::OutputRow;

/// Prints rows, and counts what it has printed.
pub(super) struct Printer<W> {
    output: W,
    current: Option<Current>,
    printed: BTreeMap<&'static str, u64>,
    avro: Vec<u8>,
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
        Self { output, current, printed: BTreeMap::new(), avro: Vec::new() }
    }

    /// A row has been emitted.
    pub(super) fn print<R: OutputRow>(&mut self, row: &R) -> Result<(), TrialError> {
        self.avro.clear();
        row.encode(&mut self.avro)?;
        let (_, value) = codec::decode_generic(Some(&self.avro))?;
        let mut line = serde_json::to_vec(&Row { topic: row.topic(), value: &value })?;
        line.push(b'\n');
        match &mut self.current {
            None => write(&mut self.output, &mut self.printed, row.topic(), &line),
            Some(current) => {
                current.put(row, line);
                Ok(())
            }
        }
    }

    /// Whoever reads sees all rows up to here.
    pub(super) fn flush(&mut self) -> Result<(), TrialError> {
        self.output.flush().map_err(TrialError::Write)
    }

    /// No row will follow.
    pub(super) fn finish(&mut self) -> Result<(), TrialError> {
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

impl Current {
    fn put<R: OutputRow>(&mut self, row: &R, line: Vec<u8>) {
        let end = self.rows.len();
        // What has no versions is a row of its own.
        let Some(meta) = row.meta() else { return self.rows.push((row.topic(), Some(line))) };
        let line = (!meta.retracted).then_some(line);
        match *self.places.entry((row.topic(), meta.id)).or_insert(end) {
            // A row lives in one partition, where versions grow (I6).
            place if place < end => self.rows[place].1 = line,
            _ => self.rows.push((row.topic(), line)),
        }
    }
}

fn write(
    output: &mut impl Write,
    printed: &mut BTreeMap<&'static str, u64>,
    topic: &'static str,
    line: &[u8],
) -> Result<(), TrialError> {
    *printed.entry(topic).or_default() += 1;
    output.write_all(line).map_err(TrialError::Write)
}
