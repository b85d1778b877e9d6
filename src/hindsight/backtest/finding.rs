//! What a backtest has to know of a row.

use std::borrow::Cow;

use compact_str::CompactString;

use crate::codec::{self, CodecError};
use crate::event::derived::{Incident, Row, RowMeta, SlaMetric};
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

fn is_the_same_row(one: &RowMeta, other: &RowMeta) -> bool {
    (one.id, one.retracted) == (other.id, other.retracted)
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
        // By name, so that no field is forgotten that is added.
        match (self, other) {
            (Self::Incident(row), Self::Incident(other)) => {
                let Incident {
                    meta,
                    family,
                    rule,
                    severity,
                    subject,
                    title,
                    started_at,
                    ended_at,
                    attributes,
                } = row;
                is_the_same_row(meta, &other.meta)
                    && (started_at, ended_at, severity)
                        == (&other.started_at, &other.ended_at, &other.severity)
                    && (family, rule, subject) == (&other.family, &other.rule, &other.subject)
                    && (title, attributes) == (&other.title, &other.attributes)
            }
            (Self::SlaMetric(row), Self::SlaMetric(other)) => {
                let SlaMetric {
                    meta,
                    issue_id,
                    area,
                    department,
                    opened_at,
                    due_at,
                    due_source,
                    resolved_at,
                    resolution_ms,
                    met,
                } = row;
                is_the_same_row(meta, &other.meta)
                    && (met, due_at, due_source) == (&other.met, &other.due_at, &other.due_source)
                    && (opened_at, resolved_at, resolution_ms)
                        == (&other.opened_at, &other.resolved_at, &other.resolution_ms)
                    && (issue_id, area, department) == (&other.issue_id, &other.area, &other.department)
            }
            _ => self == other,
        }
    }

    fn facets(&self) -> Facets<'_> {
        match self {
            Self::Incident(row) => Facets {
                rule: Cow::Borrowed(&row.rule),
                severity: Some(row.severity.as_str()),
                area: row.attributes.get("area").map(CompactString::as_str),
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
