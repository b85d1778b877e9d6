//! Rules as a document: what can be set of each matcher, the nine defaults, and the vendors' own.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::engine::Millis;
use crate::families::interactions::frustration::kind::Kind;
use crate::families::interactions::frustration::rule;
use crate::families::interactions::frustration::rule::{Absence, Condition, Count, Matcher, Metric, Reversal, Rule, Same, Sequence};
use crate::settings::{Problem, Span, within};

const DAY: Millis = 86_400_000;

/// A rule: one of the four matchers, with its parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RuleDocument {
    /// Whether it is in force.
    pub enabled: bool,
    /// What a signal of it counts towards a score, 0 to 1.
    pub weight: f64,
    /// Many of a kind, close together.
    pub count: Option<CountDocument>,
    /// Nothing follows that should.
    pub absence: Option<AbsenceDocument>,
    /// The pointer turns back again and again.
    pub reversal: Option<ReversalDocument>,
    /// One thing follows another.
    pub sequence: Option<SequenceDocument>,
}

impl Default for RuleDocument {
    fn default() -> Self {
        Self { enabled: true, weight: 0.5, count: None, absence: None, reversal: None, sequence: None }
    }
}

/// Events that a rule is about: those that meet it in all that it says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ConditionDocument {
    /// Of one of these types; navigations by their kind.
    pub r#type: Vec<TypeName>,
    /// On an element that invites a click, or on none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interactive: Option<bool>,
    /// Selecting text, or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selected_text: Option<bool>,
    /// Of a form or request: failed, or succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<bool>,
    /// Of a request: at least this status; no answer counts as more than any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_at_least: Option<i16>,
    /// Of a request: one that is meant to change something (not GET, HEAD or OPTIONS), or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writes: Option<bool>,
    /// On an element of one of these tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// On another route than what went before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub other_route: bool,
    /// At most so long after what went before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<Span>,
}

macro_rules! type_names {
    ($($name:ident),*) => {
        /// What happened; `navigation` is any of `push`, `replace`, `back`, `forward`, `reload` and `hash`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum TypeName {
            Navigation,
            $($name),*
        }

        impl TypeName {
            fn kinds(self) -> Vec<Kind> {
                match self {
                    Self::Navigation => Kind::ALL.into_iter().filter(|kind| kind.is_navigation()).collect(),
                    $(Self::$name => vec![Kind::$name]),*
                }
            }

            fn of(kind: Kind) -> Self {
                match kind {
                    $(Kind::$name => Self::$name),*
                }
            }
        }
    };
}

type_names!(
    Click,
    DoubleClick,
    ContextClick,
    Key,
    Input,
    Change,
    Focus,
    Blur,
    Submit,
    ValidationError,
    Scroll,
    Move,
    Push,
    Replace,
    Back,
    Forward,
    Reload,
    Hash,
    PageShow,
    PageHide,
    PageUnload,
    Mutation,
    Request,
    Error,
    Custom
);

/// What events of one signal have in common.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SameName {
    #[default]
    Session,
    Target,
    Route,
    Form,
    Tab,
}

/// How a distance is measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MetricName {
    #[default]
    Manhattan,
    Euclidean,
    Chebyshev,
}

/// Many of a kind, close together; found once a streak, as soon as there are enough.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CountDocument {
    /// What is counted.
    pub of: Vec<ConditionDocument>,
    /// How many it takes.
    pub at_least: u32,
    /// Each less than so long after the one before.
    pub gap: Option<Span>,
    /// The last `at_least` of them within so long.
    pub span: Option<Span>,
    /// From the first to the last at least so long.
    pub lasting: Option<Span>,
    /// Each less than so far from the one before, in px.
    pub distance: Option<u32>,
    /// How that is measured.
    pub metric: MetricName,
    /// What they have in common.
    pub same: SameName,
    /// Events so close behind one another count as one.
    pub merge: Span,
    /// What is followed by one of these does not count.
    pub unless: Vec<ConditionDocument>,
    /// One of those spoils the whole streak.
    pub spoils: bool,
    /// Ends a streak.
    pub reset: Vec<ConditionDocument>,
}

