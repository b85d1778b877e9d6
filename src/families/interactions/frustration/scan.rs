//! One pass over a session's events in the order of their time: what the matchers remember, and what they have found.
//!
//! The state after an event is a function of the events up to it, so a late one is put in its place and the pass goes on from the
//! state before it. Each step looks at a bounded number of streaks, whatever the length of the session.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::element::Element;
use super::fact::{Fact, turns_back};
use super::rule::{Absence, Count, Matcher, Reversal, Rule, Same, Sequence, any, any_after};
use super::settings::InteractionSettings;
use crate::engine::Millis;

/// Streaks that a rule follows at once; the oldest gives way.
const AT_ONCE: usize = 16;
/// Members of a streak that are kept: the first 8, and the last 24 of the others, as in evidence.
const FIRST: usize = 8;
const KEPT: usize = 32;

/// What the matchers remember.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Scan {
    /// By rule; a copy shares what does not change.
    streaks: Vec<Arc<Vec<Streak>>>,
    /// Without the pauses.
    pub active_ms: i64,
    /// The last thing that a person did.
    last_human: Option<Millis>,
}

/// Events that may become a signal, or are one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Streak {
    /// What its events have in common.
    common: u64,
    started: Millis,
    members: Vec<Member>,
    /// Where its members were.
    places: Vec<Place>,
    count: u32,
    /// The first of its events to arrive.
    earliest: Member,
    /// It is a signal.
    fired: bool,
    spoiled: bool,
    /// The last direction of the pointer.
    direction: (i32, i32),
}

/// A route, and an element of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Place {
    route: Arc<str>,
    element: Option<Arc<Element>>,
}

impl Place {
    fn of(fact: &Fact) -> Self {
        Self { route: Arc::clone(&fact.route), element: fact.target.clone() }
    }
}

/// An event of a streak.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// When it happened.
    pub time: Millis,
    /// Where in the log.
    pub offset: i64,
    /// When it was appended.
    pub append_time: Millis,
    /// Its event id in words.
    pub name: Arc<str>,
    x: i32,
    y: i32,
    /// Which of the streak's places.
    place: u8,
}

impl Member {
    fn of(fact: &Fact) -> Self {
        let Fact { time, offset, append_time, x, y, .. } = *fact;
        Self { time, offset, append_time, name: Arc::clone(&fact.name), x, y, place: 0 }
    }
}

/// A signal, found; or one that will be, unless something comes before it is due.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Of which rule: its place among them.
    pub rule: u16,
    /// On which route.
    pub route: Arc<str>,
    /// About which element.
    pub element: Option<Arc<Element>>,
    /// When it began.
    pub started: Millis,
    /// When it ended.
    pub ended: Millis,
    /// How many events it took.
    pub count: u32,
    /// The watermark has to pass this first.
    pub due: Option<Millis>,
    /// Its events: the first and the last of them.
    pub members: Vec<Member>,
    /// The first of its events to arrive: names it.
    pub earliest: Member,
}

impl Streak {
    fn of(fact: &Fact, common: u64) -> Self {
        let member = Member::of(fact);
        Self {
            common,
            places: vec![Place::of(fact)],
            started: fact.time,
            members: vec![member.clone()],
            count: 1,
            earliest: member,
            fired: false,
            spoiled: false,
            direction: (0, 0),
        }
    }

    fn last(&self) -> &Member {
        // A streak without members is removed at once.
        self.members.last().unwrap_or(&self.earliest)
    }

    /// Where the first of its members was.
    fn place(&self) -> Option<&Place> {
        self.places.get(self.members.first().map_or(0, |first| usize::from(first.place)))
    }

    fn route(&self) -> &str {
        self.place().map_or("", |place| &place.route)
    }

    fn push(&mut self, member: Member, place: Place) {
        if member.offset < self.earliest.offset {
            self.earliest = member.clone();
        }
        if self.members.len() == KEPT {
            self.members.remove(FIRST);
            self.forget_places();
        }
        let known = self.places.iter().position(|known| *known == place);
        let member = Member { place: known.unwrap_or(self.places.len()) as u8, ..member };
        if known.is_none() {
            self.places.push(place);
        }
        self.members.push(member);
        self.count += 1;
    }

    fn add(&mut self, fact: &Fact) {
        self.push(Member::of(fact), Place::of(fact));
    }

    /// Forgets members; those that are left say when and where it began and what came first.
    fn retain(&mut self, keep: impl FnMut(&Member) -> bool) {
        let before = self.members.len();
        self.members.retain(keep);
        self.forget_places();
        self.count -= (before - self.members.len()) as u32;
        if let Some(first) = self.members.first() {
            self.started = first.time;
        }
        if let Some(earliest) = self.members.iter().min_by_key(|member| member.offset) {
            self.earliest = Member { place: 0, ..earliest.clone() };
        }
    }

