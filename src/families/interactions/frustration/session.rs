//! What is kept of a session.

use std::sync::Arc;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::correlate::{IncidentContent, SignalContent};
use super::kind::Kind;
use super::normalized_event::{NormalizedEvent, Order};
use super::scan::{Candidate, Scan};
use crate::engine::Millis;
use crate::engine::Window;
use crate::families::interactions::event::Interaction;

/// Events of a segment, when it is begun.
pub const SEGMENT: u32 = 32;
/// Routes and pages that a session names.
const PATH: usize = 50;

/// Names an entry of a key's state: the session, by the offset of its first record to arrive, and what of it.
pub type Name = (i64, Part);

/// What of a session, or of all sessions of the key, under [`ALL`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Part {
    /// Which sessions there are.
    Index,
    /// What changes with each event.
    Head,
    /// The state of the matchers after the last event.
    Tail,
    /// What is left of events that are not kept any more.
    Base,
    /// Routes and pages.
    Path,
    /// An event, by its offset.
    Event(i64),
    /// The pass over the events from this one on, up to the next segment.
    Segment(Order),
    /// A signal that was emitted.
    Signal(SignalName),
    /// An incident that was emitted: the place of its first event, and which of them.
    Incident(i64, u8),
}

impl Part {
    /// Before all others.
    pub const FIRST: Self = Self::Index;
    /// Behind all others.
    pub const LAST: Self = Self::Incident(i64::MAX, u8::MAX);
}

/// A signal's rule, the place of its first event in the log, and which of those.
pub type SignalName = (CompactString, i64, u8);

/// The name under which the index lies.
pub const ALL: i64 = i64::MIN;

/// An entry of a key's state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is what its Part says")]
pub enum Entry {
    Index(Index),
    Head(Box<Head>),
    Tail(Scan),
    Base(Box<Base>),
    Path(Box<Path>),
    Event(Box<NormalizedEvent>),
    Segment(Box<Segment>),
    Signal(Box<SignalContent>),
    Incident(Box<IncidentContent>),
}

/// The sessions of a key, and the times from which none reaches to a later one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Index {
    /// By name.
    pub sessions: Vec<(i64, Window)>,
    /// Where a session was cut.
    pub cuts: Vec<Millis>,
}

/// What changes with each event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// Event id of the first record to arrive: names the session's row.
    pub event_id: Arc<str>,
    /// When that record was appended.
    pub first_arrival: Millis,
    /// Events by kind.
    pub counts: [u32; Kind::ALL.len()],
    /// Errors, and requests that failed.
    pub errors: u32,
    /// The user and device of the session.
    pub profile: Arc<Profile>,
    /// The last of them, by their time.
    pub last: Option<Order>,
    /// Events that are kept.
    pub kept: usize,
    /// How many of them the last segment holds.
    pub of_last_segment: u32,
    /// Whether its first events are kept no more, since there were too many.
    pub truncated: bool,
    /// Whether it is over: it has been silent for longer than the gap.
    pub closed: bool,
    /// Whether the session has changed since its row was emitted.
    pub is_dirty: bool,
    /// Whether a timer is set that will emit the row.
    pub is_scheduled: bool,
    /// When the row was emitted last, by the clock.
    pub emitted_at: Option<Millis>,
    /// When the first of the open incidents is over, unless it goes on.
    pub open_until: Option<Millis>,
    /// Signals that hold.
    pub signals: u32,
    /// The frustration score, 0 to 100.
    pub score: i64,
}

/// The user and device of a session, by the first of its events that names any.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The place of the event that named them; none where no event has.
    pub at: Option<Order>,
    /// A hash of the user's id.
    pub user: Option<CompactString>,
    /// The kind of device: `desktop`, `mobile`, `tablet` …
    pub device: Option<CompactString>,
    /// The browser.
    pub browser: Option<CompactString>,
    /// The operating system.
    pub os: Option<CompactString>,
}

impl Head {
    /// How many events there have been.
    pub fn events(&self) -> u64 {
        self.counts.iter().map(|count| u64::from(*count)).sum()
    }
}

impl Profile {
    /// Takes what an event says, if it is the first that says something.
    pub fn learn(this: &mut Arc<Self>, event: &Interaction, normalized: &NormalizedEvent) {
        let Interaction { user, device, browser, os, .. } = event;
        let says = user.is_some() || device.is_some() || browser.is_some() || os.is_some();
        let at = normalized.order();
        if says && this.at.is_none_or(|known| at < known) {
            let (user, device, browser, os) = (user.clone(), device.clone(), browser.clone(), os.clone());
            *this = Arc::new(Self { at: Some(at), user, device, browser, os });
        }
    }

    /// The profile of two sessions that merge: the one that was named earlier.
    pub fn earlier(one: &Arc<Self>, other: &Arc<Self>) -> Arc<Self> {
        match (one.at, other.at) {
            (Some(at), Some(others)) if others < at => Arc::clone(other),
            (None, Some(_)) => Arc::clone(other),
            _ => Arc::clone(one),
        }
    }
}

/// What is left of events that are not kept any more.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Base {
    /// The signals that were found among them.
    pub signals: Vec<SignalContent>,
    /// Their offsets and event ids: the first 8 and the last 24 (I8).
    pub records: Vec<i64>,
    /// The routes and pages that they were on.
    pub path: Path,
}

/// Routes and pages, in order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Path {
    /// The first routes.
    pub routes: Vec<Arc<str>>,
    /// The first pages.
    pub pages: Vec<Arc<str>>,
    /// The last route and page.
    pub last: Option<(Arc<str>, Arc<str>)>,
}

impl Path {
    /// Adds the route and page of the next event. `true` if either is another than before.
    pub fn go(&mut self, event: &NormalizedEvent) -> bool {
        let (route, url) = self.last.as_ref().map_or((None, None), |(route, url)| (Some(route), Some(url)));
        let is_new = |last: Option<&Arc<str>>, next: &Arc<str>| !next.is_empty() && last != Some(next);
        let (new_route, new_page) = (is_new(route, &event.route), is_new(url, &event.url));
        if !new_route && !new_page {
            return false;
        }
        if new_route && self.routes.len() < PATH {
            self.routes.push(Arc::clone(&event.route));
        }
        if new_page && self.pages.len() < PATH {
            self.pages.push(Arc::clone(&event.url));
        }
        let keep = |last: Option<&Arc<str>>, next: &Arc<str>| {
            if next.is_empty() { last.cloned().unwrap_or_else(|| Arc::clone(next)) } else { Arc::clone(next) }
        };
        self.last = Some((keep(route, &event.route), keep(url, &event.url)));
        true
    }

    /// Whether an event is where the last one was.
    pub fn is_at(&self, event: &NormalizedEvent) -> bool {
        self.last.as_ref().is_some_and(|(route, url)| {
            (event.route.is_empty() || event.route == *route) && (event.url.is_empty() || event.url == *url)
        })
    }

    /// The last route.
    pub fn exit(&self) -> &str {
        self.last.as_ref().map_or("", |(route, _)| route)
    }
}

/// A pass over some events that follow one another.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// The state of the matchers before them.
    pub before: Scan,
    /// What was found for good among them.
    pub closed: Vec<Candidate>,
    /// When the system itself answered with an error.
    pub errors: Vec<Millis>,
}
