//! Event-time timers: per key in (due, timer) order, and per partition one heap that knows which key has one due next
//! in silence (I3).

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use serde::{Deserialize, Serialize};

use super::slot::Slot;
use super::small_map::SmallMap;
use super::time::{Allowance, KeyTime};
use crate::engine::Millis;

/// When a timer may fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TimerTime {
    /// Its due time, in event time.
    pub due: Millis,
    /// The reading of the clock before which it waits: one that is set in the past waits D of append time first, so
    /// that a loaded pair (opened, closed) is not a breach.
    pub not_before: Option<Millis>,
}

/// The timers of one key. While there are few, the next one is found by looking at all.
#[derive(Debug, Clone)]
pub(super) struct KeyTimers<T> {
    times: SmallMap<T, Slot<TimerTime>>,
    /// Of many, those that come next.
    order: Option<Box<Order<T>>>,
}

#[derive(Debug, Clone)]
struct Order<T> {
    /// (due, timer) of those that wait for the watermark alone.
    pending: BTreeSet<(Millis, T)>,
    /// (clock, due, timer) of those that were set in the past.
    deferred: BTreeSet<(Millis, Millis, T)>,
}

impl<T: Ord> Order<T> {
    fn of<'a>(times: impl Iterator<Item = (&'a T, &'a TimerTime)>) -> Self
    where
        T: Clone + 'a,
    {
        let mut order = Self { pending: BTreeSet::new(), deferred: BTreeSet::new() };
        times.for_each(|(timer, time)| order.insert(timer.clone(), *time));
        order
    }

    fn insert(&mut self, timer: T, TimerTime { due, not_before }: TimerTime) {
        match not_before {
            None => drop(self.pending.insert((due, timer))),
            Some(clock) => drop(self.deferred.insert((clock, due, timer))),
        }
    }

    fn remove(&mut self, timer: T, TimerTime { due, not_before }: TimerTime) {
        match not_before {
            None => drop(self.pending.remove(&(due, timer))),
            Some(clock) => drop(self.deferred.remove(&(clock, due, timer))),
        }
    }
}

impl<T> Default for KeyTimers<T> {
    fn default() -> Self {
        Self { times: SmallMap::default(), order: None }
    }
}

impl<T: Ord + Clone> KeyTimers<T> {
    pub fn get(&self, timer: &T) -> Option<TimerTime> {
        self.times.get(timer).map(|slot| slot.value)
    }

    /// Sets, moves or cancels a timer; returns what it was.
    pub fn put(&mut self, timer: &T, time: Option<Slot<TimerTime>>) -> Option<Slot<TimerTime>> {
        let value = time.as_ref().map(|slot| slot.value);
        let before = match time {
            Some(slot) => self.times.insert(timer.clone(), slot),
            None => self.times.remove(timer),
        };
        match &mut self.order {
            Some(_) if self.times.is_empty() => self.order = None,
            Some(order) => {
                before.iter().for_each(|slot| order.remove(timer.clone(), slot.value));
                value.into_iter().for_each(|time| order.insert(timer.clone(), time));
            }
            None if self.times.is_many() => self.order = Some(Box::new(Order::of(self.iter()))),
            None => {}
        }
        before
    }

    /// The first of the timers whose wait is over: from now on it waits for the watermark alone.
    pub fn matured(&self, clock: Millis) -> Option<(T, TimerTime)> {
        let (wait, due, timer) = match &self.order {
            Some(order) => order.deferred.first().map(|(wait, due, timer)| (*wait, *due, timer)),
            None => self.deferred().min(),
        }?;
        (wait <= clock).then(|| (timer.clone(), TimerTime { due, not_before: None }))
    }

    /// The next timer that the watermark has strictly passed.
    pub fn next_due(&self, watermark: Millis) -> Option<(Millis, T)> {
        let (due, timer) = self.next_pending()?;
        (due < watermark).then(|| (due, timer.clone()))
    }

    /// The first reading of the clock at which, in silence, a timer may fire.
    pub fn next_wake(&self, time: &KeyTime, allowance: Allowance) -> Option<Millis> {
        let wake = |wait: Millis, due: Millis| wait.max(time.passes_at(due, allowance));
        let mut first = self.next_pending().map(|(due, _)| time.passes_at(due, allowance));
        let Some(order) = &self.order else {
            return self.deferred().map(|(wait, due, _)| wake(wait, due)).chain(first).min();
        };
        for (wait, due, _) in &order.deferred {
            // They come in the order of their waits, but one that waits longer may be due earlier: the watermark, which had
            // run ahead in silence, falls back with the key's next record.
            if first.is_some_and(|first| first <= *wait) {
                break;
            }
            let wake = wake(*wait, *due);
            first = Some(first.map_or(wake, |first| first.min(wake)));
        }
        first
    }

    /// The first of those that wait for the watermark alone.
    fn next_pending(&self) -> Option<(Millis, &T)> {
        match &self.order {
            Some(order) => order.pending.first().map(|(due, timer)| (*due, timer)),
            None => {
                let pending = self.iter().filter(|(_, time)| time.not_before.is_none());
                pending.map(|(timer, time)| (time.due, timer)).min()
            }
        }
    }

    /// Those that were set in the past: (clock, due, timer), in the order of the timers.
    fn deferred(&self) -> impl Iterator<Item = (Millis, Millis, &T)> {
        self.iter().filter_map(|(timer, time)| Some((time.not_before?, time.due, timer)))
    }

    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&T, &TimerTime)> {
        self.times.iter().map(|(timer, slot)| (timer, &slot.value))
    }
}

