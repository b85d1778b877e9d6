//! What can be set of each matcher.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::families::interactions::frustration::kind::Kind;
use crate::families::interactions::frustration::rule::{Absence, Count};
use crate::settings::Span;

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

/// Many of a kind, close together; found once a streak, as soon as there are enough.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CountDocument {
    /// The events that are counted: those that meet any of these conditions.
    pub of: Vec<ConditionDocument>,
    /// The least number of events.
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

/// Nothing follows that should.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

/// The pointer turns back again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReversalDocument {
    /// The least number of turns by more than 90°.
    pub at_least: u32,
    /// The longest time that they may take.
    pub span: Span,
}

/// An event follows another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
