//! Which timers fire, and in what order.

use std::collections::BTreeSet;

use super::Task;
use crate::engine::Millis;
use crate::engine::key_cell::tenant_of;
use crate::engine::operator::{Operator, Rejection};
use crate::engine::record::shortened;
use crate::engine::rows::DeadLetter;
use crate::engine::timers::Wake;

impl<O: Operator> Task<O> {
    /// Whether, in silence, a timer is due once the clock reads `now`: a mark appended then makes it fire (I4).
    pub fn is_due(&mut self, now: Millis) -> bool {
        while let Some((wake, key)) = self.state.wakes.pop(now) {
            if let Some(next) = self.surface(wake, key) {
                if next <= now {
                    self.surface_at_once(key);
                    return true;
                }
                self.schedule(key);
            }
        }
        false
    }

    /// The reading of the clock at which, in silence, the next timer is due.
    pub fn next_wake(&mut self) -> Option<Millis> {
        loop {
            let (wake, key) = self.state.wakes.pop(Millis::MAX)?;
            if let Some(next) = self.surface(wake, key) {
                let is_next = self.state.wakes.next().is_none_or(|other| next <= other);
                self.schedule(key);
                if is_next {
                    return Some(next);
                }
            }
        }
    }

    /// Fires what the clock has made due, timer by timer: in the order in which the clock has made their keys so, then
    /// of the keys' names, so that it makes no difference where the rows reach their end. `false`: they have.
    pub(super) fn fire_due(&mut self, end: usize, rows: &mut Vec<O::Row>) -> bool {
        let clock = self.position.clock;
        // A key's place in memory is not part of the fold; its name is.
        let mut due = BTreeSet::new();
        while let Some((wake, key)) = self.state.wakes.pop(clock) {
            match self.surface(wake, key) {
                Some(next) if next <= clock => {
                    due.insert((next, self.state.cells[key].name.clone(), key));
                }
                Some(_) => self.schedule(key),
                None => {}
            }
        }
        while let Some((_, name, key)) = due.pop_first() {
            loop {
                if !self.fire_next(key, end, rows) {
                    self.surface_at_once(key);
                    due.into_iter().for_each(|(.., key)| self.surface_at_once(key));
                    return false;
                }
                if self.next_due(key).is_none() {
                    self.schedule(key);
                    break;
                }
                let allowance = self.allowance(key);
                let cell = &self.state.cells[key];
                let next = cell.timers.next_wake(&cell.head.time, allowance).unwrap_or(clock);
                if due.first().is_some_and(|(other, other_name, _)| (*other, other_name) < (next, &name)) {
                    due.insert((next, name, key));
                    break;
                }
            }
        }
        true
    }

    /// Fires the key's timers that its watermark has strictly passed, in (due, timer) order. `false`: the rows have
    /// reached their end.
    pub(super) fn fire_key(&mut self, key: usize, end: usize, rows: &mut Vec<O::Row>) -> bool {
        while self.next_due(key).is_some() {
            if !self.fire_next(key, end, rows) {
                return false;
            }
        }
        true
    }

    /// Fires the first of them.
    fn fire_next(&mut self, key: usize, end: usize, rows: &mut Vec<O::Row>) -> bool {
        let Some((due, timer)) = self.next_due(key) else { return true };
        if self.is_full(end, rows) {
            return false;
        }
        self.fire(key, &timer, due, rows);
        true
    }

    /// The key's next timer that its watermark has strictly passed; those whose wait is over wait no more.
    pub(super) fn next_due(&mut self, key: usize) -> Option<(Millis, O::Timer)> {
        let clock = self.position.clock;
        while let Some((timer, time)) = self.state.cells[key].timers.matured(clock) {
            self.state.put_timer(key, &timer, Some(time));
        }
        let cell = &self.state.cells[key];
        cell.timers.next_due(cell.head.time.watermark(self.allowance(key), clock))
    }

    fn fire(&mut self, key: usize, timer: &O::Timer, due: Millis, rows: &mut Vec<O::Row>) {
        self.state.put_timer(key, timer, None);
        let fired = self.attempt(key, rows, |operator, context| {
            operator.timer(context, timer, due);
            Ok(())
        });
        if let Err(rejection) = fired {
            self.progress.totals.poisoned_timers += 1;
            let what = format!("timer {timer:?}, due {due}");
            rows.push(self.poisoned(key, "poison_timer", &what, rejection).into());
        }
    }

    /// The dead letter of what failed under a key without a record of its own.
    pub(super) fn poisoned(&self, key: usize, reason: &str, what: &str, rejection: Rejection) -> DeadLetter {
        let cause = match rejection {
            Rejection::Refused { reason, message } => format!("{reason}: {message}"),
            Rejection::Late => "late".to_owned(),
        };
        let name = &self.state.cells[key].name;
        DeadLetter {
            topic: self.position.topic.to_string(),
            partition: self.position.partition,
            offset: self.position.offset,
            append_time: self.position.append_time,
            tenant: Some(tenant_of(name).to_owned()),
            event_id: None,
            operator: O::NAME.to_owned(),
            reason: reason.to_owned(),
            message: shortened(&format!("{what}, of key {name}: {cause}")),
            record_key: Some(name.as_bytes().to_vec()),
            record_value: None,
        }
    }

    /// An entry of the wake queue has surfaced: when its key is due next.
    fn surface(&mut self, wake: Millis, key: usize) -> Option<Millis> {
        let allowance = self.state.cells.contains(key).then(|| self.allowance(key))?;
        let cell = &mut self.state.cells[key];
        if cell.wake.is_at(wake) {
            cell.wake = Wake::default();
        }
        cell.timers.next_wake(&cell.head.time, allowance)
    }

    /// Makes sure that the key surfaces no later than its next timer.
    pub(super) fn schedule(&mut self, key: usize) {
        let allowance = self.allowance(key);
        let cell = &mut self.state.cells[key];
        if let Some(next) = cell.timers.next_wake(&cell.head.time, allowance) {
            self.state.wakes.schedule(key, next, &mut cell.wake, self.position.clock);
        }
    }

    pub(super) fn surface_at_once(&mut self, key: usize) {
        let cell = &mut self.state.cells[key];
        cell.wake = Wake::default();
        self.state.wakes.schedule(key, Millis::MIN, &mut cell.wake, Millis::MIN);
    }

    pub(super) fn schedule_expiry(&mut self, key: usize) {
        let last_append = self.state.cells[key].head.time.last_append;
        let at = last_append.saturating_add(self.settings.duplicate_horizon).saturating_add(1);
        self.state.expiries.schedule(key, at, &mut Wake::default(), self.position.clock);
    }
}
