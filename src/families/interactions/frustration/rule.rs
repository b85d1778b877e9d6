//! The rules: parameters of four matchers. A vendor's definition is a set of them.

use compact_str::CompactString;

use super::fact::{Fact, Kind};
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
    /// Nothing follows that should.
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
    pub fn is_met_by(&self, fact: &Fact) -> bool {
        self.kinds.contains(&fact.kind)
            && self.interactive.is_none_or(|wanted| is_interactive(fact) == wanted)
            && self.selected_text.is_none_or(|wanted| fact.selected_text == wanted)
            && self.failed.is_none_or(|wanted| fact.failed == Some(wanted))
            && self.status_at_least.is_none_or(|least| fact.status >= least)
            && self.writes.is_none_or(|wanted| fact.writes == wanted)
            && (self.tags.is_empty()
                || fact.target.as_ref().is_some_and(|target| self.tags.contains(&target.tag)))
    }

    /// Whether an event meets it, after another one.
    pub fn is_met_after(&self, fact: &Fact, time: Millis, route: &str) -> bool {
        self.is_met_by(fact)
            && self.within.is_none_or(|within| fact.time - time <= within)
            && !(self.other_route && *fact.route == *route)
    }
}

fn is_interactive(fact: &Fact) -> bool {
    fact.target.as_ref().is_some_and(|target| target.interactive)
}

/// What events of one signal have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Same {
    /// Nothing but the session.
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
    pub fn of(self, fact: &Fact) -> Option<u64> {
        match self {
            Self::Session => Some(0),
            Self::Target => Some(fact.target.as_ref()?.fingerprint),
            Self::Route => Some(hash(&fact.route)),
            Self::Form => Some(hash(fact.form.as_ref()?)),
            Self::Tab => Some(u64::from(fact.tab)),
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

/// Nothing follows that should.
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

/// Several conditions in one: any.
pub fn any(conditions: &[Condition], fact: &Fact) -> bool {
    conditions.iter().any(|condition| condition.is_met_by(fact))
}

/// Several conditions in one, after another event: any.
pub fn any_after(conditions: &[Condition], fact: &Fact, time: Millis, route: &str) -> bool {
    conditions.iter().any(|condition| condition.is_met_after(fact, time, route))
}

fn on(kinds: &[Kind]) -> Condition {
    Condition { kinds: kinds.to_vec(), ..Condition::default() }
}

const NAVIGATIONS: [Kind; 6] =
    [Kind::Push, Kind::Replace, Kind::Back, Kind::Forward, Kind::Reload, Kind::Hash];

/// Clicks of the rage rule: they don't select text, nor do they scroll.
fn rage(at_least: u32) -> Count {
    Count {
        of: vec![Condition { selected_text: Some(false), ..on(&[Kind::Click]) }],
        at_least,
        gap: Some(1_000),
        distance: Some(30),
        unless: vec![Condition { within: Some(300), ..on(&[Kind::Scroll]) }],
        ..Count::default()
    }
}

/// What answers a click.
fn progress() -> Vec<Condition> {
    let mut kinds = NAVIGATIONS.to_vec();
    kinds.extend([Kind::Mutation, Kind::Scroll, Kind::Input, Kind::Change, Kind::Focus]);
    kinds.extend([Kind::PageHide, Kind::PageUnload]);
    vec![
        on(&kinds),
        Condition { selected_text: Some(true), ..on(&[Kind::Click, Kind::DoubleClick, Kind::ContextClick]) },
    ]
}

/// What fails while somebody tries.
fn attempts() -> Vec<Condition> {
    vec![
        Condition { failed: Some(true), ..on(&[Kind::Submit, Kind::ValidationError, Kind::Request]) },
        on(&[Kind::Error]),
    ]
}

/// The nine rules (DESIGN section 6), sorted by name.
pub fn defaults() -> Vec<Rule> {
    let rule = Rule::new;
    let failed_form = vec![Condition { failed: Some(true), ..on(&[Kind::Submit, Kind::ValidationError]) }];
    vec![
        rule(
            "abandoned_form",
            400,
            Matcher::Absence(Absence {
                after: vec![on(&[Kind::Input, Kind::Change])],
                of: vec![on(&[Kind::Submit])],
                within: 60_000,
                same: Same::Form,
                collapse: Same::Form,
                then: vec![Condition { other_route: true, ..on(&NAVIGATIONS) }, on(&[Kind::PageUnload])],
                or_session_end: true,
                ..Absence::default()
            }),
        ),
        rule(
            "blocked",
            700,
            Matcher::Count(Count {
                of: attempts(),
                gap: Some(30_000),
                lasting: Some(30_000),
                same: Same::Route,
                reset: vec![
                    Condition { other_route: true, ..on(&NAVIGATIONS) },
                    Condition { failed: Some(false), ..on(&[Kind::Submit]) },
                    Condition { failed: Some(false), writes: Some(true), ..on(&[Kind::Request]) },
                ],
                ..Count::default()
            }),
        ),
        rule(
            "dead_click",
            350,
            Matcher::Absence(Absence {
                after: vec![Condition {
                    interactive: Some(true),
                    selected_text: Some(false),
                    ..on(&[Kind::Click])
                }],
                of: progress(),
                ..Absence::default()
            }),
        ),
        rule(
            "error_click",
            450,
            Matcher::Sequence(Sequence {
                first: vec![on(&[Kind::Click])],
                then: vec![
                    on(&[Kind::Error]),
                    Condition { status_at_least: Some(500), ..on(&[Kind::Request]) },
                ],
                within: 1_000,
                same: Same::Session,
            }),
        ),
        rule(
            "form_loop",
            600,
            Matcher::Count(Count {
                of: failed_form,
                span: Some(30_000),
                same: Same::Form,
                merge: 500,
                ..Count::default()
            }),
        ),
        rule(
            "quick_back",
            250,
            Matcher::Sequence(Sequence {
                first: vec![on(&[Kind::Push])],
                then: vec![on(&[Kind::Back])],
                within: 5_000,
                same: Same::Tab,
            }),
        ),
        rule("rage_click", 500, Matcher::Count(rage(3))),
        rule(
            "reload_loop",
            450,
            Matcher::Count(Count {
                of: vec![on(&[Kind::Reload])],
                span: Some(30_000),
                same: Same::Route,
                ..Count::default()
            }),
        ),
        rule("thrashed_cursor", 300, Matcher::Reversal(Reversal { at_least: 4, span: 1_000 })),
    ]
}
