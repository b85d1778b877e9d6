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

/// Many of a kind, close together. It is found once a streak, as soon as there are enough.
#[derive(Debug, Clone, PartialEq)]
pub struct Count {
    /// What is counted.
    pub of: Vec<Condition>,
    /// How many it takes.
    pub at_least: u32,
    /// Each less than so long after the one before.
    pub gap: Option<Millis>,
    /// The last `at_least` of them within so long.
    pub span: Option<Millis>,
    /// From the first to the last at least so long.
    pub lasting: Option<Millis>,
    /// Each less than so far from the one before, in px.
    pub distance: Option<i64>,
    /// As the crow flies, or otherwise.
    pub metric: Metric,
    /// What they have in common.
    pub same: Same,
    /// Events so close behind one another count as one.
    pub merge: Millis,
    /// What is followed by one of these does not count.
    pub unless: Vec<Condition>,
    /// One of those spoils the whole streak.
    pub spoils: bool,
    /// Ends a streak.
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
    /// What should be followed.
    pub after: Vec<Condition>,
    /// By what.
    pub of: Vec<Condition>,
    /// Up to so long after it.
    pub within: Millis,
    /// What both have in common.
    pub same: Same,
    /// More of the first of one signal have this in common with it.
    pub collapse: Same,
    /// How many of the first it takes.
    pub at_least: u32,
    /// How many of the first it may be.
    pub at_most: u32,
    /// Found only once one of these comes, that late or later; if it comes earlier, nothing is found.
    pub then: Vec<Condition>,
    /// The end of the session is such a one.
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
    /// How often.
    pub at_least: u32,
    /// Within so long.
    pub span: Millis,
}

/// One thing follows another.
#[derive(Debug, Clone, PartialEq)]
pub struct Sequence {
    /// The one.
    pub first: Vec<Condition>,
    /// The other.
    pub then: Vec<Condition>,
    /// At most so long after it.
    pub within: Millis,
    /// What both have in common.
    pub same: Same,
}
