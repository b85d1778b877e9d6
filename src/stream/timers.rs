//! Event-time timers: per key in (due, name) order, and per partition one heap that knows which key
//! has one due next in silence (I3, DESIGN section 4).

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::sync::Arc;

use super::time::KeyTime;
use crate::event::Millis;

/// The timers of one key.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct KeyTimers {
    /// (due, name), waiting for the watermark.
    pending: BTreeSet<(Millis, String)>,
    /// (clock, due, name): set in the past, so they wait D of append time first; a loaded pair
    /// (opened, closed) is not a breach.
    deferred: BTreeSet<(Millis, Millis, String)>,
    /// The key's earliest entry in the partition's heap that still counts.
    wake: Option<Millis>,
}

impl KeyTimers {
    /// Sets a timer, under the key's time as it stands.
    pub fn set(&mut self, due: Millis, name: String, time: &KeyTime, allowance: Millis, clock: Millis) {
        if due < time.watermark(allowance, clock) {
            self.deferred.insert((clock.saturating_add(allowance), due, name));
        } else {
            self.pending.insert((due, name));
        }
    }

    /// Takes the next timer that the watermark has strictly passed.
    pub fn pop_due(&mut self, watermark: Millis, clock: Millis) -> Option<(Millis, String)> {
        while self.deferred.first().is_some_and(|(wait, ..)| *wait <= clock) {
            let (_, due, name) = self.deferred.pop_first()?;
            self.pending.insert((due, name));
        }
        if self.pending.first()?.0 < watermark { self.pending.pop_first() } else { None }
    }

    /// The first reading of the clock at which, in silence, a timer may fire.
    fn next_wake(&self, time: &KeyTime, allowance: Millis) -> Option<Millis> {
        let pending = self.pending.first().map(|(due, _)| time.passes_at(*due, allowance));
        let deferred = self.deferred.first().map(|(wait, ..)| *wait);
        match (pending, deferred) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}

/// Which key has a timer due next in silence, in append time. An entry may be too early (its key has
/// had records since): it is corrected when it surfaces. It is never too late: an earlier one is pushed anew.
#[derive(Debug, Default)]
pub(super) struct WakeQueue {
    heap: BinaryHeap<Reverse<(Millis, Arc<str>)>>,
}

impl WakeQueue {
    /// Makes sure that the key surfaces no later than its next timer.
    pub fn schedule(&mut self, key: &Arc<str>, timers: &mut KeyTimers, time: &KeyTime, allowance: Millis) {
        let Some(next) = timers.next_wake(time, allowance) else { return };
        if timers.wake.is_none_or(|wake| next < wake) {
            timers.wake = Some(next);
            self.heap.push(Reverse((next, Arc::clone(key))));
        }
    }

    /// The next entry at or before `clock`: its reading of the clock, and its key.
    pub fn pop(&mut self, clock: Millis) -> Option<(Millis, Arc<str>)> {
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

impl KeyTimers {
    /// Whether a heap entry that surfaced is the one that counts; from then on there is none.
    pub fn surfaced(&mut self, wake: Millis) -> bool {
        let counts = self.wake == Some(wake);
        if counts {
            self.wake = None;
        }
        counts
    }
}
