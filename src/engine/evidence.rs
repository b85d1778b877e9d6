//! The records behind a row (I8), as the state keeps them: offsets and event ids, for the partition is known.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::engine::rows::{Evidence, RecordReference};

/// The first 8 and the last 24 records behind a row, and how many there were. A copy of it shares the ids: one is
/// made for each record, should that have to be undone.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceState {
    count: u64,
    first: Vec<(i64, Arc<str>)>,
    last: VecDeque<(i64, Arc<str>)>,
}

impl EvidenceState {
    /// How many of the first are kept.
    pub const FIRST: usize = 8;
    /// How many of the last.
    pub const LAST: usize = 24;

    /// Of records (offset, event id) in the order of the log, and of `beyond` more between them whose offsets are not kept.
    pub fn of(records: impl Iterator<Item = (i64, Arc<str>)>, beyond: u64) -> Self {
        let mut evidence = Self { count: beyond, ..Self::default() };
        for (offset, event_id) in records {
            evidence.count += 1;
            evidence.add(offset, event_id);
        }
        evidence
    }

    /// Adds a record; they come in the order of the log.
    pub(super) fn push(&mut self, offset: i64, event_id: &str) {
        self.count += 1;
        self.add(offset, event_id.into());
    }

    fn add(&mut self, offset: i64, event_id: Arc<str>) {
        if self.first.len() < Self::FIRST {
            self.first.push((offset, event_id));
            return;
        }
        if self.last.len() == Self::LAST {
            self.last.pop_front();
        }
        self.last.push_back((offset, event_id));
    }

    /// How many records there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Takes in the records of another row that this one absorbs. Of what neither keeps any more, only the count is left.
    pub fn merge(&mut self, other: &Self) {
        let mut kept: Vec<_> = [&self.first, &other.first].into_iter().flatten().cloned().collect();
        kept.extend([&self.last, &other.last].into_iter().flatten().cloned());
        kept.sort();
        let count = self.count + other.count;
        *self = Self { count, ..Self::default() };
        for (offset, event_id) in kept {
            self.add(offset, event_id);
        }
    }

    /// As a row carries it.
    pub(super) fn to_row(&self, topic: &Arc<str>, partition: i32) -> Evidence {
        let references = |kept: &mut dyn Iterator<Item = &(i64, Arc<str>)>| {
            let reference = |(offset, event_id): &(i64, Arc<str>)| RecordReference {
                topic: Arc::clone(topic),
                partition,
                offset: *offset,
                event_id: Arc::clone(event_id),
            };
            kept.map(reference).collect()
        };
        Evidence {
            count: i64::try_from(self.count).unwrap_or(i64::MAX),
            first: references(&mut self.first.iter()),
            last: references(&mut self.last.iter()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition: the first 8, and of the others the last 24.
    fn model(offsets: &[i64]) -> (Vec<i64>, Vec<i64>) {
        let (first, rest) = offsets.split_at(offsets.len().min(8));
        (first.to_vec(), rest[rest.len().saturating_sub(24)..].to_vec())
    }

    fn kept(evidence: &EvidenceState) -> (Vec<i64>, Vec<i64>) {
        let offsets = |kept: &[RecordReference]| kept.iter().map(|reference| reference.offset).collect();
        let row = evidence.to_row(&"t".into(), 0);
        (offsets(&row.first), offsets(&row.last))
    }

    proptest! {
        #[test]
        fn i8_the_first_8_and_the_last_24_of_all(owners in proptest::collection::vec(any::<bool>(), 0..120)) {
            let (mut one, mut other, mut whole) = (EvidenceState::default(), EvidenceState::default(), Vec::new());
            for (offset, is_one) in owners.iter().enumerate() {
                let evidence = if *is_one { &mut one } else { &mut other };
                evidence.push(offset as i64, "e");
                whole.push(offset as i64);
            }
            let of_one: Vec<i64> = whole.iter().copied().filter(|offset| owners[*offset as usize]).collect();
            prop_assert_eq!(kept(&one), model(&of_one));
            one.merge(&other);
            prop_assert_eq!(one.count(), owners.len() as u64);
            prop_assert_eq!(kept(&one).0, model(&whole).0, "the first of a merger are the first of all");
            prop_assert_eq!(kept(&one).1, model(&whole).1, "and so the last");
        }
    }
}
