//! What can be set of each matcher.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::families::interactions::frustration::kind::Kind;
use crate::families::interactions::frustration::rule::{Absence, Count};
use crate::settings::Span;

/// A rule: exactly one of the four matchers, with its parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Rule")]
#[serde(default, deny_unknown_fields)]
pub struct RuleDocument {
    /// Whether the rule is in force.
    pub enabled: bool,
    /// How much a signal of this rule adds to a score.
    pub weight: f64,
    /// Finds many events of a kind, close together.
    pub count: Option<CountDocument>,
    /// Finds events that are not followed by what should follow.
    pub absence: Option<AbsenceDocument>,
    /// Finds a pointer that turns back again and again.
    pub reversal: Option<ReversalDocument>,
    /// Finds one event that follows another.
    pub sequence: Option<SequenceDocument>,
}

impl Default for RuleDocument {
    fn default() -> Self {
        Self { enabled: true, weight: 0.5, count: None, absence: None, reversal: None, sequence: None }
    }
}

/// Which events are meant: those that meet all of its fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Condition")]
#[serde(default, deny_unknown_fields)]
pub struct ConditionDocument {
    /// Of one of these types. Navigations are named by their kind; `navigation` is any of them. At least one.
    pub r#type: Vec<TypeName>,
    /// On an element that invites a click, or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interactive: Option<bool>,
    /// A click that selected text, or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selected_text: Option<bool>,
    /// A form or request that failed, or succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<bool>,
    /// A request with at least this status. A request without an answer counts as more than any status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_at_least: Option<i16>,
    /// A request that is meant to change something (not GET, HEAD or OPTIONS), or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writes: Option<bool>,
    /// On an element with one of these tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// On another route than the event before it in the rule.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub other_route: bool,
    /// At most so long after the event before it in the rule.
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
            /// The kinds of events that it stands for.
            pub fn kinds(self) -> Vec<Kind> {
                match self {
                    Self::Navigation => Kind::ALL.into_iter().filter(|kind| kind.is_navigation()).collect(),
                    $(Self::$name => vec![Kind::$name]),*
                }
            }

            /// The name of a kind.
            pub fn of(kind: Kind) -> Self {
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

/// Many events of a kind, close together: one signal a streak, as soon as there are enough.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Count")]
#[serde(default, deny_unknown_fields)]
pub struct CountDocument {
    /// The events that are counted: those that meet any of these conditions.
    pub of: Vec<ConditionDocument>,
    /// The least number of events; at most 24 where `span` is set.
    pub at_least: u32,
    /// The longest time from one event to the next, exclusive; without it, any.
    pub gap: Option<Span>,
    /// The longest time that the last `at_least` of them may take; without it, any.
    pub span: Option<Span>,
    /// The least time from the first to the last; without it, any.
    pub lasting: Option<Span>,
    /// The greatest distance from one event to the next in px, exclusive; without it, any.
    pub distance: Option<u32>,
    /// How the distance is measured.
    pub metric: MetricName,
    /// What the events of one streak have in common.
    pub same: SameName,
    /// Events less than this apart count as one.
    pub merge: Span,
    /// An event that is followed by one of these does not count.
    pub unless: Vec<ConditionDocument>,
    /// Whether one of `unless` spoils the whole streak.
    pub spoils: bool,
    /// Events that end a streak.
    pub reset: Vec<ConditionDocument>,
}

/// Events that are not followed by what should follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Absence")]
#[serde(default, deny_unknown_fields)]
pub struct AbsenceDocument {
    /// The events that should be followed by another.
    pub after: Vec<ConditionDocument>,
    /// The events that are waited for.
    pub of: Vec<ConditionDocument>,
    /// How long it is waited for.
    pub within: Span,
    /// What both have in common.
    pub same: SameName,
    /// Further `after` events belong to the same signal if they have this in common with its first.
    pub collapse: SameName,
    /// The least number of `after` for a signal.
    pub at_least: u32,
    /// The greatest number of `after` for a signal; without it, any.
    pub at_most: Option<u32>,
    /// Where set, the signal is found only when one of these comes, `within` or more after the first; one that comes earlier
    /// ends the wait without a signal.
    pub then: Vec<ConditionDocument>,
    /// Whether the end of the session counts as one of `then`.
    pub or_session_end: bool,
}

/// A pointer that turns back again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Reversal")]
#[serde(default, deny_unknown_fields)]
pub struct ReversalDocument {
    /// The least number of turns by more than 90°.
    pub at_least: u32,
    /// The longest time that they may take.
    pub span: Span,
}

/// One event that follows another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Sequence")]
#[serde(default, deny_unknown_fields)]
pub struct SequenceDocument {
    /// The first event.
    pub first: Vec<ConditionDocument>,
    /// The event that follows it.
    pub then: Vec<ConditionDocument>,
    /// The longest time from the one to the other.
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