    /// Places where no member is any more: so there are never more than members.
    fn forget_places(&mut self) {
        if self.places.len() < 2 {
            return;
        }
        let former = std::mem::take(&mut self.places);
        for member in &mut self.members {
            let Some(place) = former.get(usize::from(member.place)) else { continue };
            let known = self.places.iter().position(|known| known == place);
            member.place = known.unwrap_or(self.places.len()) as u8;
            if known.is_none() {
                self.places.push(place.clone());
            }
        }
    }

    fn candidate(&self, rule: usize, due: Option<Millis>) -> Candidate {
        Candidate {
            rule: rule as u16,
            route: self.place().map_or_else(Arc::default, |place| Arc::clone(&place.route)),
            element: self.place().and_then(|place| place.element.clone()),
            started: self.started,
            ended: self.last().time,
            count: self.count,
            due,
            members: self.members.clone(),
            earliest: self.earliest.clone(),
        }
    }
}

/// What a step brings.
#[derive(Debug, Default)]
pub struct Effects {
    /// What is found for good.
    pub closed: Vec<Candidate>,
    /// What is found is another now.
    pub is_changed: bool,
    /// What is waited for from now on: its rule, the place of its first event to arrive, and when it is due; `None`: no more.
    pub waits: Vec<(u16, i64, Option<Millis>)>,
}

impl Scan {
    /// Takes the next event in.
    pub fn step(&mut self, fact: &Fact, settings: &InteractionSettings, effects: &mut Effects) {
        if fact.kind.is_human() {
            if let Some(last) = self.last_human {
                let pause = fact.time - last;
                self.active_ms += if pause <= settings.active_gap { pause } else { 0 };
            }
            self.last_human = Some(fact.time);
        }
        self.streaks.resize(settings.rules.len(), Arc::default());
        let rules = settings.rules.iter().zip(&mut self.streaks).enumerate();
        for (place, (rule, streaks)) in rules.filter(|(_, (rule, _))| rule.kinds & fact.kind.bit() != 0) {
            let mut step = Step { rule: place, fact, streaks, effects };
            match &rule.matcher {
                Matcher::Count(count) => step.count(count),
                Matcher::Absence(absence) => step.absence(absence),
                Matcher::Reversal(reversal) => step.reversal(reversal),
                Matcher::Sequence(sequence) => step.sequence(sequence),
            }
        }
    }

    /// Without what depends on the rules.
    pub fn without_streaks(&self) -> Self {
        Self { streaks: Vec::new(), ..*self }
    }

    /// What is found, or waited for, and may still change with the next event. `is_closed`: the session is over.
    pub fn open(&self, settings: &InteractionSettings, is_closed: bool, found: &mut Vec<Candidate>) {
        for (place, (Rule { matcher, .. }, streaks)) in settings.rules.iter().zip(&self.streaks).enumerate() {
            for streak in &**streaks {
                match matcher {
                    Matcher::Count(_) | Matcher::Reversal(_) if streak.fired => {
                        found.push(streak.candidate(place, None));
                    }
                    Matcher::Absence(absence) if absence.then.is_empty() && absence.takes(streak.count) => {
                        found.push(streak.candidate(place, Some(streak.started + absence.within)));
                    }
                    Matcher::Absence(absence)
                        if absence.or_session_end && is_closed && absence.takes(streak.count) =>
                    {
                        found.push(streak.candidate(place, None));
                    }
                    _ => {}
                }
            }
        }
    }
}

impl Absence {
    fn takes(&self, count: u32) -> bool {
        (self.at_least..=self.at_most).contains(&count)
    }
}

