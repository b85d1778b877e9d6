//! One pass over a session's events in the order of their time: what the matchers remember, and what they have found.
//!
//! The state after an event is a function of the events up to it, so a late one is put in its place and the pass goes on from the
//! state before it. Each step looks at a bounded number of streaks, whatever the length of the session.

use std::sync::Arc;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::element::Element;
use super::fact::{Fact, turns_back};
use super::rule::{Absence, Count, Matcher, Reversal, Rule, Same, Sequence, any, any_after};
use super::settings::InteractionSettings;
use crate::event::Millis;

/// Streaks that a rule follows at once; the oldest gives way.
const AT_ONCE: usize = 16;
/// Members of a streak that are kept: the first 8, and the last 24 of the others, as in evidence.
const FIRST: usize = 8;
const KEPT: usize = 32;

/// What the matchers remember.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Scan {
    /// By rule.
    streaks: Vec<Vec<Streak>>,
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
    route: Arc<str>,
    element: Option<Arc<Element>>,
    started: Millis,
    members: Vec<Member>,
    count: u32,
    /// The first of its events to arrive.
    earliest: Member,
    /// It is a signal.
    fired: bool,
    spoiled: bool,
    /// The last direction of the pointer.
    direction: (i32, i32),
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
    pub name: CompactString,
    x: i32,
    y: i32,
}

impl Member {
    fn of(fact: &Fact) -> Self {
        let Fact { time, offset, append_time, x, y, .. } = *fact;
        Self { time, offset, append_time, name: fact.name.clone(), x, y }
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
            route: Arc::clone(&fact.route),
            element: fact.target.clone(),
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

    fn push(&mut self, member: Member) {
        if member.offset < self.earliest.offset {
            self.earliest = member.clone();
        }
        if self.members.len() == KEPT {
            self.members.remove(FIRST);
        }
        self.members.push(member);
        self.count += 1;
    }

    fn add(&mut self, fact: &Fact) {
        self.push(Member::of(fact));
    }

    /// Forgets members; those that are left say when it began and what came first.
    fn retain(&mut self, keep: impl FnMut(&Member) -> bool) {
        let before = self.members.len();
        self.members.retain(keep);
        self.count -= (before - self.members.len()) as u32;
        if let Some(first) = self.members.first() {
            self.started = first.time;
        }
        if let Some(earliest) = self.members.iter().min_by_key(|member| member.offset) {
            self.earliest = earliest.clone();
        }
    }

    fn candidate(&self, rule: usize, due: Option<Millis>) -> Candidate {
        Candidate {
            rule: rule as u16,
            route: Arc::clone(&self.route),
            element: self.element.clone(),
            started: self.started,
            ended: self.last().time,
            count: self.count,
            due,
            members: self.members.clone(),
            earliest: self.earliest.clone(),
        }
    }
}

impl Scan {
    /// Takes the next event in; what is found for good goes to `closed`. `true` if what is found, or waited for, is another now.
    pub fn step(&mut self, fact: &Fact, settings: &InteractionSettings, closed: &mut Vec<Candidate>) -> bool {
        if fact.kind.is_human() {
            if let Some(last) = self.last_human {
                let pause = fact.time - last;
                self.active_ms += if pause <= settings.active_gap { pause } else { 0 };
            }
            self.last_human = Some(fact.time);
        }
        self.streaks.resize(settings.rules.len(), Vec::new());
        let mut is_changed = false;
        for (place, (rule, streaks)) in settings.rules.iter().zip(&mut self.streaks).enumerate() {
            let mut step = Step { rule: place, fact, streaks, closed };
            is_changed |= match &rule.matcher {
                Matcher::Count(count) => step.count(count),
                Matcher::Absence(absence) => step.absence(absence),
                Matcher::Reversal(reversal) => step.reversal(reversal),
                Matcher::Sequence(sequence) => step.sequence(sequence),
            };
        }
        is_changed
    }

    /// Without what depends on the rules.
    pub fn without_streaks(&self) -> Self {
        Self { streaks: Vec::new(), ..*self }
    }

