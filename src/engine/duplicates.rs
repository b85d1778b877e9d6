//! What has been seen before: ids within a horizon of append time, and producers' sequences.

use std::collections::VecDeque;

use hashbrown::HashTable;
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_128;

use crate::engine::Millis;

/// An id under its record's key, as 96 bits: of a thousand million ids two collide with a chance of 10⁻¹¹.
pub(super) type Fingerprint = [u8; 12];

/// The fingerprint of an id under its record's key.
pub(super) fn fingerprint(key: &[u8], id: &str) -> Fingerprint {
    let mut hasher = XxHash3_128::new();
    // With its length, so that the parts can't be confused.
    hasher.write(&(key.len() as u64).to_le_bytes());
    hasher.write(key);
    hasher.write(id.as_bytes());
    let [fingerprint @ .., _, _, _, _] = hasher.finish_128().to_le_bytes();
    fingerprint
}

fn hash([a, b, c, d, e, f, g, h, ..]: &Fingerprint) -> u64 {
    u64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h])
}

/// Ids that arrived one after the other, in the time of a bucket.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Bucket {
    /// The clock at the first of them, and at the last.
    first: Millis,
    last: Millis,
    ids: Vec<Fingerprint>,
}

/// Some ids of a bucket, as they are written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct IdRange<'a> {
    pub first: Millis,
    pub last: Millis,
    /// Their fingerprints, one after the other.
    #[serde(borrow)]
    pub ids: &'a [u8],
}

/// The name of an [`IdRange`]: its bucket's number, and how many ids of that come before it.
pub(super) type IdRangeName = (u64, u16);

/// The ids of a partition. They lie in buckets, each of a 64th of the horizon, and are forgotten bucket by bucket: an id is
/// remembered for the horizon and at most a 64th of it longer. So an id takes 12 bytes, and 6 to 11 in the index.
#[derive(Debug, Default)]
pub(super) struct RecentIds {
    /// Where an id lies: the last 16 bits of its bucket's number, and its place there.
    index: HashTable<u32>,
    buckets: VecDeque<Bucket>,
    /// The number of the first bucket.
    begin: u64,
    /// The first id that has not been written down yet.
    fresh: IdRangeName,
}

impl RecentIds {
    const BUCKETS: Millis = 64;
    /// Ids of a bucket at most: their place takes 16 bits.
    const BUCKET: usize = 1 << 16;
    /// Ids that are written down together.
    const RANGE: usize = 1 << 12;

    /// Whether an id is remembered.
    pub fn contains(&self, id: &Fingerprint) -> bool {
        self.index.find(hash(id), |place| self.at(*place) == Some(id)).is_some()
    }

    /// Forgets what lies behind the horizon.
    pub fn expire(&mut self, clock: Millis, horizon: Millis) {
        while self.buckets.front().is_some_and(|bucket| clock.saturating_sub(bucket.last) > horizon) {
            let bucket = self.buckets.pop_front().unwrap_or_default();
            for (number, id) in bucket.ids.iter().enumerate() {
                let place = place(self.begin, number);
                if let Ok(found) = self.index.find_entry(hash(id), |other| *other == place) {
                    found.remove();
                }
            }
            self.begin += 1;
            self.fresh = self.fresh.max((self.begin, 0));
        }
    }

    /// Remembers an id that is not known.
    pub fn insert(&mut self, id: Fingerprint, clock: Millis, horizon: Millis) {
        let width = horizon / Self::BUCKETS;
        let is_open =
            |bucket: &Bucket| clock.saturating_sub(bucket.first) <= width && bucket.ids.len() < Self::BUCKET;
        if !self.buckets.back().is_some_and(is_open) {
            if let Some(closed) = self.buckets.back_mut() {
                closed.ids.shrink_to_fit();
            }
            self.buckets.push_back(Bucket { first: clock, last: clock, ids: Vec::new() });
        }
        let bucket_number = self.begin + self.buckets.len() as u64 - 1;
        if let Some(bucket) = self.buckets.back_mut() {
            bucket.last = clock;
            if bucket.ids.len() == bucket.ids.capacity() {
                // Twice as much at once would be too much for what an id may take.
                bucket.ids.reserve_exact((bucket.ids.len() / 16).max(16));
            }
            bucket.ids.push(id);
            let place = place(bucket_number, bucket.ids.len() - 1);
            self.enter(id, place);
        }
    }

    fn enter(&mut self, id: Fingerprint, place: u32) {
        let Self { index, buckets, begin, .. } = self;
        let hash_of = |place: &u32| at(buckets, *begin, *place).map_or(0, hash);
        index.insert_unique(hash(&id), place, hash_of);
    }

    fn at(&self, place: u32) -> Option<&Fingerprint> {
        at(&self.buckets, self.begin, place)
    }

    /// How many ids have been added since they were last [written down](Self::written).
    pub fn fresh_count(&self) -> usize {
        self.ranges(self.fresh).map(|(_, range)| range.ids.len() / size_of::<Fingerprint>()).sum()
    }

