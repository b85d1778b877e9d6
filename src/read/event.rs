//! A version of a row, as it lies on the log: what is told to those who listen.

use std::sync::{Arc, OnceLock};

use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::conditions::Conditions;
use super::rows::Place;
use crate::http::Tenant;
use crate::resource::Row;

/// What an event says of its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It was found or corrected.
    Row,
    /// It no longer holds.
    Retraction {
        /// The row that has absorbed it.
        merged_into: Option<Uuid>,
    },
}

impl Kind {
    /// Of a record.
    pub fn of(retracted: bool, merged_into: Option<Uuid>) -> Self {
        if retracted { Self::Retraction { merged_into } } else { Self::Row }
    }
}

/// A version of a row, as it lies on the log.
#[derive(Debug)]
pub struct Event {
    /// The tenant that it belongs to.
    pub tenant: Tenant,
    /// Its partition and offset.
    pub place: Place,
    kind: Kind,
    row: Arc<Row>,
    /// For all who listen with conditions.
    parsed: OnceLock<Option<Value>>,
}

/// What is said of a row that no longer holds.
#[derive(Debug, Serialize)]
struct Retraction {
    id: Uuid,
    version: String,
    merged_into: Option<Uuid>,
}

impl Event {
    /// A version of `row`.
    pub fn new(tenant: Tenant, place: Place, kind: Kind, row: Arc<Row>) -> Self {
        Self { tenant, place, kind, row, parsed: OnceLock::new() }
    }

    /// Whether who asks for these rows is told.
    pub fn is_wanted(&self, conditions: &Conditions) -> bool {
        conditions.is_empty()
            || self.parsed().is_some_and(|row| match self.kind {
                Kind::Row => conditions.matches(row),
                Kind::Retraction { .. } => conditions.may_have_matched(row),
            })
    }

    fn parsed(&self) -> Option<&Value> {
        self.parsed.get_or_init(|| serde_json::from_str(&self.row.json).ok()).as_ref()
    }

    /// What it is called, where rows are called `noun`, and what it says.
    pub fn name_and_data(&self, noun: &'static str) -> serde_json::Result<(&'static str, String)> {
        Ok(match self.kind {
            Kind::Row => (noun, self.row.json.to_string()),
            Kind::Retraction { merged_into } => {
                let (id, version) = (self.row.id, self.row.version.to_string());
                ("retraction", serde_json::to_string(&Retraction { id, version, merged_into })?)
            }
        })
    }
}
