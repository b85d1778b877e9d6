//! A sorted map for the many keys that hold little: a plain vector until it grows.

use std::borrow::Borrow;
use std::collections::{BTreeMap, btree_map};
use std::mem;
use std::ops::RangeInclusive;
use std::slice;

/// Up to so many elements lie in a vector, where a search is as fast as in a tree and takes a fraction of the room.
const FEW: usize = 16;

/// A map in the order of its keys.
#[derive(Debug, Clone)]
pub(super) enum SmallMap<K, V> {
    Few(Vec<(K, V)>),
    #[expect(clippy::box_collection, reason = "the vector of the many small ones is all that they take")]
    Many(Box<BTreeMap<K, V>>),
}

impl<K, V> Default for SmallMap<K, V> {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl<K: Ord, V> SmallMap<K, V> {
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        match self {
            Self::Few(few) => position(few, key).ok().map(|place| &few[place].1),
            Self::Many(many) => many.get(key),
        }
    }

    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        match self {
            Self::Few(few) => position(few, key).ok().map(|place| &mut few[place].1),
            Self::Many(many) => many.get_mut(key),
        }
    }

    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self {
            Self::Many(many) => many.insert(key, value),
            Self::Few(few) => match position::<K, V, K>(few, &key) {
                Ok(place) => Some(mem::replace(&mut few[place].1, value)),
                Err(place) if few.len() < FEW => {
                    if few.len() == few.capacity() {
                        // 1, 2, 4 …: most keys hold one or two.
                        few.reserve_exact(few.len().max(1));
                    }
                    few.insert(place, (key, value));
                    None
                }
                Err(_) => {
                    let mut many: BTreeMap<K, V> = mem::take(few).into_iter().collect();
                    many.insert(key, value);
                    *self = Self::Many(Box::new(many));
                    None
                }
            },
        }
    }

    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        match self {
            Self::Few(few) => position(few, key).ok().map(|place| few.remove(place).1),
            Self::Many(many) => {
                let removed = many.remove(key);
                if many.is_empty() {
                    *self = Self::default();
                }
                removed
            }
        }
    }

    /// Whether it has grown so large that a look at all of it takes long.
    pub fn is_many(&self) -> bool {
        matches!(self, Self::Many(_))
    }

    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Few(few) if few.is_empty())
    }

    /// The elements between two keys, both included.
    pub fn range(&self, keys: RangeInclusive<K>) -> Range<'_, K, V> {
        match self {
            _ if keys.is_empty() => Range::Few([].iter()),
            Self::Few(few) => {
                let start = few.partition_point(|(key, _)| key < keys.start());
                let end = few.partition_point(|(key, _)| key <= keys.end());
                Range::Few(few[start..end].iter())
            }
            Self::Many(many) => Range::Many(many.range(keys)),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let (few, many) = match self {
            Self::Few(few) => (Some(few), None),
            Self::Many(many) => (None, Some(many)),
        };
        let many = many.into_iter().flat_map(|many| many.iter());
        few.into_iter().flatten().map(|(key, value)| (key, value)).chain(many)
    }
}

/// Some elements of a map, in order.
pub(super) enum Range<'a, K, V> {
    Few(slice::Iter<'a, (K, V)>),
    Many(btree_map::Range<'a, K, V>),
}

impl<'a, K, V> Iterator for Range<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Few(few) => few.next().map(|(key, value)| (key, value)),
            Self::Many(many) => many.next(),
        }
    }
}

impl<K, V> DoubleEndedIterator for Range<'_, K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        match self {
            Self::Few(few) => few.next_back().map(|(key, value)| (key, value)),
            Self::Many(many) => many.next_back(),
        }
    }
}

fn position<K: Borrow<Q>, V, Q: Ord + ?Sized>(few: &[(K, V)], key: &Q) -> Result<usize, usize> {
    few.binary_search_by(|(other, _)| other.borrow().cmp(key))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_sorted_map(
            steps in proptest::collection::vec((0_u8..40, any::<bool>()), 0..200),
            (from, to) in (0_u8..40, 0_u8..40),
        ) {
            let (mut map, mut model) = (SmallMap::default(), BTreeMap::new());
            for (number, (key, is_insertion)) in steps.into_iter().enumerate() {
                if is_insertion {
                    prop_assert_eq!(map.insert(key, number), model.insert(key, number));
                } else {
                    prop_assert_eq!(map.remove(&key), model.remove(&key));
                }
                prop_assert_eq!(map.get(&key), model.get(&key));
                prop_assert_eq!(map.is_empty(), model.is_empty());
                prop_assert!(map.iter().eq(model.iter()));
                let between = |key: &u8| from <= *key && *key <= to;
                prop_assert!(map.range(from..=to).eq(model.iter().filter(|(key, _)| between(key))));
                prop_assert!(map.range(from..=to).rev().eq(model.iter().rev().filter(|(key, _)| between(key))));
            }
        }
    }
}
