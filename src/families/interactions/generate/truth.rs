//! What a generated session holds: signs of frustration that were planted, and near-misses that only look like them.

use compact_str::CompactString;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::codec::json::rfc3339;
use crate::engine::Millis;

/// The kinds of frustration, as signals name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "DESIGN section 6 says what they are")]
pub enum Rule {
    RageClick,
    DeadClick,
    ErrorClick,
    FormLoop,
    AbandonedForm,
    ThrashedCursor,
    QuickBack,
    ReloadLoop,
    Blocked,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::RageClick,
        Self::DeadClick,
        Self::ErrorClick,
        Self::FormLoop,
        Self::AbandonedForm,
        Self::ThrashedCursor,
        Self::QuickBack,
        Self::ReloadLoop,
        Self::Blocked,
    ];

    /// As signals name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::RageClick => "rage_click",
            Self::DeadClick => "dead_click",
            Self::ErrorClick => "error_click",
            Self::FormLoop => "form_loop",
            Self::AbandonedForm => "abandoned_form",
            Self::ThrashedCursor => "thrashed_cursor",
            Self::QuickBack => "quick_back",
            Self::ReloadLoop => "reload_loop",
            Self::Blocked => "blocked",
        }
    }
}

/// Whether a rule has to fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// It has to: `true`.
    Planted,
    /// It must not: `"near_miss"`.
    NearMiss,
}

/// A sign: a line of the truth file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sign {
    /// In which session.
    pub session_id: CompactString,
    /// The rule.
    pub rule: Rule,
    /// Time of its first event.
    #[serde(serialize_with = "rfc3339", deserialize_with = "time")]
    pub started_at: Millis,
    /// Time of its last event.
    #[serde(serialize_with = "rfc3339", deserialize_with = "time")]
    pub ended_at: Millis,
    /// Whether the rule has to fire.
    pub planted: Label,
}

impl Serialize for Label {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Planted => serializer.serialize_bool(true),
            Self::NearMiss => serializer.serialize_str("near_miss"),
        }
    }
}

impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Flag(bool),
            Name(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Flag(true) => Ok(Self::Planted),
            Written::Name(name) if name == "near_miss" => Ok(Self::NearMiss),
            _ => Err(serde::de::Error::custom("expected true or \"near_miss\"")),
        }
    }
}

/// Reads RFC 3339.
pub(super) fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Millis, D::Error> {
    Ok(jiff::Timestamp::deserialize(deserializer)?.as_millisecond())
}
