//! What a backtest has to know of a row.

use std::borrow::Cow;

use crate::codec::{self, CodecError};
use crate::event::derived::{Incident, Row, SlaMetric};
use crate::worker::OutputRow;

/// A row that can be compared, counted, and read back.
pub trait Finding: OutputRow + PartialEq + Send {
    /// The derived topics in which such rows lie.
    const TOPICS: &'static [&'static str];

    /// Reads a value of one of them.
    fn read(topic: &str, value: Option<&[u8]>) -> Result<Self, CodecError>
    where
        Self: Sized;

    /// Whose it is, where that is known.
    fn tenant(&self) -> Option<&str>;

    /// The operator from which it comes; none for what could not be folded.
    fn operator(&self) -> Option<&str>;

    /// The record that emitted it: its topic where the row names it, partition (or the key that leads to it), offset.
    fn input(&self) -> Input<'_>;

    /// Whether another version says the same, however it came about.
    fn says_the_same(&self, other: &Self) -> bool;

    /// Under what it is counted.
    fn facets(&self) -> Facets<'_>;
}

/// Where in the family's log a row was emitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input<'a> {
    /// At an offset of the partition of a key.
    Key(&'a str, i64),
    /// At a record that it names.
    Record(&'a str, i32, i64),
}

/// Under what a row is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facets<'a> {
    /// The rule, or what else it is about.
    pub rule: Cow<'a, str>,
    /// How grave it is, where it says so.
    pub severity: Option<&'static str>,
    /// Where.
    pub area: Option<&'a str>,
    /// Of what can be met: whether it was.
    pub is_met: Option<bool>,
}

impl Finding for Row {
    const TOPICS: &'static [&'static str] = &["incidents", "sla-metrics", "dead-letters", "late-events"];

    fn read(topic: &str, value: Option<&[u8]>) -> Result<Self, CodecError> {
        Ok(match topic {
            "incidents" => Self::Incident(codec::decode("incidents", value)?),
            "sla-metrics" => Self::SlaMetric(codec::decode("sla-metrics", value)?),
            "late-events" => Self::LateEvent(codec::decode("late-events", value)?),
            _ => Self::DeadLetter(codec::decode("dead-letters", value)?),
        })
    }

    fn tenant(&self) -> Option<&str> {
        match self {
            Self::DeadLetter(row) => row.tenant.as_deref(),
            Self::LateEvent(row) => Some(&row.tenant),
            _ => self.meta().map(|meta| meta.tenant.as_str()),
        }
    }

    fn operator(&self) -> Option<&str> {
        match self {
            Self::LateEvent(row) => Some(&row.operator),
            _ => self.meta().map(|meta| meta.operator.as_str()),
        }
    }

    fn input(&self) -> Input<'_> {
        match self {
            Self::DeadLetter(row) => Input::Record(&row.topic, row.partition, row.offset),
            Self::LateEvent(row) => Input::Record(&row.topic, row.partition, row.offset),
            Self::Incident(Incident { meta, .. }) | Self::SlaMetric(SlaMetric { meta, .. }) => {
                Input::Key(&meta.key, crate::event::id::offset(meta.version))
            }
        }
    }

    fn says_the_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Incident(row), Self::Incident(other)) => {
                *row == Incident { meta: row.meta.clone(), ..other.clone() }
            }
            (Self::SlaMetric(row), Self::SlaMetric(other)) => {
                *row == SlaMetric { meta: row.meta.clone(), ..other.clone() }
            }
            _ => self == other,
        }
    }

    fn facets(&self) -> Facets<'_> {
        match self {
            Self::Incident(row) => Facets {
                rule: Cow::Borrowed(&row.rule),
                severity: Some(row.severity.as_str()),
                area: row.attributes.get("area").map(String::as_str),
                is_met: None,
            },
            Self::SlaMetric(row) => Facets {
                rule: Cow::Owned(format!("closings, due time {}", row.due_source.as_str())),
                severity: None,
                area: Some(&row.area),
                is_met: Some(row.met),
            },
            Self::DeadLetter(row) => Facets {
                rule: Cow::Owned(format!("dead letters, {}", row.reason)),
                severity: None,
                area: None,
                is_met: None,
            },
            Self::LateEvent(_) => {
                Facets { rule: Cow::Borrowed("late events"), severity: None, area: None, is_met: None }
            }
        }
    }
}