/// Nothing follows that should.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AbsenceDocument {
    /// What should be followed.
    pub after: Vec<ConditionDocument>,
    /// By one of these.
    pub of: Vec<ConditionDocument>,
    /// Up to so long after it.
    pub within: Span,
    /// What both have in common.
    pub same: SameName,
    /// More of the first belong to one signal if they have this in common.
    pub collapse: SameName,
    /// How many of the first it takes.
    pub at_least: u32,
    /// How many of the first it may be.
    pub at_most: Option<u32>,
    /// Found only once one of these comes, that late or later; if it comes earlier, nothing is found.
    pub then: Vec<ConditionDocument>,
    /// The end of the session is such a one.
    pub or_session_end: bool,
}

/// The pointer turns back again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReversalDocument {
    /// How often.
    pub at_least: u32,
    /// Within so long.
    pub span: Span,
}

/// One thing follows another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SequenceDocument {
    /// The one.
    pub first: Vec<ConditionDocument>,
    /// The other.
    pub then: Vec<ConditionDocument>,
    /// At most so long after it.
    pub within: Span,
    /// What both have in common.
    pub same: SameName,
}

impl Default for CountDocument {
    fn default() -> Self {
        (&Count::default()).into()
    }
}

impl Default for AbsenceDocument {
    fn default() -> Self {
        (&Absence::default()).into()
    }
}

impl Default for ReversalDocument {
    fn default() -> Self {
        Self { at_least: 4, span: Span(1_000) }
    }
}

impl Default for SequenceDocument {
    fn default() -> Self {
        Self { first: Vec::new(), then: Vec::new(), within: Span(1_000), same: SameName::Session }
    }
}

impl From<SameName> for Same {
    fn from(name: SameName) -> Self {
        match name {
            SameName::Session => Self::Session,
            SameName::Target => Self::Target,
            SameName::Route => Self::Route,
            SameName::Form => Self::Form,
            SameName::Tab => Self::Tab,
        }
    }
}

impl From<Same> for SameName {
    fn from(same: Same) -> Self {
        match same {
            Same::Session => Self::Session,
            Same::Target => Self::Target,
            Same::Route => Self::Route,
            Same::Form => Self::Form,
            Same::Tab => Self::Tab,
        }
    }
}

impl From<&Condition> for ConditionDocument {
    fn from(condition: &Condition) -> Self {
        Self {
            r#type: condition.kinds.iter().map(|kind| TypeName::of(*kind)).collect(),
            interactive: condition.interactive,
            selected_text: condition.selected_text,
            failed: condition.failed,
            status_at_least: condition.status_at_least,
            writes: condition.writes,
            tags: condition.tags.iter().map(ToString::to_string).collect(),
            other_route: condition.other_route,
            within: condition.within.map(Span),
        }
    }
}

impl From<&ConditionDocument> for Condition {
    fn from(document: &ConditionDocument) -> Self {
        Self {
            kinds: document.r#type.iter().flat_map(|name| name.kinds()).collect(),
            interactive: document.interactive,
            selected_text: document.selected_text,
            failed: document.failed,
            status_at_least: document.status_at_least,
            writes: document.writes,
            tags: document.tags.iter().map(Into::into).collect(),
            other_route: document.other_route,
            within: document.within.map(|span| span.0),
        }
    }
}

fn documents(conditions: &[Condition]) -> Vec<ConditionDocument> {
    conditions.iter().map(ConditionDocument::from).collect()
}

fn conditions(documents: &[ConditionDocument]) -> Vec<Condition> {
    documents.iter().map(Condition::from).collect()
}

impl From<&Count> for CountDocument {
    fn from(count: &Count) -> Self {
        Self {
            of: documents(&count.of),
            at_least: count.at_least,
            gap: count.gap.map(Span),
            span: count.span.map(Span),
            lasting: count.lasting.map(Span),
            distance: count.distance.and_then(|distance| u32::try_from(distance).ok()),
            metric: match count.metric {
                Metric::Manhattan => MetricName::Manhattan,
                Metric::Euclidean => MetricName::Euclidean,
                Metric::Chebyshev => MetricName::Chebyshev,
            },
            same: count.same.into(),
            merge: Span(count.merge),
            unless: documents(&count.unless),
            spoils: count.spoils,
            reset: documents(&count.reset),
        }
    }
}

