//! Event ids seen lately under one key.

use std::collections::{BTreeSet, VecDeque};

use crate::event::Millis;

/// The ids of a horizon of append time.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct RecentIds {
    seen: BTreeSet<String>,
    order: VecDeque<(Millis, String)>,
}

impl RecentIds {
    /// Remembers an id; `false` if it was seen within `horizon` before the `clock`.
    pub fn insert(&mut self, id: &str, clock: Millis, horizon: Millis) -> bool {
        while self.order.front().is_some_and(|(seen, _)| clock.saturating_sub(*seen) > horizon) {
            if let Some((_, old)) = self.order.pop_front() {
                self.seen.remove(&old);
            }
        }
        let is_new = self.seen.insert(id.to_owned());
        if is_new {
            self.order.push_back((clock, id.to_owned()));
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_forgotten_after_the_horizon() {
        let mut ids = RecentIds::default();
        assert!(ids.insert("a", 0, 10));
        assert!(!ids.insert("a", 10, 10));
        assert!(ids.insert("a", 11, 10));
        assert!(!ids.insert("a", 12, 10));
    }
}