/// The reading of the clock of a key's entry in a [`WakeQueue`], where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wake(Millis);

impl Default for Wake {
    /// It has none.
    fn default() -> Self {
        Self(Millis::MAX)
    }
}

impl Wake {
    /// Whether its entry is at that reading.
    pub fn is_at(self, clock: Millis) -> bool {
        self.0 == clock
    }
}

/// Which key has a timer due next in silence, in append time. An entry may be too early (its key has had records
/// since): it is corrected when it surfaces. It is never too late: an earlier one is pushed anew.
#[derive(Debug, Default)]
pub(super) struct WakeQueue {
    heap: BinaryHeap<Reverse<(Millis, usize)>>,
}

impl WakeQueue {
    /// Makes sure that a key surfaces no later than `next`. `scheduled` is the key's entry that counts.
    pub fn schedule(&mut self, key: usize, next: Millis, scheduled: &mut Wake, clock: Millis) {
        if scheduled.0 <= next {
            return;
        }
        // Where the key's time runs ahead of the log's (a backlog is loaded), its timers come nearer with each record. Half-way there,
        // there are few entries however many records there are.
        let is_nearer = *scheduled != Wake::default() && next > clock;
        let wake = if is_nearer { clock + (next - clock) / 2 } else { next };
        *scheduled = Wake(wake);
        self.heap.push(Reverse((wake, key)));
    }

    /// The next entry at or before `clock`: its reading of the clock, and its key.
    pub fn pop(&mut self, clock: Millis) -> Option<(Millis, usize)> {
        if self.next()? > clock {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    /// The reading of the clock of the next entry.
    pub fn next(&self) -> Option<Millis> {
        self.heap.peek().map(|Reverse((wake, _))| *wake)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(due: Millis) -> Option<Slot<TimerTime>> {
        Some(Slot::new(TimerTime { due, not_before: None }))
    }

    #[test]
    fn i3_timers_fire_in_the_order_of_due_and_name() {
        let mut timers = KeyTimers::default();
        for (timer, due) in [("c", 5), ("b", 3), ("a", 5)] {
            timers.put(&timer, at(due));
        }
        let mut fired = Vec::new();
        while let Some((due, timer)) = timers.next_due(6) {
            timers.put(&timer, None);
            fired.push((due, timer));
        }
        assert_eq!(fired, [(3, "b"), (5, "a"), (5, "c")]);
    }

    #[test]
    fn i3_a_timer_waits_until_the_watermark_is_past_it() {
        let mut timers = KeyTimers::default();
        timers.put(&1, at(5));
        assert_eq!(timers.next_due(5), None);
        assert_eq!(timers.next_due(6), Some((5, 1)));
    }

    #[test]
    fn a_timer_that_is_set_again_moves() {
        let mut timers = KeyTimers::default();
        timers.put(&1, at(5));
        assert_eq!(timers.put(&1, at(9)), at(5));
        assert_eq!(timers.next_due(9), None);
        timers.put(&1, Some(Slot::new(TimerTime { due: 2, not_before: Some(50) })));
        assert_eq!(timers.next_due(100), None);
        assert_eq!(timers.matured(49), None);
        let (timer, time) = timers.matured(50).unwrap();
        timers.put(&timer, Some(Slot::new(time)));
        assert_eq!(timers.next_due(100), Some((2, 1)));
        timers.put(&1, None);
        assert!(timers.is_empty() && timers.order.is_none());
    }

    #[test]
    fn i3_of_timers_set_in_the_past_the_one_that_waits_longer_may_be_due_first() {
        let mut timers = KeyTimers::default();
        // Set in silence, when the watermark was at 90; then a record took it back to -10.
        timers.put(&1, Some(Slot::new(TimerTime { due: 89, not_before: Some(110) })));
        timers.put(&2, Some(Slot::new(TimerTime { due: -50, not_before: Some(111) })));
        assert_eq!(timers.next_wake(&KeyTime::first(0, 101), Allowance::of(10)), Some(111));
    }

    proptest::proptest! {
        /// Few or many: the same timers are next.
        #[test]
        fn i3_many_timers_come_in_the_order_of_few(
            puts in proptest::collection::vec((0_u8..40, proptest::option::of((0_i64..30, proptest::option::of(0_i64..30)))), 1..120),
            (clock, watermark) in (0_i64..40, 0_i64..40),
        ) {
            let mut timers = KeyTimers::default();
            let mut model = KeyTimers::default();
            for (timer, time) in puts {
                let slot = time.map(|(due, not_before)| Slot::new(TimerTime { due, not_before }));
                proptest::prop_assert_eq!(timers.put(&timer, slot.clone()), model.put(&timer, slot));
                // It looks at all of them.
                model.order = None;
                let time = KeyTime::first(5, 7);
                let allowance = Allowance::of(3);
                proptest::prop_assert_eq!(timers.matured(clock), model.matured(clock));
                proptest::prop_assert_eq!(timers.next_due(watermark), model.next_due(watermark));
                proptest::prop_assert_eq!(timers.next_wake(&time, allowance), model.next_wake(&time, allowance));
            }
        }
    }

    #[test]
    fn a_backlog_leaves_few_entries() {
        let mut queue = WakeQueue::default();
        let mut scheduled = Wake::default();
        for next in (0..1_000_000).rev() {
            queue.schedule(0, next, &mut scheduled, 0);
        }
        assert!(queue.heap.len() <= 22, "{}", queue.heap.len());
    }
}