    /// What is found, or waited for, and may still change with the next event. `is_closed`: the session is over.
    pub fn open(&self, settings: &InteractionSettings, is_closed: bool, found: &mut Vec<Candidate>) {
        for (place, (Rule { matcher, .. }, streaks)) in settings.rules.iter().zip(&self.streaks).enumerate() {
            for streak in streaks {
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
    streaks: &'a mut Vec<Streak>,
    closed: &'a mut Vec<Candidate>,
}

impl Step<'_> {
    fn find(&self, common: u64) -> Option<usize> {
        self.streaks.iter().position(|streak| streak.common == common)
    }

    /// Makes room for another streak, and begins it.
    fn begin(&mut self, common: u64) {
        if self.streaks.len() >= AT_ONCE {
            self.end(0);
        }
        self.streaks.push(Streak::of(self.fact, common));
    }

    /// A streak is over: what it is stays.
    fn end(&mut self, place: usize) -> bool {
        let streak = self.streaks.remove(place);
        if streak.fired {
            self.closed.push(streak.candidate(self.rule, None));
        }
        streak.fired
    }

    fn count(&mut self, count: &Count) -> bool {
        let fact = self.fact;
        let mut is_changed = false;
        if !count.reset.is_empty() {
            let is_reset = |streak: &Streak| any_after(&count.reset, fact, streak.started, &streak.route);
            while let Some(place) = self.streaks.iter().position(is_reset) {
                self.end(place);
            }
        }
        if any(&count.unless, fact) {
            for streak in self.streaks.iter_mut() {
                let before = (streak.count, streak.fired);
                if count.spoils {
                    let last = streak.last().time;
                    streak.spoiled |= any_after(&count.unless, fact, last, &streak.route);
                } else {
                    streak.retain(|member| !any_after(&count.unless, fact, member.time, ""));
                }
                streak.fired &= streak.count >= count.at_least && !streak.spoiled;
                is_changed |= before.1 && before != (streak.count, streak.fired);
            }
            self.streaks.retain(|streak| streak.count > 0);
        }
        let (true, Some(common)) = (any(&count.of, fact), count.same.of(fact)) else { return is_changed };
        let Some(mut place) = self.find(common) else {
            self.begin(common);
            return self.fire_count(count, self.streaks.len() - 1) || is_changed;
        };
        let last = self.streaks[place].last();
        if count.merge > 0 && fact.time - last.time < count.merge {
            return is_changed;
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
            let streak = &mut self.streaks[place];
            streak.add(fact);
            if let Some(span) = count.span.filter(|_| !streak.fired) {
                streak.retain(|member| fact.time - member.time <= span);
            }
        }
        self.fire_count(count, place) || is_changed
    }

    /// Whether a streak that is found goes on with this event: again there are enough within the span.
    fn goes_on(&self, count: &Count, place: usize) -> bool {
        let streak = &self.streaks[place];
        let Some(span) = count.span.filter(|_| streak.fired) else { return true };
        let within = streak.members.iter().filter(|member| self.fact.time - member.time <= span).count();
        within + 1 >= (count.at_least as usize).min(KEPT - FIRST)
    }

    fn fire_count(&mut self, count: &Count, place: usize) -> bool {
        let streak = &mut self.streaks[place];
        let lasts = count.lasting.is_none_or(|lasting| self.fact.time - streak.started >= lasting);
        streak.fired |= streak.count >= count.at_least && lasts && !streak.spoiled;
        streak.fired
    }

    fn absence(&mut self, absence: &Absence) -> bool {
        let fact = self.fact;
        let mut is_changed = false;
        let mut place = 0;
        while place < self.streaks.len() {
            let streak = &self.streaks[place];
            let age = fact.time - streak.started;
            let is_late = age > absence.within;
            if absence.then.is_empty() && is_late {
                // Nothing can answer it any more.
                let streak = self.streaks.remove(place);
                if absence.takes(streak.count) {
                    let due = Some(streak.started + absence.within);
                    self.closed.push(streak.candidate(self.rule, due));
                }
                continue;
            }
            let is_same = absence.same == Same::Session || absence.same.of(fact) == Some(streak.common);
            if is_same && any_after(&absence.of, fact, streak.started, &streak.route) {
                self.streaks.remove(place);
                is_changed = true;
            } else if any_after(&absence.then, fact, streak.started, &streak.route) {
                let streak = self.streaks.remove(place);
                if age >= absence.within && absence.takes(streak.count) {
                    self.closed.push(streak.candidate(self.rule, None));
                }
                is_changed = true;
            } else {
                place += 1;
            }
        }
        let (true, Some(common)) = (any(&absence.after, fact), absence.collapse.of(fact)) else {
            return is_changed;
        };
        match self.find(common) {
            Some(place) => self.streaks[place].add(fact),
            None => {
                if self.streaks.len() >= AT_ONCE {
                    self.streaks.remove(0);
                }
                self.streaks.push(Streak::of(fact, common));
            }
        }
        true
    }

    fn reversal(&mut self, reversal: &Reversal) -> bool {
        let fact = self.fact;
        let Some(way) = &fact.way else { return false };
        let mut turns: Vec<Millis> = way.turns.iter().map(|after| fact.time + Millis::from(*after)).collect();
        let mut is_changed = false;
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
                if let Some(streak) = self.streaks.last_mut() {
                    (streak.started, streak.members, streak.element) = (time, vec![member], None);
                }
            } else if let Some(streak) = self.streaks.last_mut() {
                streak.push(member);
                if !streak.fired {
                    streak.retain(|member| time - member.time <= span);
                }
            }
            if let Some(streak) = self.streaks.last_mut() {
                streak.fired |= streak.count >= reversal.at_least;
                is_changed |= streak.fired;
            }
        }
        if self.streaks.is_empty() {
            self.begin(0);
            if let Some(streak) = self.streaks.last_mut() {
                (streak.members, streak.count) = (Vec::new(), 0);
            }
        }
        if let Some(streak) = self.streaks.last_mut() {
            streak.direction = way.ends;
        }
        is_changed
    }

    fn sequence(&mut self, sequence: &Sequence) -> bool {
        let fact = self.fact;
        let mut is_changed = false;
        if any(&sequence.then, fact)
            && let Some(common) = sequence.same.of(fact)
            && let Some(place) = self.find(common)
        {
            // It answers one, and no other.
            let mut streak = self.streaks.remove(place);
            let (time, route) = (streak.started, Arc::clone(&streak.route));
            if fact.time - time <= sequence.within && any_after(&sequence.then, fact, time, &route) {
                streak.add(fact);
                self.closed.push(streak.candidate(self.rule, None));
                is_changed = true;
            }
        }
        if any(&sequence.first, fact)
            && let Some(common) = sequence.same.of(fact)
        {
            // The last one is the one that is followed.
            if let Some(place) = self.find(common) {
                self.streaks.remove(place);
            }
            if self.streaks.len() >= AT_ONCE {
                self.streaks.remove(0);
            }
            self.streaks.push(Streak::of(fact, common));
        }
        is_changed
    }
}
