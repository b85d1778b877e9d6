//! The records behind a row (I8), as the state keeps them: offsets, for topic and partition are the task's.

use serde::{Deserialize, Serialize};

use crate::engine::rows::Evidence;

/// The first 8 and the last 24 records behind a row, and how many there were.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceState {
    count: u64,
    offsets: Vec<i64>,
}

impl EvidenceState {
    /// How many of the first are kept.
    pub const FIRST: usize = 8;
    /// How many of the last.
    pub const LAST: usize = 24;

    /// Of records in the order of the log, and of `beyond` more between them whose offsets are not kept.
    pub fn of(offsets: impl Iterator<Item = i64>, beyond: u64) -> Self {
        let mut evidence = Self { count: beyond, ..Self::default() };
        for offset in offsets {
            evidence.push(offset);
        }
        evidence
    }

    /// Adds a record; they come in the order of the log.
    pub(super) fn push(&mut self, offset: i64) {
        self.count += 1;
        self.keep(offset);
    }

    fn keep(&mut self, offset: i64) {
        if self.offsets.len() == Self::FIRST + Self::LAST {
            self.offsets.remove(Self::FIRST);
        }
        self.offsets.push(offset);
    }

    /// How many records there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Takes in the records of another row that this one absorbs. Of what neither keeps any more, only the count is left.
    pub fn merge(&mut self, other: &Self) {
        let mut kept = [&self.offsets[..], &other.offsets].concat();
        kept.sort_unstable();
        self.count += other.count;
        self.offsets.clear();
        for offset in kept {
            self.keep(offset);
        }
    }

    /// As a row carries it.
    pub(super) fn to_row(&self, topic: &str, partition: i32) -> Evidence {
        Evidence {
            count: i64::try_from(self.count).unwrap_or(i64::MAX),
            topic: topic.into(),
            partition,
            offsets: self.offsets.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition: the first 8, and of the others the last 24.
    fn model(offsets: &[i64]) -> Vec<i64> {
        let (first, rest) = offsets.split_at(offsets.len().min(8));
        [first, &rest[rest.len().saturating_sub(24)..]].concat()
    }

    proptest! {
        #[test]
        fn i8_the_first_8_and_the_last_24_of_all(owners in proptest::collection::vec(any::<bool>(), 0..120)) {
            let (mut one, mut other, mut whole) = (EvidenceState::default(), EvidenceState::default(), Vec::new());
            for (offset, is_one) in owners.iter().enumerate() {
                let evidence = if *is_one { &mut one } else { &mut other };
                evidence.push(offset as i64);
                whole.push(offset as i64);
            }
            let of_one: Vec<i64> = whole.iter().copied().filter(|offset| owners[*offset as usize]).collect();
            prop_assert_eq!(&one.offsets, &model(&of_one));
            one.merge(&other);
            prop_assert_eq!(one.count(), owners.len() as u64);
            prop_assert_eq!(one.to_row("t", 0).offsets, model(&whole), "the first and the last of a merger are those of all");
        }
    }
}
