//! The rows that this node knows by their ids: what it has seen on the log, and what it has read from a table.
//!
//! A row that has been seen is served until a newer version is seen, so no answer is older than what this node has shown
//! before. The memory is bounded: the rows that came first go first. Of one that no table may hold yet the version is
//! kept, so that an older one from the table can be told.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use uuid::Uuid;

use crate::http::Tenant;

/// What a row costs beside its own bytes.
const OVERHEAD: usize = 160;

/// Where on its derived topic a row was seen: partition and offset.
pub type Place = (i32, i64);

/// The rows of one topic.
pub struct Rows<T> {
    rows: DashMap<Uuid, Known<T>>,
    order: Mutex<Order>,
    bytes: AtomicUsize,
    limit: usize,
}

struct Known<T> {
    tenant: Tenant,
    version: u64,
    bytes: usize,
    place: Option<Place>,
    row: Held<T>,
}

enum Held<T> {
    Whole(Arc<T>),
    Retracted,
    /// It had to make room, and no table may hold it yet.
    Gone,
}

/// Ids and versions in the order in which they came.
#[derive(Default)]
struct Order {
    held: VecDeque<(Uuid, u64)>,
    gone: VecDeque<(Uuid, u64, Place)>,
}

/// A row as it came.
pub struct Arrival<T> {
    /// Its id.
    pub id: Uuid,
    /// The tenant that it belongs to.
    pub tenant: Tenant,
    /// Its version.
    pub version: u64,
    /// Itself; `None` where it is retracted.
    pub row: Option<Arc<T>>,
    /// What it takes in memory, about.
    pub bytes: usize,
    /// Where it was seen; `None` where it was read from a table.
    pub place: Option<Place>,
}

/// What is known of a row.
#[derive(Debug, PartialEq, Eq)]
pub enum Lookup<T> {
    /// This is its newest version.
    Row(Arc<T>),
    /// It no longer holds.
    Retracted,
    /// A version has been seen that is no longer here: an older one is stale.
    AtLeast(u64),
    /// This node knows nothing of it.
    Unknown,
}

impl<T> Rows<T> {
    /// No rows yet; they will take about `limit` bytes at most.
    pub fn new(limit: usize) -> Self {
        Self { rows: DashMap::new(), order: Mutex::default(), bytes: AtomicUsize::new(0), limit }
    }

    /// What is known of the tenant's row of that id.
    pub fn get(&self, tenant: &Tenant, id: Uuid) -> Lookup<T> {
        match self.rows.get(&id).filter(|known| known.tenant == *tenant) {
            None => Lookup::Unknown,
            Some(known) => match &known.row {
                Held::Whole(row) => Lookup::Row(row.clone()),
                Held::Retracted => Lookup::Retracted,
                Held::Gone => Lookup::AtLeast(known.version),
            },
        }
    }

    /// Takes a row in, if it is newer than what is known. `is_stored` says whether the tables hold what was seen at a
    /// place.
    pub fn put(&self, arrival: Arrival<T>, is_stored: impl Fn(Place) -> bool) {
        let Arrival { id, tenant, version, row, bytes, place } = arrival;
        let bytes = bytes + OVERHEAD;
        let row = row.map_or(Held::Retracted, Held::Whole);
        let known = Known { tenant, version, bytes, place, row };
        match self.rows.entry(id) {
            Entry::Occupied(entry) if entry.get().version > version => return,
            Entry::Occupied(entry)
                if entry.get().version == version && !matches!(entry.get().row, Held::Gone) =>
            {
                return;
            }
            Entry::Occupied(mut entry) => {
                let former = entry.insert(known);
                self.bytes.fetch_sub(former.bytes, Ordering::Relaxed);
            }
            Entry::Vacant(entry) => drop(entry.insert(known)),
        }
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        order.held.push_back((id, version));
        self.make_room(&mut order, &is_stored);
    }

