//! The records of a changelog: deltas, and the slices of checkpoints between a begin and an end.
//!
//! A delta is what a commit has changed. A checkpoint is all cells, written in slices with the commits that follow its begin while
//! the fold goes on. Cells are whole values, so reading on from the begin in the order of the log gives the state: what changed
//! after a slice was written follows it. A block that is larger than a record lies in several.

/// What a block of a changelog is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockKind {
    /// What a commit has changed.
    Delta,
    /// A checkpoint begins.
    Begin,
    /// Some cells of a checkpoint.
    Slice,
    /// The checkpoint that began last is complete.
    End,
    /// The job begins anew: nothing that was written before counts.
    Anew,
}

/// A block of a changelog: `number` counts a partition's deltas, and names the last one before a block of another kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block<'a> {
    /// What it is.
    pub kind: BlockKind,
    /// The number of the delta, or of the last one before.
    pub number: u64,
    /// Packed cells.
    pub cells: &'a [u8],
}

/// Why a record is none of a changelog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// It is of another form: an earlier version's, perhaps.
    #[error("it is of another form, an earlier version's perhaps: `tidewatch refold JOB` folds the log anew")]
    Form,
    /// A part of a block does not follow the one before it.
    #[error("part {part} of {parts} of block {number} does not follow what was read before it")]
    Part {
        /// The block's number.
        number: u64,
        /// The part, from 0.
        part: u32,
        /// How many there are.
        parts: u32,
    },
}

/// The first byte of each record: the form of all that follows, cells included.
const FORMAT: u8 = 4;
/// Format, kind, number, part, parts.
const HEADER: usize = 1 + 1 + 8 + 4 + 4;

impl Block<'_> {
    /// The records of which no one is longer than `limit`.
    pub fn records(&self, limit: usize, mut each: impl FnMut(&[u8])) {
        let Self { kind, number, cells } = self;
        let room = limit.saturating_sub(HEADER).max(1);
        let parts = cells.len().div_ceil(room).max(1) as u32;
        let mut record = Vec::with_capacity(HEADER + cells.len().min(room));
        for part in 0..parts {
            let start = part as usize * room;
            record.clear();
            record.push(FORMAT);
            record.push(*kind as u8);
            record.extend_from_slice(&number.to_le_bytes());
            record.extend_from_slice(&part.to_le_bytes());
            record.extend_from_slice(&parts.to_le_bytes());
            record.extend_from_slice(&cells[start..cells.len().min(start + room)]);
            each(&record);
        }
    }
}

/// Puts blocks together again from the records of a changelog, in their order.
#[derive(Debug, Default)]
pub struct BlockReader {
    cells: Vec<u8>,
    /// The block that is not whole yet: kind, number, the next part, how many there are.
    open: Option<(BlockKind, u64, u32, u32)>,
}

impl BlockReader {
    /// Takes the next record; the block that it completes.
    ///
    /// # Errors
    /// Where it is none of a changelog, or does not follow the record before.
    pub fn push(&mut self, record: &[u8]) -> Result<Option<Block<'_>>, FrameError> {
        let (kind, number, part, parts, cells) = parse(record).ok_or(FrameError::Form)?;
        let expected = self.open.take().unwrap_or((kind, number, 0, parts));
        if expected != (kind, number, part, parts) {
            return Err(FrameError::Part { number, part, parts });
        }
        if part == 0 {
            self.cells.clear();
        }
        self.cells.extend_from_slice(cells);
        if part + 1 < parts {
            self.open = Some((kind, number, part + 1, parts));
            return Ok(None);
        }
        Ok(Some(Block { kind, number, cells: &self.cells }))
    }
}

fn parse(record: &[u8]) -> Option<(BlockKind, u64, u32, u32, &[u8])> {
    let ([format, kind], rest) = record.split_first_chunk()?;
    let (number, rest) = rest.split_first_chunk()?;
    let (part, rest) = rest.split_first_chunk()?;
    let (parts, cells) = rest.split_first_chunk()?;
    let kind = match kind {
        0 => BlockKind::Delta,
        1 => BlockKind::Begin,
        2 => BlockKind::Slice,
        3 => BlockKind::End,
        4 => BlockKind::Anew,
        _ => return None,
    };
    let (part, parts) = (u32::from_le_bytes(*part), u32::from_le_bytes(*parts));
    let is_known = *format == FORMAT && part < parts;
    is_known.then(|| (kind, u64::from_le_bytes(*number), part, parts, cells))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_block_of_any_size_is_put_together_again(
            blocks in proptest::collection::vec((0_u8..5, any::<u64>(), proptest::collection::vec(any::<u8>(), 0..500)), 1..8),
            limit in 1_usize..200,
        ) {
            let kinds =
                [BlockKind::Delta, BlockKind::Begin, BlockKind::Slice, BlockKind::End, BlockKind::Anew];
            let mut reader = BlockReader::default();
            for (kind, number, cells) in &blocks {
                let block = Block { kind: kinds[usize::from(*kind)], number: *number, cells };
                let mut records = Vec::new();
                block.records(limit, |record| records.push(record.to_vec()));
                prop_assert!(records.iter().all(|record| record.len() <= limit.max(HEADER + 1)));
                let (last, before) = records.split_last().unwrap();
                for record in before {
                    prop_assert_eq!(reader.push(record), Ok(None));
                }
                prop_assert_eq!(reader.push(last), Ok(Some(block)));
            }
        }

        #[test]
        fn any_bytes_are_a_record_or_an_error(record in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = BlockReader::default().push(&record);
        }
    }

    #[test]
    fn a_part_that_is_missing_or_repeated_is_an_error() {
        let mut records = Vec::new();
        let cells = [7; 100];
        Block { kind: BlockKind::Delta, number: 1, cells: &cells }
            .records(50, |record| records.push(record.to_vec()));
        assert_eq!(records.len(), 4);
        for wrong in [[0, 2], [0, 0], [1, 2], [3, 0]] {
            let mut reader = BlockReader::default();
            let results = wrong.map(|place| reader.push(&records[place]).map(|block| block.is_some()));
            assert!(results.iter().any(Result::is_err), "{wrong:?}");
        }
    }
}
