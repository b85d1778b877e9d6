//! What has been seen before: ids within a horizon of append time, and producers' sequences.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_128;

use crate::engine::Millis;

/// An id under its record's key, as 128 bits: two of a million million ids collide with a chance of 10⁻¹⁵.
pub(super) fn fingerprint(key: &[u8], id: &str) -> u128 {
    let mut hasher = XxHash3_128::new();
    // With its length, so that the parts can't be confused.
    hasher.write(&(key.len() as u64).to_le_bytes());
    hasher.write(key);
    hasher.write(id.as_bytes());
    hasher.finish_128()
}

/// Ids that arrived one after the other; one entry of the changelog.
pub(super) type Chunk = Vec<(Millis, u128)>;

/// The ids of a partition. They lie in chunks, named by the offset of their first record: what a commit adds is
/// written as chunks of its own, and a chunk goes when its last id has passed the horizon.
#[derive(Debug, Default)]
pub(super) struct RecentIds {
    seen: HashMap<u128, Millis, RandomState>,
    chunks: BTreeMap<i64, Chunk>,
    /// The chunk that takes ids until the next commit.
    open: Option<i64>,
    /// The last chunk that has been committed: it takes no more, for it would not be written again.
    sealed: Option<i64>,
}

impl RecentIds {
    /// Ids of a chunk: with 26 bytes each at most, it stays under 64 KiB.
    const CHUNK: usize = 2_000;

    /// Whether an id was seen within `horizon` before the `clock`.
    pub fn contains(&self, id: u128, clock: Millis, horizon: Millis) -> bool {
        self.seen.get(&id).is_some_and(|seen| clock.saturating_sub(*seen) <= horizon)
    }

    /// Remembers an id; returns when it was seen before, for [`forget_last`](Self::forget_last).
    pub fn insert(&mut self, id: u128, clock: Millis, offset: i64) -> Option<Millis> {
        let open = match self.open {
            Some(open) if self.chunks.get(&open).is_some_and(|chunk| chunk.len() < Self::CHUNK) => open,
            _ => offset,
        };
        self.open = Some(open);
        self.chunks.entry(open).or_default().push((clock, id));
        self.seen.insert(id, clock)
    }

    /// Undoes the last insertion, which was of `id`.
    pub fn forget_last(&mut self, id: u128, before: Option<Millis>) {
        match before {
            Some(seen) => self.seen.insert(id, seen),
            None => self.seen.remove(&id),
        };
        if let Some(mut last) = self.chunks.last_entry() {
            last.get_mut().pop();
            if last.get().is_empty() {
                last.remove();
            }
        }
        let last = self.chunks.last_key_value().map(|(name, _)| *name);
        self.open = last.filter(|last| Some(*last) > self.sealed);
    }

    /// The chunks that began at or after an offset.
    pub fn chunks_from(&self, offset: i64) -> impl Iterator<Item = (i64, &Chunk)> {
        self.chunks.range(offset..).map(|(name, chunk)| (*name, chunk))
    }

    /// The chunks in which no id counts any more.
    pub fn expired(&self, clock: Millis, horizon: Millis) -> impl Iterator<Item = i64> {
        let is_expired =
            move |chunk: &Chunk| chunk.last().is_none_or(|(seen, _)| clock.saturating_sub(*seen) > horizon);
        self.chunks.iter().take_while(move |(_, chunk)| is_expired(chunk)).map(|(name, _)| *name)
    }

    /// What has been added is committed, and the next id begins a chunk; a chunk that has expired is dropped.
    pub fn commit(&mut self, clock: Millis, horizon: Millis) {
        let expired: Vec<i64> = self.expired(clock, horizon).collect();
        for name in expired {
            self.drop_chunk(name);
        }
        self.open = None;
        self.sealed = self.sealed.max(self.chunks.last_key_value().map(|(name, _)| *name));
    }

    /// A chunk as the changelog has it.
    pub fn restore(&mut self, name: i64, chunk: Option<Chunk>) {
        self.drop_chunk(name);
        let Some(chunk) = chunk else { return };
        self.sealed = self.sealed.max(Some(name));
        for (seen, id) in &chunk {
            let last = self.seen.entry(*id).or_insert(*seen);
            *last = (*last).max(*seen);
        }
        self.chunks.insert(name, chunk);
    }

    fn drop_chunk(&mut self, name: i64) {
        for (seen, id) in self.chunks.remove(&name).unwrap_or_default() {
            // It may have been seen again since.
            if self.seen.get(&id) == Some(&seen) {
                self.seen.remove(&id);
            }
        }
    }
}

/// Which numbers of a producer have been seen: ranges, both ends included, that do not touch.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sequence {
    ranges: BTreeMap<u64, u64>,
}

/// A producer has left more gaps than are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooManyGaps;

impl Sequence {
    /// Ranges that are kept: bounds an entry of the state.
    pub const LIMIT: usize = 1_024;

