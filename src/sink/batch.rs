//! Rows on their way to the tables, kept by partition until they are written: a partition that goes to another
//! sink takes its unwritten rows with it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::config::SinkConfig;

/// A partition of one of the sink's topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Partition {
    /// The topic: its position among the sink's sources.
    pub source: usize,
    /// The partition.
    pub number: i32,
}

/// The offset behind the last record of each partition: what a group commits.
pub type Offsets = BTreeMap<Partition, i64>;

/// A dead letter, encoded.
#[derive(Debug, Clone)]
pub struct Letter {
    /// The key of the record that it is about.
    pub key: Option<Vec<u8>>,
    /// The letter.
    pub value: Vec<u8>,
}

/// What came of the records that were read since the last batch.
#[derive(Debug, Default)]
pub struct Batch {
    partitions: BTreeMap<Partition, Part>,
    /// Of all partitions.
    size: Size,
    since: Option<Instant>,
}

#[derive(Debug, Default)]
struct Part {
    rows: Piece,
    letters: Vec<Letter>,
    size: Size,
    next_offset: i64,
}

/// How much there is to write: rows and letters, and what they take in memory.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Size {
    rows: usize,
    bytes: usize,
}

impl Size {
    fn grow(&mut self, bytes: usize) {
        self.rows += 1;
        self.bytes += bytes;
    }
}

/// A batch that is complete: what goes to each table, and what is committed when all is there.
#[derive(Debug, Default)]
pub struct Load {
    /// By source.
    pub tables: BTreeMap<usize, Rows>,
    /// What goes to the topic of dead letters.
    pub letters: Vec<Letter>,
}

/// Rows of one table.
#[derive(Debug, Default)]
pub struct Rows {
    pieces: Vec<(i32, Piece)>,
}

/// Rows of one partition: their bytes, and of each the offset of its record and where its bytes end.
#[derive(Debug, Default)]
struct Piece {
    bytes: Vec<u8>,
    index: Vec<(i64, usize)>,
}

impl Rows {
    /// How many they are.
    pub fn count(&self) -> usize {
        self.pieces.iter().map(|(_, piece)| piece.index.len()).sum()
    }

    /// The bytes of those at some places, counted from 0, a slice a partition.
    pub fn bytes(&self, places: Range<usize>) -> impl Iterator<Item = &[u8]> {
        let mut first = 0;
        self.pieces.iter().filter_map(move |(_, piece)| {
            let length = piece.index.len();
            let within = |place: usize| place.clamp(first, first + length) - first;
            let (start, end) = (within(places.start), within(places.end));
            first += length;
            let ends_at = |count: usize| if count == 0 { 0 } else { piece.index[count - 1].1 };
            (start < end).then(|| &piece.bytes[ends_at(start)..ends_at(end)])
        })
    }

    /// Where the record of the row at a place lies: partition and offset.
    pub fn record(&self, mut place: usize) -> Option<(i32, i64)> {
        for (partition, piece) in &self.pieces {
            match piece.index.get(place) {
                Some((offset, _)) => return Some((*partition, *offset)),
                None => place -= piece.index.len(),
            }
        }
        None
    }
}

impl Batch {
    /// Adds the record at `offset`. `write` appends its row and says so, or says what else became of it; its error is
    /// passed on, and the batch is not to be used any more.
    pub fn add<E>(
        &mut self,
        partition: Partition,
        offset: i64,
        write: impl FnOnce(&mut Vec<u8>) -> Result<Outcome, E>,
    ) -> Result<(), E> {
        self.since.get_or_insert_with(Instant::now);
        let part = self.partitions.entry(partition).or_default();
        let before = part.rows.bytes.len();
        let bytes = match write(&mut part.rows.bytes)? {
            Outcome::Row => {
                let place = (offset, part.rows.bytes.len());
                part.rows.index.push(place);
                Some(place.1 - before + size_of_val(&place))
            }
            Outcome::Letter(letter) => {
                let bytes = letter.value.len();
                part.letters.push(letter);
                Some(bytes)
            }
            Outcome::Nothing => None,
        };
        if let Some(bytes) = bytes {
            part.size.grow(bytes);
            self.size.grow(bytes);
        }
        part.next_offset = offset + 1;
        Ok(())
    }

    /// Forgets what came of a partition.
    pub fn forget(&mut self, partition: Partition) {
        if let Some(part) = self.partitions.remove(&partition) {
            self.size.rows -= part.size.rows;
            self.size.bytes -= part.size.bytes;
        }
        if self.partitions.is_empty() {
            self.since = None;
        }
    }

    /// Whether nothing was read.
    pub fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    /// Whether it has as many rows or bytes as a batch may have.
    pub fn is_full(&self, limits: &SinkConfig) -> bool {
        self.size.rows >= limits.batch_rows || self.size.bytes >= limits.batch_bytes
    }

    /// When it is to be written for its age. `None` where nothing was read.
    pub fn due_at(&self, age: Duration) -> Option<Instant> {
        self.since.map(|since| since + age)
    }