impl From<&Absence> for AbsenceDocument {
    fn from(absence: &Absence) -> Self {
        Self {
            after: documents(&absence.after),
            of: documents(&absence.of),
            within: Span(absence.within),
            same: absence.same.into(),
            collapse: absence.collapse.into(),
            at_least: absence.at_least,
            at_most: Some(absence.at_most).filter(|most| *most < u32::MAX),
            then: documents(&absence.then),
            or_session_end: absence.or_session_end,
        }
    }
}

impl From<&Rule> for RuleDocument {
    fn from(rule: &Rule) -> Self {
        let mut document = Self { weight: rule.weight as f64 / 1_000.0, ..Self::default() };
        match &rule.matcher {
            Matcher::Count(count) => document.count = Some(count.into()),
            Matcher::Absence(absence) => document.absence = Some(absence.into()),
            Matcher::Reversal(reversal) => {
                let Reversal { at_least, span } = *reversal;
                document.reversal = Some(ReversalDocument { at_least, span: Span(span) });
            }
            Matcher::Sequence(sequence) => {
                document.sequence = Some(SequenceDocument {
                    first: documents(&sequence.first),
                    then: documents(&sequence.then),
                    within: Span(sequence.within),
                    same: sequence.same.into(),
                });
            }
        }
        document
    }
}

impl RuleDocument {
    /// The rule; none where it is not in force.
    pub fn rule(&self, name: &str) -> Result<Option<Rule>, Problem> {
        let path = |field: &str| format!("rules.{name}.{field}");
        let refuse = |field: &str, reason: &str| Problem { path: path(field), reason: reason.to_owned() };
        let is_name = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
        if name.is_empty() || name.len() > 40 || !name.chars().all(is_name) {
            let reason = "a rule's name has 1 to 40 of a to z, 0 to 9 and _".to_owned();
            return Err(Problem { path: format!("rules.{name}"), reason });
        }
        if !(0.0..=1.0).contains(&self.weight) {
            return Err(refuse("weight", "expected 0 to 1"));
        }
        let spans = |field: &str, span: Option<Span>, least| {
            span.map_or(Ok(()), |span| within(&path(field), span, least, DAY))
        };
        let some = |field: &str, list: &[ConditionDocument]| {
            if list.is_empty() { Err(refuse(field, "expected at least one condition")) } else { Ok(()) }
        };
        let times = |field: &str, times: u32| {
            if (1..=1_000).contains(&times) { Ok(()) } else { Err(refuse(field, "expected 1 to 1000")) }
        };
        let count = self.count.iter().flat_map(|count| {
            [("count.of", &count.of), ("count.unless", &count.unless), ("count.reset", &count.reset)]
        });
        let absence = self.absence.iter().flat_map(|absence| {
            [("absence.after", &absence.after), ("absence.of", &absence.of), ("absence.then", &absence.then)]
        });
        let sequence = self
            .sequence
            .iter()
            .flat_map(|sequence| [("sequence.first", &sequence.first), ("sequence.then", &sequence.then)]);
        for (list, conditions) in count.chain(absence).chain(sequence) {
            for (place, condition) in conditions.iter().enumerate() {
                let field = |name: &str| format!("{list}[{place}].{name}");
                if condition.r#type.is_empty() {
                    return Err(refuse(&field("type"), "a condition without a type matches nothing"));
                }
                spans(&field("within"), condition.within, 0)?;
            }
        }
        let matcher = match (&self.count, &self.absence, &self.reversal, &self.sequence) {
            (Some(count), None, None, None) => {
                some("count.of", &count.of)?;
                times("count.at_least", count.at_least)?;
                // With a span, so many have to be remembered.
                if count.span.is_some() && count.at_least > 24 {
                    return Err(refuse("count.at_least", "with a span, expected 1 to 24"));
                }
                spans("count.gap", count.gap, 1)?;
                spans("count.span", count.span, 1)?;
                spans("count.lasting", count.lasting, 1)?;
                spans("count.merge", Some(count.merge), 0)?;
                Matcher::Count(Count {
                    of: conditions(&count.of),
                    at_least: count.at_least,
                    gap: count.gap.map(|span| span.0),
                    span: count.span.map(|span| span.0),
                    lasting: count.lasting.map(|span| span.0),
                    distance: count.distance.map(i64::from),
                    metric: match count.metric {
                        MetricName::Manhattan => Metric::Manhattan,
                        MetricName::Euclidean => Metric::Euclidean,
                        MetricName::Chebyshev => Metric::Chebyshev,
                    },
                    same: count.same.into(),
                    merge: count.merge.0,
                    unless: conditions(&count.unless),
                    spoils: count.spoils,
                    reset: conditions(&count.reset),
                })
            }
            (None, Some(absence), None, None) => {
                some("absence.after", &absence.after)?;
                some("absence.of", &absence.of)?;
                within(&path("absence.within"), absence.within, 1, DAY)?;
                times("absence.at_least", absence.at_least)?;
                if absence.at_most.is_some_and(|most| most < absence.at_least) {
                    return Err(refuse("absence.at_most", "is less than at_least"));
                }
                Matcher::Absence(Absence {
                    after: conditions(&absence.after),
                    of: conditions(&absence.of),
                    within: absence.within.0,
                    same: absence.same.into(),
                    collapse: absence.collapse.into(),
                    at_least: absence.at_least,
                    at_most: absence.at_most.unwrap_or(u32::MAX),
                    then: conditions(&absence.then),
                    or_session_end: absence.or_session_end,
                })
            }
            (None, None, Some(reversal), None) => {
                if !(1..=24).contains(&reversal.at_least) {
                    return Err(refuse("reversal.at_least", "expected 1 to 24"));
                }
                within(&path("reversal.span"), reversal.span, 1, DAY)?;
                Matcher::Reversal(Reversal { at_least: reversal.at_least, span: reversal.span.0 })
            }
            (None, None, None, Some(sequence)) => {
                some("sequence.first", &sequence.first)?;
                some("sequence.then", &sequence.then)?;
                within(&path("sequence.within"), sequence.within, 0, DAY)?;
                Matcher::Sequence(Sequence {
                    first: conditions(&sequence.first),
                    then: conditions(&sequence.then),
                    within: sequence.within.0,
                    same: sequence.same.into(),
                })
            }
            _ => {
                let reason = "expected exactly one of count, absence, reversal and sequence".to_owned();
                return Err(Problem { path: format!("rules.{name}"), reason });
            }
        };
        let weight = (self.weight * 1_000.0).round() as i64;
        Ok(self.enabled.then(|| Rule::new(name, weight, matcher)))
    }
}