    pub fn contains(&self, number: u64) -> bool {
        self.ranges.range(..=number).next_back().is_some_and(|(_, last)| *last >= number)
    }

    pub fn insert(&mut self, number: u64) -> Result<(), TooManyGaps> {
        if self.contains(number) {
            return Ok(());
        }
        let follows = self.ranges.range(..number).next_back().map(|(first, last)| (*first, *last));
        let follows = follows.filter(|(_, last)| *last + 1 == number);
        let precedes = number.checked_add(1).and_then(|next| self.ranges.get(&next).copied());
        if follows.is_none() && precedes.is_none() && self.ranges.len() == Self::LIMIT {
            return Err(TooManyGaps);
        }
        if precedes.is_some() {
            self.ranges.remove(&(number + 1));
        }
        let first = follows.map_or(number, |(first, _)| first);
        self.ranges.insert(first, precedes.unwrap_or(number));
        Ok(())
    }

    /// Whether every number from the beginning (0 or 1) to the highest has been seen.
    pub fn is_gapless(&self) -> bool {
        self.ranges.len() <= 1 && self.ranges.first_key_value().is_none_or(|(first, _)| *first <= 1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_is_forgotten_after_the_horizon() {
        let mut ids = RecentIds::default();
        ids.insert(1, 0, 0);
        assert!(ids.contains(1, 10, 10));
        assert!(!ids.contains(1, 11, 10));
        ids.insert(1, 11, 1);
        assert!(ids.contains(1, 12, 10));
    }

    #[test]
    fn chunks_hold_what_counts_and_no_more() {
        let mut ids = RecentIds::default();
        ids.insert(1, 0, 0);
        ids.insert(2, 1, 1);
        ids.commit(1, 10);
        ids.insert(1, 12, 2);
        assert_eq!(ids.chunks_from(1).collect::<Vec<_>>(), [(2, &vec![(12, 1)])]);
        assert_eq!(ids.expired(12, 10).collect::<Vec<_>>(), [0]);
        ids.commit(12, 10);
        assert!(ids.contains(1, 12, 10) && !ids.contains(2, 12, 10));
        assert_eq!(ids.seen.len(), 1, "what expired takes no room");
    }

    #[test]
    fn i5_an_id_that_follows_an_undone_one_is_written_to_the_changelog() {
        let mut ids = RecentIds::default();
        ids.insert(1, 0, 0);
        ids.commit(0, 10);
        let before = ids.insert(2, 1, 1);
        ids.forget_last(2, before);
        ids.insert(3, 2, 2);
        assert_eq!(ids.chunks_from(1).collect::<Vec<_>>(), [(2, &vec![(2, 3)])]);
    }

    #[test]
    fn fingerprints_keep_key_and_id_apart() {
        assert_ne!(fingerprint(b"ab", "c"), fingerprint(b"a", "bc"));
    }

    proptest! {
        #[test]
        fn an_undone_insertion_leaves_no_trace(ids in proptest::collection::vec((0_u128..8, 0_i64..5), 1..60), kept in 0_usize..60) {
            let mut undone = RecentIds::default();
            let mut model = RecentIds::default();
            let (mut clock, mut undo) = (0, Vec::new());
            let kept = kept.min(ids.len());
            for (offset, (id, step)) in ids.iter().enumerate() {
                clock += step;
                let before = undone.insert(*id, clock, offset as i64);
                if offset < kept {
                    model.insert(*id, clock, offset as i64);
                } else {
                    undo.push((*id, before));
                }
            }
            for (id, before) in undo.into_iter().rev() {
                undone.forget_last(id, before);
            }
            prop_assert_eq!(&undone.chunks, &model.chunks);
            prop_assert_eq!(&undone.seen, &model.seen);
        }

        #[test]
        fn a_sequence_is_a_set_of_numbers(numbers in proptest::collection::vec(0_u64..60, 0..120)) {
            let (mut sequence, mut model) = (Sequence::default(), BTreeSet::new());
            for number in numbers {
                prop_assert_eq!(sequence.contains(number), model.contains(&number));
                sequence.insert(number).unwrap();
                model.insert(number);
                let (first, last) = (*model.first().unwrap(), *model.last().unwrap());
                prop_assert_eq!(sequence.is_gapless(), first <= 1 && model.len() as u64 == last - first + 1);
            }
            for number in 0..60 {
                prop_assert_eq!(sequence.contains(number), model.contains(&number));
            }
        }
    }

    #[test]
    fn gaps_are_bounded_and_the_highest_number_is_one() {
        let mut sequence = Sequence::default();
        for number in 0..Sequence::LIMIT as u64 {
            sequence.insert(number * 2).unwrap();
        }
        assert_eq!(sequence.insert(u64::MAX), Err(TooManyGaps));
        sequence.insert(1).unwrap();
        sequence.insert(u64::MAX).unwrap();
        assert!(sequence.contains(u64::MAX) && !sequence.contains(u64::MAX - 1));
    }
}