    /// The ids that have been added since they were last [written down](Self::written).
    pub fn fresh(&self) -> impl Iterator<Item = (IdRangeName, IdRange<'_>)> {
        self.ranges(self.fresh)
    }

    /// The ids from there on, in ranges.
    pub fn ranges(&self, from: IdRangeName) -> impl Iterator<Item = (IdRangeName, IdRange<'_>)> {
        let skipped = from.0.saturating_sub(self.begin) as usize;
        (self.begin..).zip(&self.buckets).skip(skipped).flat_map(move |(number, bucket)| {
            let start = if number == from.0 { usize::from(from.1).min(bucket.ids.len()) } else { 0 };
            let starts = (start..).step_by(Self::RANGE);
            starts.zip(bucket.ids[start..].chunks(Self::RANGE)).map(move |(start, ids)| {
                let range = IdRange { first: bucket.first, last: bucket.last, ids: ids.as_flattened() };
                ((number, start as u16), range)
            })
        })
    }

    /// What has been added is written down.
    pub fn written(&mut self) {
        self.fresh = match self.buckets.back() {
            Some(bucket) if bucket.ids.len() < Self::BUCKET => {
                (self.begin + self.buckets.len() as u64 - 1, bucket.ids.len() as u16)
            }
            _ => (self.begin + self.buckets.len() as u64, 0),
        };
    }

    /// Ids that were written down, in any order; [`restored`](Self::restored) ends it.
    pub fn restore(&mut self, (number, start): IdRangeName, range: &IdRange<'_>) {
        if self.buckets.is_empty() {
            self.begin = number;
        }
        while number < self.begin {
            self.buckets.push_front(Bucket::default());
            self.begin -= 1;
        }
        let place = (number - self.begin) as usize;
        if self.buckets.len() <= place {
            self.buckets.resize_with(place + 1, Bucket::default);
        }
        let bucket = &mut self.buckets[place];
        bucket.first = range.first;
        bucket.last = range.last.max(bucket.last);
        let (ids, _) = range.ids.as_chunks();
        let end = usize::from(start) + ids.len();
        if bucket.ids.len() < end {
            bucket.ids.resize(end, Fingerprint::default());
        }
        bucket.ids[usize::from(start)..end].copy_from_slice(ids);
    }

    /// All that was written down is there.
    pub fn restored(&mut self, clock: Millis, horizon: Millis) {
        self.index.reserve(self.buckets.iter().map(|bucket| bucket.ids.len()).sum(), |_| 0);
        self.expire(clock, horizon);
        for number in 0..self.buckets.len() {
            for place_there in 0..self.buckets[number].ids.len() {
                let id = self.buckets[number].ids[place_there];
                self.enter(id, place(self.begin + number as u64, place_there));
            }
        }
        self.written();
    }
}

fn place(bucket: u64, place: usize) -> u32 {
    (bucket as u32) << 16 | place as u32
}

fn at(buckets: &VecDeque<Bucket>, begin: u64, place: u32) -> Option<&Fingerprint> {
    let bucket = ((place >> 16) as u16).wrapping_sub(begin as u16);
    buckets.get(usize::from(bucket))?.ids.get(place as usize & 0xffff)
}

/// Which numbers of a producer have been seen: ranges, both ends included, that do not touch, in order.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sequence {
    ranges: Vec<(u64, u64)>,
}

/// What a number that has not been seen yet would do to a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Addition {
    /// The place of the range behind it.
    place: usize,
    /// It follows the range before that place, it precedes the one there.
    follows: bool,
    precedes: bool,
    /// Every number from the beginning (0 or 1) to the highest will have been seen.
    pub is_gapless: bool,
}

/// A producer has left more gaps than are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooManyGaps;

impl Sequence {
    /// Ranges that are kept: bounds an entry of the state.
    pub const LIMIT: usize = 1_024;

    /// Looks at a number; `None`: it has been seen.
    pub fn look(&self, number: u64) -> Result<Option<Addition>, TooManyGaps> {
        let place = self.ranges.partition_point(|(first, _)| *first <= number);
        let before = place.checked_sub(1).map(|before| self.ranges[before]);
        if before.is_some_and(|(_, last)| last >= number) {
            return Ok(None);
        }
        let follows = before.is_some_and(|(_, last)| last + 1 == number);
        let precedes = self.ranges.get(place).is_some_and(|(first, _)| number + 1 == *first);
        if !follows && !precedes && self.ranges.len() == Self::LIMIT {
            return Err(TooManyGaps);
        }
        let ranges = self.ranges.len() + 1 - usize::from(follows) - usize::from(precedes);
        let first = self.ranges.first().map_or(number, |(first, _)| number.min(*first));
        Ok(Some(Addition { place, follows, precedes, is_gapless: ranges == 1 && first <= 1 }))
    }

