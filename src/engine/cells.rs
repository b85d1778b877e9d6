//! Values at places of their own. They lie in chunks: where there are more of them, none is moved, so that a million keys cost no
//! moment in which they are copied, and no room for the copy.

use std::ops::{Index, IndexMut};

/// Values in a chunk.
const CHUNK: usize = 256;

/// A slab: each value has a place, which another one takes once it is gone.
#[derive(Debug)]
pub(super) struct Cells<V> {
    chunks: Vec<Vec<Option<V>>>,
    /// Places that are free, besides those behind the last one.
    free: Vec<u32>,
    length: usize,
}

impl<V> Default for Cells<V> {
    fn default() -> Self {
        Self { chunks: Vec::new(), free: Vec::new(), length: 0 }
    }
}

impl<V> Cells<V> {
    /// How many values there are.
    pub fn len(&self) -> usize {
        self.length
    }

    /// All places are before this one.
    pub fn end(&self) -> usize {
        let last = self.chunks.last().map_or(0, Vec::len);
        self.chunks.len().saturating_sub(1) * CHUNK + last
    }

    /// Keeps a value; its place.
    pub fn insert(&mut self, value: V) -> usize {
        self.length += 1;
        if let Some(place) = self.free.pop() {
            let place = place as usize;
            self.chunks[place / CHUNK][place % CHUNK] = Some(value);
            return place;
        }
        let place = self.end();
        if place.is_multiple_of(CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        self.chunks[place / CHUNK].push(Some(value));
        place
    }

    /// Takes a value away.
    pub fn remove(&mut self, place: usize) -> Option<V> {
        let value = self.chunks.get_mut(place / CHUNK)?.get_mut(place % CHUNK)?.take()?;
        self.length -= 1;
        // 2^32 values of any size are more than a machine has room for.
        self.free.push(place as u32);
        Some(value)
    }

    pub fn get(&self, place: usize) -> Option<&V> {
        self.chunks.get(place / CHUNK)?.get(place % CHUNK)?.as_ref()
    }

    pub fn get_mut(&mut self, place: usize) -> Option<&mut V> {
        self.chunks.get_mut(place / CHUNK)?.get_mut(place % CHUNK)?.as_mut()
    }

    pub fn contains(&self, place: usize) -> bool {
        self.get(place).is_some()
    }

    /// The values with their places, in the order of these.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &V)> {
        let values = self.chunks.iter().flatten().enumerate();
        values.filter_map(|(place, value)| Some((place, value.as_ref()?)))
    }
}

impl<V> Index<usize> for Cells<V> {
    type Output = V;

    #[inline]
    fn index(&self, place: usize) -> &V {
        self.get(place).expect("whoever has a place has it of a value that is there")
    }
}

impl<V> IndexMut<usize> for Cells<V> {
    #[inline]
    fn index_mut(&mut self, place: usize) -> &mut V {
        self.get_mut(place).expect("whoever has a place has it of a value that is there")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn values_are_where_they_were_put(steps in proptest::collection::vec(proptest::option::of(0_usize..600), 0..900)) {
            let (mut cells, mut model) = (Cells::default(), BTreeMap::new());
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Some(place) => prop_assert_eq!(cells.remove(place), model.remove(&place)),
                    None => prop_assert!(model.insert(cells.insert(number), number).is_none()),
                }
                prop_assert_eq!(cells.len(), model.len());
            }
            prop_assert!(cells.iter().eq(model.iter().map(|(place, value)| (*place, value))));
            prop_assert!(model.keys().all(|place| *place < cells.end() && cells.contains(*place)));
        }
    }
}