    /// Takes what it holds, and leaves it empty.
    pub fn take(&mut self) -> (Load, Offsets) {
        let mut load = Load::default();
        let mut offsets = Offsets::new();
        for (partition, part) in std::mem::take(self).partitions {
            offsets.insert(partition, part.next_offset);
            load.letters.extend(part.letters);
            if !part.rows.index.is_empty() {
                let rows = load.tables.entry(partition.source).or_default();
                rows.pieces.push((partition.number, part.rows));
            }
        }
        (load, offsets)
    }
}

/// What became of a record.
#[derive(Debug)]
pub enum Outcome {
    /// A row.
    Row,
    /// A dead letter.
    Letter(Letter),
    /// Neither: it was counted and logged.
    Nothing,
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn row(byte: u8) -> impl FnOnce(&mut Vec<u8>) -> Result<Outcome, Infallible> {
        move |rows| {
            rows.push(byte);
            Ok(Outcome::Row)
        }
    }

    const A: Partition = Partition { source: 0, number: 0 };
    const B: Partition = Partition { source: 0, number: 1 };
    const C: Partition = Partition { source: 1, number: 0 };

    fn limits(batch_rows: usize, batch_bytes: usize) -> SinkConfig {
        let second = Duration::from_secs(1);
        SinkConfig { batch_rows, batch_bytes, batch_age: second, session_timeout: second }
    }

    #[test]
    fn rows_of_a_table_go_together() {
        let mut batch = Batch::default();
        batch.add(A, 7, row(1)).unwrap();
        batch.add(B, 3, row(2)).unwrap();
        batch.add(C, 9, row(3)).unwrap();
        batch.add(A, 8, row(4)).unwrap();
        let (load, offsets) = batch.take();
        assert_eq!(bytes(&load.tables[&0], 0..3), [vec![1, 4], vec![2]]);
        assert_eq!(bytes(&load.tables[&1], 0..1), [vec![3]]);
        assert_eq!(offsets, Offsets::from([(A, 9), (B, 4), (C, 10)]));
        assert!(batch.is_empty() && batch.due_at(Duration::ZERO).is_none());
    }

    fn bytes(rows: &Rows, places: Range<usize>) -> Vec<Vec<u8>> {
        rows.bytes(places).map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn rows_can_be_taken_apart() {
        let mut batch = Batch::default();
        let row = |text: &'static str| {
            move |rows: &mut Vec<u8>| {
                rows.extend_from_slice(text.as_bytes());
                Ok::<_, Infallible>(Outcome::Row)
            }
        };
        for (partition, offset, text) in [(A, 7, "a"), (B, 2, "bb"), (A, 9, "ccc"), (B, 3, ""), (B, 8, "d")] {
            batch.add(partition, offset, row(text)).unwrap();
        }
        let rows = &batch.take().0.tables[&0];
        assert_eq!(rows.count(), 5);
        let text =
            |places| rows.bytes(places).map(|bytes| str::from_utf8(bytes).unwrap()).collect::<Vec<_>>();
        assert_eq!(text(0..5), ["accc", "bbd"]);
        assert_eq!(text(1..3), ["ccc", "bb"]);
        assert_eq!(text(2..4), ["bb"]);
        assert_eq!(text(4..5), ["d"]);
        assert_eq!(text(2..2), [""; 0]);
        let records: Vec<_> = (0..6).map(|place| rows.record(place)).collect();
        let expected = [(0, 7), (0, 9), (1, 2), (1, 3), (1, 8)].map(Some);
        assert_eq!(records, [&expected[..], &[None]].concat());
    }

    #[test]
    fn a_revoked_partition_leaves_nothing() {
        let mut batch = Batch::default();
        batch.add(A, 7, row(1)).unwrap();
        batch.add(B, 3, row(2)).unwrap();
        batch.forget(A);
        let (load, offsets) = batch.take();
        assert_eq!(load.tables[&0].count(), 1);
        assert_eq!(offsets, Offsets::from([(B, 4)]));
        batch.add(A, 7, row(1)).unwrap();
        batch.forget(A);
        assert!(batch.is_empty() && batch.due_at(Duration::ZERO).is_none());
        assert_eq!(batch.size, Size::default());
    }

    #[test]
    fn letters_count_and_nothing_still_moves_on() {
        let mut batch = Batch::default();
        let letter = Letter { key: None, value: vec![0; 10] };
        batch.add(A, 0, |_| Ok::<_, Infallible>(Outcome::Letter(letter))).unwrap();
        batch.add(A, 1, |_| Ok::<_, Infallible>(Outcome::Nothing)).unwrap();
        assert!(batch.is_full(&limits(1, 100)) && batch.is_full(&limits(9, 10)));
        assert!(!batch.is_full(&limits(2, 11)));
        let (load, offsets) = batch.take();
        assert!(load.tables.is_empty());
        assert_eq!((load.letters.len(), offsets[&A]), (1, 2));
    }
}