/// One event under one rule.
struct Step<'a> {
    rule: usize,
    fact: &'a Fact,
    streaks: &'a mut Arc<Vec<Streak>>,
    effects: &'a mut Effects,
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
        let streak = Streak::of(self.fact, common);
        self.edit().push(streak);
    }

    /// A streak is over: what it is stays.
    fn end(&mut self, place: usize) {
        let streak = self.edit().remove(place);
        if streak.fired {
            self.effects.closed.push(streak.candidate(self.rule, None));
        }
    }

    fn count(&mut self, count: &Count) {
        let fact = self.fact;
        let is_reset = |streak: &Streak| any_after(&count.reset, fact, streak.started, streak.route());
        while let Some(place) = self.streaks.iter().position(is_reset) {
            self.end(place);
        }
        if !self.streaks.is_empty() && any(&count.unless, fact) {
            self.take_back(count);
        }
        let (true, Some(common)) = (any(&count.of, fact), count.same.of(fact)) else { return };
        let Some(mut place) = self.find(common) else {
            self.begin(common);
            return self.fire_count(count, self.streaks.len() - 1);
        };
        let last = self.streaks[place].last();
        if count.merge > 0 && fact.time - last.time < count.merge {
            return;
        }
        let is_apart = count.gap.is_some_and(|gap| fact.time - last.time >= gap)
            || count
                .distance
                .is_some_and(|limit| !count.metric.is_less((last.x, last.y), (fact.x, fact.y), limit));
        let is_over = is_apart || !self.goes_on(count, place);
        if is_over {
            self.end(place);
            self.begin(common);
            place = self.streaks.len() - 1;
        } else {
            let streak = &mut self.edit()[place];
            streak.add(fact);
            if let Some(span) = count.span.filter(|_| !streak.fired) {
                streak.retain(|member| fact.time - member.time <= span);
            }
        }
        self.fire_count(count, place);
    }

    /// What is followed by this event does not count.
    fn take_back(&mut self, count: &Count) {
        let fact = self.fact;
        let mut is_changed = false;
        let streaks = self.edit();
        for streak in &mut *streaks {
            let before = (streak.count, streak.fired);
            if count.spoils {
                let last = streak.last().time;
                streak.spoiled |= any_after(&count.unless, fact, last, streak.route());
            } else {
                streak.retain(|member| !any_after(&count.unless, fact, member.time, ""));
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
        let within = streak.members.iter().filter(|member| self.fact.time - member.time <= span).count();
        within + 1 >= (count.at_least as usize).min(KEPT - FIRST)
    }

    fn fire_count(&mut self, count: &Count, place: usize) {
        let streak = &self.streaks[place];
        let lasts = count.lasting.is_none_or(|lasting| self.fact.time - streak.started >= lasting);
        if streak.fired || (streak.count >= count.at_least && lasts && !streak.spoiled) {
            self.edit()[place].fired = true;
            self.effects.is_changed = true;
        }
    }

    fn absence(&mut self, absence: &Absence) {
        let fact = self.fact;
        let mut place = 0;
        while let Some(streak) = self.streaks.get(place) {
            let age = fact.time - streak.started;
            let is_same = absence.same == Same::Session || absence.same.of(fact) == Some(streak.common);
            if absence.then.is_empty() && age > absence.within {
                // Nothing can answer it any more.
                let streak = self.edit().remove(place);
                if absence.takes(streak.count) {
                    let due = Some(streak.started + absence.within);
                    self.effects.closed.push(streak.candidate(self.rule, due));
                }
            } else if is_same && any_after(&absence.of, fact, streak.started, streak.route()) {
                let streak = self.edit().remove(place);
                self.wait(absence, streak.earliest.offset, None);
            } else if any_after(&absence.then, fact, streak.started, streak.route()) {
                let streak = self.edit().remove(place);
                if age >= absence.within && absence.takes(streak.count) {
                    self.effects.closed.push(streak.candidate(self.rule, None));
                    self.effects.is_changed = true;
                }
            } else {
                place += 1;
            }
        }
        let (true, Some(common)) = (any(&absence.after, fact), absence.collapse.of(fact)) else { return };
        let place = match self.find(common) {
            Some(place) => {
                self.edit()[place].add(fact);
                place
            }
            None => {
                if self.streaks.len() >= AT_ONCE {
                    let streak = self.edit().remove(0);
                    self.wait(absence, streak.earliest.offset, None);
                }
                let streak = Streak::of(fact, common);
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

    fn reversal(&mut self, reversal: &Reversal) {
        let fact = self.fact;
        let Some(way) = &fact.way else { return };
        let mut turns: Vec<Millis> = way.turns.iter().map(|after| fact.time + Millis::from(*after)).collect();
        let from = self.streaks.last().map_or((0, 0), |streak| streak.direction);
        if turns_back(from, way.begins) {
            turns.insert(0, fact.time);
        }
        for time in turns {
            let member = Member { time, ..Member::of(fact) };
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
                streak.push(member, Place::of(fact));
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
            streak.direction = way.ends;
        }
    }

    fn sequence(&mut self, sequence: &Sequence) {
        let fact = self.fact;
        if any(&sequence.then, fact)
            && let Some(common) = sequence.same.of(fact)
            && let Some(place) = self.find(common)
        {
            // It answers one, and no other.
            let mut streak = self.edit().remove(place);
            let (time, route) = (streak.started, streak.route().to_owned());
            if fact.time - time <= sequence.within && any_after(&sequence.then, fact, time, &route) {
                streak.add(fact);
                self.effects.closed.push(streak.candidate(self.rule, None));
                self.effects.is_changed = true;
            }
        }
        if any(&sequence.first, fact)
            && let Some(common) = sequence.same.of(fact)
        {
            // The last one is the one that is followed.
            let streak = Streak::of(fact, common);
            match self.find(common) {
                Some(place) => drop(self.edit().remove(place)),
                None if self.streaks.len() >= AT_ONCE => drop(self.edit().remove(0)),
                None => {}
            }
            self.edit().push(streak);
        }
    }
}