/// The nine rules of DESIGN section 6.
pub fn defaults() -> BTreeMap<String, RuleDocument> {
    rule::defaults().iter().map(|rule| (rule.name.to_string(), rule.into())).collect()
}

fn on(types: &[TypeName]) -> ConditionDocument {
    ConditionDocument { r#type: types.to_vec(), ..ConditionDocument::default() }
}

/// PostHog's rage click: every click counts.
pub fn posthog(rules: &mut BTreeMap<String, RuleDocument>) {
    if let Some(count) = rules.get_mut("rage_click").and_then(|rule| rule.count.as_mut()) {
        (count.of, count.unless) = (vec![on(&[TypeName::Click])], Vec::new());
    }
}

/// Sentry's dead click, and its rage click, which is one of at least 5.
pub fn sentry(rules: &mut BTreeMap<String, RuleDocument>) {
    let tags = ["a", "button", "input"].map(str::to_owned).to_vec();
    let dead = AbsenceDocument {
        after: vec![ConditionDocument { tags, ..on(&[TypeName::Click]) }],
        of: vec![
            on(&[TypeName::Mutation, TypeName::Navigation, TypeName::PageUnload]),
            ConditionDocument { within: Some(Span(300)), ..on(&[TypeName::Scroll]) },
        ],
        at_most: Some(4),
        ..AbsenceDocument::default()
    };
    let rage = AbsenceDocument { at_least: 5, at_most: None, ..dead.clone() };
    for (name, absence) in [("dead_click", dead), ("rage_click", rage)] {
        if let Some(rule) = rules.get_mut(name) {
            (rule.count, rule.absence) = (None, Some(absence));
        }
    }
}
