//! Streaks: events that may become a signal, or are one.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::engine::Millis;
use crate::families::interactions::frustration::element::Element;
use crate::families::interactions::frustration::normalized_event::NormalizedEvent;

/// Members of a streak that are kept: the first 8, and the last 24 of the others, as in evidence.
pub(super) const FIRST: usize = 8;
pub(super) const KEPT: usize = 32;

/// Events that may become a signal, or are one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Streak {
    /// What its events have in common.
    pub common: u64,
    pub started: Millis,
    pub members: Vec<Member>,
    /// Where its members were.
    pub places: Vec<Place>,
    pub count: u32,
    /// The first of its events to arrive.
    pub earliest: Member,
    /// Whether it is a signal.
    pub fired: bool,
    pub spoiled: bool,
    /// The last direction of the pointer.
    pub direction: (i32, i32),
}

/// A route, and an element of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Place {
    route: Arc<str>,
    element: Option<Arc<Element>>,
}

impl Place {
    pub fn of(event: &NormalizedEvent) -> Self {
        Self { route: Arc::clone(&event.route), element: event.target.clone() }
    }
}

/// An event of a streak.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// When it happened.
    pub time: Millis,
    /// Its offset in the log.
    pub offset: i64,
    /// When it was appended.
    pub append_time: Millis,
    /// Its event id in words.
    pub name: Arc<str>,
    pub(super) x: i32,
    pub(super) y: i32,
    /// Which of the streak's places.
    pub(super) place: u8,
}

impl Member {
    pub(super) fn of(event: &NormalizedEvent) -> Self {
        let NormalizedEvent { time, offset, append_time, x, y, .. } = *event;
        Self { time, offset, append_time, name: Arc::clone(&event.name), x, y, place: 0 }
    }
}

/// A signal, found; or one that will be, unless something comes before it is due.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The index of its rule.
    pub rule: u16,
    /// The route of its first event.
    pub route: Arc<str>,
    /// The element of its first event; none where that has none.
    pub element: Option<Arc<Element>>,
    /// When it began.
    pub started: Millis,
    /// When it ended.
    pub ended: Millis,
    /// How many events it took.
    pub count: u32,
    /// The time that the watermark has to pass before it holds; none where it holds already.
    pub due: Option<Millis>,
    /// Its events: the first and the last of them.
    pub members: Vec<Member>,
    /// The first of its events to arrive: names it.
    pub earliest: Member,
}

impl Streak {
    pub fn of(event: &NormalizedEvent, common: u64) -> Self {
        let member = Member::of(event);
        Self {
            common,
            places: vec![Place::of(event)],
            started: event.time,
            members: vec![member.clone()],
            count: 1,
            earliest: member,
            fired: false,
            spoiled: false,
            direction: (0, 0),
        }
    }

    pub fn last(&self) -> &Member {
        // A streak without members is removed at once.
        self.members.last().unwrap_or(&self.earliest)
    }

    /// Where the first of its members was.
    pub fn place(&self) -> Option<&Place> {
        self.places.get(self.members.first().map_or(0, |first| usize::from(first.place)))
    }

    pub fn route(&self) -> &str {
        self.place().map_or("", |place| &place.route)
    }

    pub fn push(&mut self, member: Member, place: Place) {
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

    pub fn add(&mut self, event: &NormalizedEvent) {
        self.push(Member::of(event), Place::of(event));
    }

    /// Forgets members; those that are left say when and where it began and what came first.
    pub fn retain(&mut self, keep: impl FnMut(&Member) -> bool) {
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
    pub fn forget_places(&mut self) {
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

    pub fn candidate(&self, rule: usize, due: Option<Millis>) -> Candidate {
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
