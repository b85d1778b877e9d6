//! What a backtest has to know of a row.

use std::borrow::Cow;

use compact_str::CompactString;

use crate::codec::{self, CodecError};
use crate::event::derived::{Incident, Row, RowMeta, Session, Signal, SlaMetric};
use crate::worker::OutputRow;

/// A row that can be compared, counted, and read back.
pub trait Finding: OutputRow + PartialEq + Clone + Send {
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

    /// Whether it is the same row and says the same, however it came about.
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

/// The row, as if it had come about like another one.
fn with_meta(mut row: Row, other: &RowMeta) -> Row {
    match &mut row {
        Row::Incident(Incident { meta, .. })
        | Row::SlaMetric(SlaMetric { meta, .. })
        | Row::Signal(Signal { meta, .. })
        | Row::Session(Session { meta, .. }) => meta.clone_from(other),
        Row::DeadLetter(_) | Row::LateEvent(_) => {}
    }
    row
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
    const TOPICS: &'static [&'static str] =
        &["incidents", "sla-metrics", "signals", "sessions", "dead-letters", "late-events"];

    fn read(topic: &str, value: Option<&[u8]>) -> Result<Self, CodecError> {
        Ok(match topic {
            "incidents" => Self::Incident(codec::decode("incidents", value)?),
            "sla-metrics" => Self::SlaMetric(codec::decode("sla-metrics", value)?),
            "signals" => Self::Signal(codec::decode("signals", value)?),
            "sessions" => Self::Session(codec::decode("sessions", value)?),
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
            Self::Incident(Incident { meta, .. })
            | Self::SlaMetric(SlaMetric { meta, .. })
            | Self::Signal(Signal { meta, .. })
            | Self::Session(Session { meta, .. }) => {
                Input::Key(&meta.key, crate::event::id::offset(meta.version))
            }
        }
    }

    fn says_the_same(&self, other: &Self) -> bool {
        match (self.meta(), other.meta()) {
            (Some(meta), Some(others)) => {
                let is_same = (meta.id, meta.retracted) == (others.id, others.retracted);
                is_same && *self == with_meta(other.clone(), meta)
            }
            _ => self == other,
        }
    }

    fn facets(&self) -> Facets<'_> {
        match self {
            Self::Incident(row) => Facets {
                rule: Cow::Borrowed(&row.rule),
                severity: Some(row.severity.as_str()),
                area: ["area", "route"]
                    .iter()
                    .find_map(|name| row.attributes.get(*name))
                    .map(CompactString::as_str),
                is_met: None,
            },
            Self::SlaMetric(row) => Facets {
                rule: Cow::Owned(format!("closings, due time {}", row.due_source.as_str())),
                severity: None,
                area: Some(&row.area),
                is_met: Some(row.met),
            },
            Self::Signal(row) => Facets {
                rule: Cow::Owned(format!("signals, {}", row.rule)),
                severity: None,
                area: Some(&row.route),
                is_met: None,
            },
            Self::Session(_) => {
                Facets { rule: Cow::Borrowed("sessions"), severity: None, area: None, is_met: None }
            }
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