    /// How many bytes the rows take, about.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Lets go of the oldest. An entry of the order whose row has a newer version since says nothing any more, but takes
    /// place: it counts, so that one busy row can't fill the memory with its past.
    fn make_room(&self, order: &mut Order, is_stored: &impl Fn(Place) -> bool) {
        while self.bytes() + order.held.len() * size_of::<(Uuid, u64)>() > self.limit {
            let Some((id, version)) = order.held.pop_front() else { break };
            let Entry::Occupied(mut entry) = self.rows.entry(id) else { continue };
            if entry.get().version != version {
                continue;
            }
            self.bytes.fetch_sub(entry.get().bytes, Ordering::Relaxed);
            match entry.get().place.filter(|place| !is_stored(*place)) {
                None => drop(entry.remove()),
                Some(place) => {
                    let known = entry.get_mut();
                    known.row = Held::Gone;
                    known.bytes = 0;
                    order.gone.push_back((id, version, place));
                }
            }
        }
        while let Some((id, version, _)) = order.gone.front().filter(|(_, _, place)| is_stored(*place)) {
            self.rows.remove_if(id, |_, known| known.version == *version && matches!(known.row, Held::Gone));
            order.gone.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> Tenant {
        Tenant::new(name)
    }

    fn arrival(
        id: u128,
        version: u64,
        row: Option<&'static str>,
        place: Option<Place>,
    ) -> Arrival<&'static str> {
        Arrival {
            id: Uuid::from_u128(id),
            tenant: tenant("a"),
            version,
            row: row.map(Arc::new),
            bytes: 100,
            place,
        }
    }

    fn get(rows: &Rows<&'static str>, id: u128) -> Lookup<&'static str> {
        rows.get(&tenant("a"), Uuid::from_u128(id))
    }

    #[test]
    fn the_newest_version_counts_whatever_the_order() {
        let rows = Rows::new(1 << 20);
        rows.put(arrival(1, 5, Some("five"), None), |_| true);
        rows.put(arrival(1, 4, Some("four"), None), |_| true);
        assert_eq!(get(&rows, 1), Lookup::Row(Arc::new("five")));
        rows.put(arrival(1, 6, None, None), |_| true);
        rows.put(arrival(1, 5, Some("five"), None), |_| true);
        assert_eq!(get(&rows, 1), Lookup::Retracted);
        assert_eq!(get(&rows, 2), Lookup::Unknown);
        assert_eq!(rows.get(&tenant("b"), Uuid::from_u128(1)), Lookup::Unknown, "another tenant's");
    }

    #[test]
    fn the_oldest_make_room_and_leave_their_version_until_it_is_stored() {
        let rows = Rows::new(1000);
        for id in 0..10 {
            rows.put(arrival(id, 7, Some("row"), Some((0, id as i64))), |_| false);
        }
        assert!(rows.bytes() <= 1000);
        assert_eq!(get(&rows, 0), Lookup::AtLeast(7));
        assert_eq!(get(&rows, 9), Lookup::Row(Arc::new("row")));
        // The table has it again.
        rows.put(arrival(0, 7, Some("row"), None), |_| false);
        assert_eq!(get(&rows, 0), Lookup::Row(Arc::new("row")));
        rows.put(arrival(11, 7, Some("row"), Some((0, 11))), |_| true);
        assert_eq!(get(&rows, 1), Lookup::Unknown);
    }

    #[test]
    fn a_busy_row_does_not_fill_the_memory_with_its_past() {
        let rows = Rows::new(2000);
        for version in 0..10_000 {
            rows.put(arrival(1, version, Some("row"), Some((0, version as i64))), |_| false);
        }
        let order = rows.order.lock().unwrap();
        assert!(order.held.len() * size_of::<(Uuid, u64)>() <= 2000, "{}", order.held.len());
        drop(order);
        assert_eq!(get(&rows, 1), Lookup::Row(Arc::new("row")));
    }
}