    /// Adds a number that was looked at just before.
    pub fn add(&mut self, number: u64, addition: Addition) {
        let Addition { place, follows, precedes, .. } = addition;
        match (follows, precedes) {
            (true, true) => self.ranges[place - 1].1 = self.ranges.remove(place).1,
            (true, false) => self.ranges[place - 1].1 = number,
            (false, true) => self.ranges[place].0 = number,
            (false, false) => self.ranges.insert(place, (number, number)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    fn id(number: u64) -> Fingerprint {
        fingerprint(b"key", &number.to_string())
    }

    #[test]
    fn an_id_is_remembered_for_the_horizon_and_a_64th_of_it() {
        let mut ids = RecentIds::default();
        ids.insert(id(1), 0, 640);
        ids.insert(id(2), 10, 640);
        for (clock, expected) in [(640, true), (650, true), (651, false)] {
            ids.expire(clock, 640);
            assert_eq!((ids.contains(&id(1)), ids.contains(&id(2))), (expected, expected), "{clock}");
        }
        ids.insert(id(1), 651, 640);
        assert!(ids.contains(&id(1)));
    }

    #[test]
    fn an_id_takes_24_bytes_at_most() {
        let mut ids = RecentIds::default();
        for number in 0..1_835_009 {
            ids.insert(id(number), number as Millis / 5, 86_400_000);
            let is_worst = [114_689, 917_505, 1_835_009].contains(&(number + 1));
            if is_worst || number == 1_000_000 {
                let buckets: usize = ids.buckets.iter().map(|bucket| bucket.ids.capacity() * 12 + 48).sum();
                let bytes = (buckets + ids.index.allocation_size()) as f64 / (number + 1) as f64;
                assert!(bytes <= 24.0, "{bytes} at {number}");
            }
        }
    }

    #[test]
    fn fingerprints_keep_key_and_id_apart() {
        assert_ne!(fingerprint(b"ab", "c"), fingerprint(b"a", "bc"));
    }

    proptest! {
        /// Whatever is written down when, and in whatever order it is read: the same ids are known.
        #[test]
        fn what_is_written_down_is_what_is_read(
            steps in proptest::collection::vec((0_u64..40, 0_i64..50, any::<bool>()), 1..200),
            horizon in prop_oneof![Just(0_i64), Just(30), Just(640)],
        ) {
            let (mut ids, mut clock, mut written) = (RecentIds::default(), 0, Vec::new());
            let mut write = |ids: &mut RecentIds| {
                let fresh = ids.fresh().map(|(name, range)| (name, range.first, range.last, range.ids.to_vec()));
                written.extend(fresh.collect::<Vec<_>>());
                ids.written();
            };
            let mut model = BTreeMap::new();
            for (number, step, is_written) in &steps {
                clock += step;
                ids.expire(clock, horizon);
                let last = model.get(number).copied();
                if let Some(last) = last {
                    let age = clock - last;
                    prop_assert!(age > horizon || ids.contains(&id(*number)), "it is remembered for the horizon");
                    prop_assert!(age <= horizon + horizon / 64 || !ids.contains(&id(*number)), "and not for long");
                }
                if !ids.contains(&id(*number)) {
                    ids.insert(id(*number), clock, horizon);
                    model.insert(*number, clock);
                }
                if *is_written {
                    write(&mut ids);
                }
            }
            write(&mut ids);
            let mut restored = RecentIds::default();
            for ((bucket, start), first, last, fingerprints) in written.iter().rev() {
                restored.restore((*bucket, *start), &IdRange { first: *first, last: *last, ids: fingerprints });
            }
            restored.restored(clock, horizon);
            for number in 0..40 {
                prop_assert_eq!(restored.contains(&id(number)), ids.contains(&id(number)));
            }
            prop_assert!(restored.ranges((0, 0)).eq(ids.ranges((0, 0))));
            prop_assert_eq!(restored.fresh_count(), 0);
        }

        #[test]
        fn a_sequence_is_a_set_of_numbers(numbers in proptest::collection::vec(0_u64..60, 0..120)) {
            let (mut sequence, mut model) = (Sequence::default(), BTreeSet::new());
            for number in numbers {
                let addition = sequence.look(number).unwrap();
                prop_assert_eq!(addition.is_some(), model.insert(number));
                let Some(addition) = addition else { continue };
                sequence.add(number, addition);
                let (first, last) = (*model.first().unwrap(), *model.last().unwrap());
                prop_assert_eq!(addition.is_gapless, first <= 1 && model.len() as u64 == last - first + 1);
                prop_assert!(sequence.ranges.is_sorted());
            }
            for number in 0..60 {
                prop_assert_eq!(sequence.look(number).unwrap().is_none(), model.contains(&number));
            }
        }
    }

    #[test]
    fn gaps_are_bounded_and_the_highest_number_is_one() {
        let mut sequence = Sequence::default();
        let add = |sequence: &mut Sequence, number| {
            let addition = sequence.look(number).unwrap().unwrap();
            sequence.add(number, addition);
        };
        for number in 0..Sequence::LIMIT as u64 {
            add(&mut sequence, number * 2);
        }
        assert_eq!(sequence.look(u64::MAX), Err(TooManyGaps));
        add(&mut sequence, 1);
        add(&mut sequence, u64::MAX);
        assert_eq!(sequence.look(u64::MAX), Ok(None));
        assert!(sequence.look(u64::MAX - 1).unwrap().is_some());
    }
}
