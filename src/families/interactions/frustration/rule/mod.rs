//! The rules: parameters of four matchers. A vendor's definition is a set of them.

mod condition;
mod defaults;

use compact_str::CompactString;

pub use self::condition::{Condition, Metric, Same, any, any_after};
pub use self::defaults::defaults;
use super::kind::Kind;
use crate::engine::Millis;

/// A rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its name.
    pub name: CompactString,
    /// What a signal of it counts, in thousandths.
    pub weight: i64,
    /// What it looks for.
    pub matcher: Matcher,
    /// The kinds of events that it looks at, as a set of [bits](Kind::bit).
    pub kinds: u32,
}

impl Rule {
    /// A rule.
    pub fn new(name: &str, weight: i64, matcher: Matcher) -> Self {
        let kinds = matcher.kinds();
        Self { name: name.into(), weight, matcher, kinds }
    }
}

/// What a rule looks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Matcher {
    /// Many of a kind, close together.
    Count(Count),
    /// An expected event does not follow in time.
    Absence(Absence),
    /// The pointer turns back again and again.
    Reversal(Reversal),
    /// One thing follows another.
    Sequence(Sequence),
}

impl Matcher {
    /// The kinds of events that it looks at; all others change nothing for it.
    fn kinds(&self) -> u32 {
        let conditions = match self {
            Self::Count(count) => [&count.of, &count.unless, &count.reset],
            Self::Absence(absence) => [&absence.after, &absence.of, &absence.then],
            Self::Reversal(_) => return Kind::Move.bit(),
            Self::Sequence(sequence) => [&sequence.first, &sequence.then, const { &Vec::new() }],
        };
        let kinds = conditions.into_iter().flatten().flat_map(|condition| &condition.kinds);
        kinds.fold(0, |all, kind| all | kind.bit())
    }
}

/// At least so many events of a kind, close together. It is found once a streak, as soon as there are enough.
#[derive(Debug, Clone, PartialEq)]
pub struct Count {
    /// The events that are counted: those that meet any of these conditions.
    pub of: Vec<Condition>,
    /// The least number of events.
    pub at_least: u32,
    /// The longest time from one event to the next, exclusive; without it, any.
    pub gap: Option<Millis>,
    /// The longest time that the last `at_least` of them may take; without it, any.
    pub span: Option<Millis>,
    /// The least time from the first to the last; without it, any.
    pub lasting: Option<Millis>,
    /// The greatest distance from one event to the next in px, exclusive; without it, any.
    pub distance: Option<i64>,
    /// How the distance is measured.
    pub metric: Metric,
    /// What the events of one streak have in common.
    pub same: Same,
    /// Events less than this apart count as one.
    pub merge: Millis,
    /// An event that is followed by one of these does not count.
    pub unless: Vec<Condition>,
    /// Whether one of `unless` spoils the whole streak.
    pub spoils: bool,
    /// Events that end a streak.
    pub reset: Vec<Condition>,
}

impl Default for Count {
    fn default() -> Self {
        Self {
            of: Vec::new(),
            at_least: 3,
            gap: None,
            span: None,
            lasting: None,
            distance: None,
            metric: Metric::Manhattan,
            same: Same::Session,
            merge: 0,
            unless: Vec::new(),
            spoils: false,
            reset: Vec::new(),
        }
    }
}

/// An expected event does not follow in time.
#[derive(Debug, Clone, PartialEq)]
pub struct Absence {
    /// The events that should be followed by another.
    pub after: Vec<Condition>,
    /// The events that are waited for.
    pub of: Vec<Condition>,
    /// How long it is waited for.
    pub within: Millis,
    /// What both have in common.
    pub same: Same,
    /// Further `after` events belong to the same signal if they have this in common with its first.
    pub collapse: Same,
    /// The least number of `after` for a signal.
    pub at_least: u32,
    /// The greatest number of `after` for a signal.
    pub at_most: u32,
    /// Where set, the signal is found only when one of these comes, `within` or more after the first; one that comes earlier
    /// ends the wait without a signal.
    pub then: Vec<Condition>,
    /// Whether the end of the session counts as one of `then`.
    pub or_session_end: bool,
}

impl Default for Absence {
    fn default() -> Self {
        Self {
            after: Vec::new(),
            of: Vec::new(),
            within: 7_000,
            same: Same::Session,
            collapse: Same::Target,
            at_least: 1,
            at_most: u32::MAX,
            then: Vec::new(),
            or_session_end: false,
        }
    }
}

impl Absence {
    /// Whether so many of the first make a signal.
    pub fn takes(&self, count: u32) -> bool {
        (self.at_least..=self.at_most).contains(&count)
    }
}

/// The pointer turns back again and again.
#[derive(Debug, Clone, PartialEq)]
pub struct Reversal {
    /// The least number of turns by more than 90°.
    pub at_least: u32,
    /// The longest time that they may take.
    pub span: Millis,
}

/// An event follows another one.
#[derive(Debug, Clone, PartialEq)]
pub struct Sequence {
    /// The first event.
    pub first: Vec<Condition>,
    /// The event that follows it.
    pub then: Vec<Condition>,
    /// The longest time from the one to the other.
    pub within: Millis,
    /// What both have in common.
    pub same: Same,
}
