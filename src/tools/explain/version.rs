//! A version of a row.

use std::collections::BTreeMap;

use compact_str::CompactString;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::Fields;
use crate::codec::json::{self, rfc3339};
use crate::engine::rows::{Evidence, RowMeta};
use crate::engine::{Millis, id};

/// The field that makes a row one with versions.
pub(super) const META: &str = "meta";

/// A version of a row.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RowVersion)]
pub struct Version {
    /// Orders the versions. As a text, for many a client's numbers end at 2^53.
    #[serde(serialize_with = "json::number_as_text")]
    #[schema(value_type = String)]
    pub version: i64,
    /// Where it lies; none where retention has taken it, and only the table has it.
    pub log: Option<LogPlace>,
    /// What was read when it was emitted.
    pub input: Option<Input>,
    /// The row no longer holds.
    pub retracted: bool,
    /// Nothing will change it any more.
    #[serde(rename = "final")]
    pub is_final: bool,
    /// Of a retracted row: the row that has absorbed it.
    pub merged_into: Option<Uuid>,
    /// The semantic version of the operator.
    pub operator_version: i32,
    /// The settings in force.
    pub settings_version: i64,
    /// How many records were behind it.
    pub evidence_count: i64,
    /// The fields.
    #[schema(value_type = Object)]
    pub row: Fields,
    #[serde(skip)]
    #[schema(ignore)]
    pub(super) operator: CompactString,
    #[serde(skip)]
    #[schema(ignore)]
    pub(super) evidence: Evidence,
}

/// Where a version lies.
#[derive(Debug, Serialize, ToSchema)]
pub struct LogPlace {
    /// Partition of the row's topic.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// When it was appended.
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub append_time: Millis,
}

/// The record of the family topic at which a version was emitted.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RowInput)]
pub struct Input {
    /// The family topic.
    #[schema(value_type = String)]
    pub topic: CompactString,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// It is one of the records behind the version. Else it only let time pass, or brought settings into force.
    pub is_evidence: bool,
}

impl Version {
    pub(super) fn new(meta: RowMeta, row: Fields, log: Option<LogPlace>) -> Self {
        let offset = id::offset(meta.version);
        let evidence = &meta.evidence;
        let input = (!evidence.topic.is_empty()).then(|| Input {
            topic: evidence.topic.clone(),
            partition: evidence.partition,
            offset,
            is_evidence: evidence.offsets.contains(&offset),
        });
        Self {
            version: meta.version,
            log,
            input,
            retracted: meta.retracted,
            is_final: meta.is_final,
            merged_into: meta.merged_into,
            operator_version: meta.operator_version,
            settings_version: meta.settings_version,
            evidence_count: meta.evidence.count,
            row,
            operator: meta.operator,
            evidence: meta.evidence,
        }
    }
}

/// What the log has of a row.
#[derive(Debug, Default)]
pub(super) struct InLog {
    pub(super) versions: BTreeMap<i64, Version>,
    /// Where retention has cut what may have held older ones: the first offset that is left.
    pub(super) taken_before: Option<i64>,
}
