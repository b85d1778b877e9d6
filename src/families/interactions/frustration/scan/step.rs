//! One step of the pass: how each matcher takes an event in.

use std::sync::Arc;

use super::Effects;
use super::streak::{FIRST, KEPT, Member, Place, Streak};
use crate::engine::Millis;
use crate::families::interactions::frustration::normalized_event::NormalizedEvent;
use crate::families::interactions::frustration::pointer::turns_back;
use crate::families::interactions::frustration::rule::{
    Absence, Count, Reversal, Same, Sequence, any, any_after,
};

/// Streaks that a rule follows at once; the oldest gives way.
const AT_ONCE: usize = 16;
/// One event under one rule.
pub(super) struct Step<'a> {
    pub rule: usize,
    pub event: &'a NormalizedEvent,
    pub streaks: &'a mut Arc<Vec<Streak>>,
    pub effects: &'a mut Effects,
}

impl Step<'_> {
    /// The streaks, to be changed: a copy of the state before shares them.
    fn edit(&mut self) -> &mut Vec<Streak> {
        Arc::make_mut(self.streaks)
    }

    fn find(&self, common: u64) -> Option<usize> {
        self.streaks.iter().position(|streak| streak.common == common)
    }

    /// Makes room for another streak, and begins it; the oldest gives way.
    fn begin(&mut self, common: u64) {
        if self.streaks.len() >= AT_ONCE {
            self.end(0);
        }
        let streak = Streak::of(self.event, common);
        self.edit().push(streak);
    }

    /// A streak is over: what it is stays.
    fn end(&mut self, place: usize) {
        let streak = self.edit().remove(place);
        if streak.fired {
            self.effects.closed.push(streak.candidate(self.rule, None));
        }
    }

    pub fn count(&mut self, count: &Count) {
        let event = self.event;
        let is_reset = |streak: &Streak| any_after(&count.reset, event, streak.started, streak.route());
        while let Some(place) = self.streaks.iter().position(is_reset) {
            self.end(place);
        }
        if !self.streaks.is_empty() && any(&count.unless, event) {
            self.take_back(count);
        }
        let (true, Some(common)) = (any(&count.of, event), count.same.of(event)) else { return };
        let Some(mut place) = self.find(common) else {
            self.begin(common);
            return self.fire_count(count, self.streaks.len() - 1);
        };
        let last = self.streaks[place].last();
        if count.merge > 0 && event.time - last.time < count.merge {
            return;
        }
        let is_apart = count.gap.is_some_and(|gap| event.time - last.time >= gap)
            || count
                .distance
                .is_some_and(|limit| !count.metric.is_less((last.x, last.y), (event.x, event.y), limit));
        let is_over = is_apart || !self.goes_on(count, place);
        if is_over {
            self.end(place);
            self.begin(common);
            place = self.streaks.len() - 1;
        } else {
            let streak = &mut self.edit()[place];
            streak.add(event);
            if let Some(span) = count.span.filter(|_| !streak.fired) {
                streak.retain(|member| event.time - member.time <= span);
            }
        }
        self.fire_count(count, place);
    }

    /// What is followed by this event does not count.
    fn take_back(&mut self, count: &Count) {
        let event = self.event;
        let mut is_changed = false;
        let streaks = self.edit();
        for streak in &mut *streaks {
            let before = (streak.count, streak.fired);
            if count.spoils {
                let last = streak.last().time;
                streak.spoiled |= any_after(&count.unless, event, last, streak.route());
            } else {
                streak.retain(|member| !any_after(&count.unless, event, member.time, ""));
            }
            streak.fired &= streak.count >= count.at_least && !streak.spoiled;
            is_changed |= before.1 && before != (streak.count, streak.fired);
        }
        streaks.retain(|streak| streak.count > 0);
        self.effects.is_changed |= is_changed;
    }

    /// Whether a streak that is found goes on with this event: again there are enough within the span.
    fn goes_on(&self, count: &Count, place: usize) -> bool {
        let streak = &self.streaks[place];
        let Some(span) = count.span.filter(|_| streak.fired) else { return true };
        let within = streak.members.iter().filter(|member| self.event.time - member.time <= span).count();
        within + 1 >= (count.at_least as usize).min(KEPT - FIRST)
    }

    fn fire_count(&mut self, count: &Count, place: usize) {
        let streak = &self.streaks[place];
        let lasts = count.lasting.is_none_or(|lasting| self.event.time - streak.started >= lasting);
        if streak.fired || (streak.count >= count.at_least && lasts && !streak.spoiled) {
            self.edit()[place].fired = true;
            self.effects.is_changed = true;
        }
    }

    pub fn absence(&mut self, absence: &Absence) {
        let event = self.event;
        let mut place = 0;
        while let Some(streak) = self.streaks.get(place) {
            let age = event.time - streak.started;
            let is_same = absence.same == Same::Session || absence.same.of(event) == Some(streak.common);
            if absence.then.is_empty() && age > absence.within {
                // Its time-out is over: no later event can be its answer.
                let streak = self.edit().remove(place);
                if absence.takes(streak.count) {
                    let due = Some(streak.started + absence.within);
                    self.effects.closed.push(streak.candidate(self.rule, due));
                }
            } else if is_same && any_after(&absence.of, event, streak.started, streak.route()) {
                let streak = self.edit().remove(place);
                self.wait(absence, streak.earliest.offset, None);
            } else if any_after(&absence.then, event, streak.started, streak.route()) {
                let streak = self.edit().remove(place);
                if age >= absence.within && absence.takes(streak.count) {
                    self.effects.closed.push(streak.candidate(self.rule, None));
                    self.effects.is_changed = true;
                }
            } else {
                place += 1;
            }
        }
        let (true, Some(common)) = (any(&absence.after, event), absence.collapse.of(event)) else { return };
        let place = match self.find(common) {
            Some(place) => {
                self.edit()[place].add(event);
                place
            }
            None => {
                if self.streaks.len() >= AT_ONCE {
                    let streak = self.edit().remove(0);
                    self.wait(absence, streak.earliest.offset, None);
                }
                let streak = Streak::of(event, common);
                self.edit().push(streak);
                self.streaks.len() - 1
            }
        };
        let Streak { count, started, ref earliest, .. } = self.streaks[place];
        let due = absence.takes(count).then_some(started + absence.within);
        let earliest = earliest.offset;
        self.wait(absence, earliest, due);
    }

    /// Says that a streak is waited for, or no more: a signal that only time brings.
    fn wait(&mut self, absence: &Absence, earliest: i64, due: Option<Millis>) {
        if absence.then.is_empty() {
            self.effects.waits.push((self.rule as u16, earliest, due));
        }
    }

    pub fn reversal(&mut self, reversal: &Reversal) {
        let event = self.event;
        let Some(path) = &event.pointer_path else { return };
        let mut turns: Vec<Millis> =
            path.turns.iter().map(|after| event.time + Millis::from(*after)).collect();
        let from = self.streaks.last().map_or((0, 0), |streak| streak.direction);
        if turns_back(from, path.begins) {
            turns.insert(0, event.time);
        }
        for time in turns {
            let member = Member { time, ..Member::of(event) };
            let span = reversal.span;
            let is_over = match self.streaks.last() {
                None => true,
                Some(streak) if streak.fired => time - streak.last().time > span,
                Some(_) => false,
            };
            if is_over {
                if !self.streaks.is_empty() {
                    self.end(0);
                }
                self.begin(0);
                if let Some(streak) = self.edit().last_mut() {
                    (streak.started, streak.members) = (time, vec![member]);
                }
            } else if let Some(streak) = self.edit().last_mut() {
                streak.push(member, Place::of(event));
                if !streak.fired {
                    streak.retain(|member| time - member.time <= span);
                }
            }
            self.effects.is_changed |= self.edit().last_mut().is_some_and(|streak| {
                streak.fired |= streak.count >= reversal.at_least;
                streak.fired
            });
        }
        if self.streaks.is_empty() {
            self.begin(0);
            if let Some(streak) = self.edit().last_mut() {
                (streak.members, streak.count) = (Vec::new(), 0);
            }
        }
        if let Some(streak) = self.edit().last_mut() {
            streak.direction = path.ends;
        }
    }

    pub fn sequence(&mut self, sequence: &Sequence) {
        let event = self.event;
        if any(&sequence.then, event)
            && let Some(common) = sequence.same.of(event)
            && let Some(place) = self.find(common)
        {
            // It answers one, and no other.
            let mut streak = self.edit().remove(place);
            let (time, route) = (streak.started, streak.route().to_owned());
            if event.time - time <= sequence.within && any_after(&sequence.then, event, time, &route) {
                streak.add(event);
                self.effects.closed.push(streak.candidate(self.rule, None));
                self.effects.is_changed = true;
            }
        }
        if any(&sequence.first, event)
            && let Some(common) = sequence.same.of(event)
        {
            // The last one is the one that is followed.
            let streak = Streak::of(event, common);
            match self.find(common) {
                Some(place) => drop(self.edit().remove(place)),
                None if self.streaks.len() >= AT_ONCE => drop(self.edit().remove(0)),
                None => {}
            }
            self.edit().push(streak);
        }
    }
}
