//! Conditions on events, and what events can have in common.

use compact_str::CompactString;

use crate::engine::Millis;
use crate::families::interactions::frustration::kind::Kind;
use crate::families::interactions::frustration::normalized_event::NormalizedEvent;

/// Events that a rule is about: those that meet it in all that it says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Condition {
    /// Of one of these kinds.
    pub kinds: Vec<Kind>,
    /// On an element that invites a click, or on none.
    pub interactive: Option<bool>,
    /// Selecting text, or not.
    pub selected_text: Option<bool>,
    /// Failed, or succeeded; what does not say so is neither.
    pub failed: Option<bool>,
    /// Of a request: at least this status; no answer counts as 999.
    pub status_at_least: Option<i16>,
    /// Of a request: one that is meant to change something, or not.
    pub writes: Option<bool>,
    /// On an element of one of these tags.
    pub tags: Vec<CompactString>,
    /// On another route than what went before.
    pub other_route: bool,
    /// At most so long after what went before.
    pub within: Option<Millis>,
}

impl Condition {
    /// Whether an event meets it, apart from what went before.
    pub fn is_met_by(&self, event: &NormalizedEvent) -> bool {
        self.kinds.contains(&event.kind)
            && self.interactive.is_none_or(|wanted| is_interactive(event) == wanted)
            && self.selected_text.is_none_or(|wanted| event.selected_text == wanted)
            && self.failed.is_none_or(|wanted| event.failed == Some(wanted))
            && self.status_at_least.is_none_or(|least| event.status >= least)
            && self.writes.is_none_or(|wanted| event.writes == wanted)
            && (self.tags.is_empty()
                || event.target.as_ref().is_some_and(|target| self.tags.contains(&target.tag)))
    }

    /// Whether an event meets it, after another one.
    pub fn is_met_after(&self, event: &NormalizedEvent, time: Millis, route: &str) -> bool {
        self.is_met_by(event)
            && self.within.is_none_or(|within| event.time - time <= within)
            && !(self.other_route && *event.route == *route)
    }
}

fn is_interactive(event: &NormalizedEvent) -> bool {
    event.target.as_ref().is_some_and(|target| target.interactive)
}

/// What events of one signal have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Same {
    /// The session alone: any two of its events.
    Session,
    /// The element.
    Target,
    /// The route.
    Route,
    /// The form.
    Form,
    /// The tab.
    Tab,
}

impl Same {
    /// A hash of it; `None` where the event has none of it.
    pub fn of(self, event: &NormalizedEvent) -> Option<u64> {
        match self {
            Self::Session => Some(0),
            Self::Target => Some(event.target.as_ref()?.fingerprint),
            Self::Route => Some(hash(&event.route)),
            Self::Form => Some(hash(event.form.as_ref()?)),
            Self::Tab => Some(u64::from(event.tab)),
        }
    }
}

fn hash(text: &str) -> u64 {
    twox_hash::XxHash3_128::oneshot(text.as_bytes()) as u64
}

/// How far apart two clicks are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// |Δx| + |Δy|.
    Manhattan,
    /// √(Δx² + Δy²).
    Euclidean,
    /// The larger of |Δx| and |Δy|.
    Chebyshev,
}

impl Metric {
    /// Whether two points are less than `limit` px apart.
    pub fn is_less(self, one: (i32, i32), other: (i32, i32), limit: i64) -> bool {
        let (x, y) = (i64::from(one.0).abs_diff(other.0.into()), i64::from(one.1).abs_diff(other.1.into()));
        let limit = limit.unsigned_abs();
        match self {
            Self::Manhattan => x + y < limit,
            // At most 2³²: the squares fit.
            Self::Euclidean => u128::from(x).pow(2) + u128::from(y).pow(2) < u128::from(limit).pow(2),
            Self::Chebyshev => x.max(y) < limit,
        }
    }
}

/// Whether an event meets any of some conditions.
pub fn any(conditions: &[Condition], event: &NormalizedEvent) -> bool {
    conditions.iter().any(|condition| condition.is_met_by(event))
}

/// Whether an event meets any of some conditions, after another one.
pub fn any_after(conditions: &[Condition], event: &NormalizedEvent, time: Millis, route: &str) -> bool {
    conditions.iter().any(|condition| condition.is_met_after(event, time, route))
}
