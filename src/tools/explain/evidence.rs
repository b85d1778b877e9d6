//! The records behind a row, read back from the family topic (I8).

use std::sync::Arc;

use rdkafka::message::{Message, OwnedMessage};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use utoipa::ToSchema;

use super::located::Located;
use super::{ByPartition, ExplainError};
use crate::codec;
use crate::codec::CodecError;
use crate::codec::json::{Json, rfc3339};
use crate::engine::rows::RecordReference;
use crate::engine::{Event, Millis};
use crate::families::{self, Family, Visitor};
use crate::log::replay::Records;

/// The records behind a row, in the order of the log.
#[derive(Debug, Serialize, ToSchema)]
pub struct EvidenceRead {
    /// How many there are.
    pub count: i64,
    /// How many of them the row does not name: they lie between the first 8 and the last 24.
    pub not_named: i64,
    /// Those that it names.
    pub records: Vec<EvidenceRecord>,
}

/// A record behind a row.
#[derive(Debug, Serialize, ToSchema)]
pub struct EvidenceRecord {
    /// Its topic.
    #[schema(value_type = String)]
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// The event that the row says lies there.
    #[schema(value_type = String)]
    pub event_id: Arc<str>,
    /// What lies there.
    #[serde(flatten)]
    pub found: Found,
}

/// What lies at a place of the log that a row names.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
#[schema(as = EvidenceState)]
pub enum Found {
    /// The event that the row names.
    Read {
        /// When it happened.
        #[serde(serialize_with = "rfc3339")]
        #[schema(value_type = String, format = DateTime)]
        event_time: Millis,
        /// When it was appended.
        #[serde(serialize_with = "rfc3339")]
        #[schema(value_type = String, format = DateTime)]
        append_time: Millis,
        /// The fields.
        #[schema(value_type = Object)]
        value: Box<RawValue>,
    },
    /// Nothing any more: retention has taken it.
    Taken {
        /// The first offset that is left of the partition.
        oldest_offset: i64,
    },
    /// Nothing, though retention has not come so far: the topic was made anew.
    Missing {
        /// The end of the partition.
        end_offset: i64,
    },
    /// Something else, which is not shown: the topic was made anew.
    AnotherRecord,
}

impl EvidenceRead {
    pub(super) fn of(row: &Located, records: &ByPartition<Records>) -> Result<Self, ExplainError> {
        let read = row.references().filter_map(|reference| {
            // All that rows name have been looked for.
            let found =
                look(&row.tenant, reference, records.get(&*reference.topic)?.get(&reference.partition)?);
            let RecordReference { topic, partition, offset, event_id } = reference.clone();
            Some(found.map(|found| EvidenceRecord { topic, partition, offset, event_id, found }))
        });
        let records = read.collect::<Result<Vec<_>, ExplainError>>()?;
        let count = row.newest().map_or(0, |newest| newest.evidence_count);
        Ok(Self { count, not_named: count - records.len() as i64, records })
    }
}

fn look(tenant: &str, reference: &RecordReference, partition: &Records) -> Result<Found, ExplainError> {
    let Some(record) = partition.records.get(&reference.offset) else {
        let (oldest_offset, end_offset) = (partition.bounds.start, partition.bounds.end);
        let is_taken = reference.offset < oldest_offset;
        return Ok(if is_taken { Found::Taken { oldest_offset } } else { Found::Missing { end_offset } });
    };
    let Ok(event) = event(&reference.topic, record.payload())? else { return Ok(Found::AnotherRecord) };
    // Of a topic that was made anew, anybody's record may lie there.
    if event.tenant() != tenant || *event.identity().name() != *reference.event_id {
        return Ok(Found::AnotherRecord);
    }
    let Ok((_, value)) = codec::decode_generic(record.payload()) else { return Ok(Found::AnotherRecord) };
    Ok(Found::Read {
        event_time: event.event_time(),
        append_time: append_time(record).unwrap_or_default(),
        value: to_raw_value(&Json(&value))?,
    })
}

/// When a record was appended.
pub(super) fn append_time(record: &OwnedMessage) -> Option<Millis> {
    record.timestamp().to_millis()
}

/// Reads an event of a family topic.
fn event(topic: &str, value: Option<&[u8]>) -> Result<Result<Box<dyn Event>, CodecError>, ExplainError> {
    families::with(topic, Decode(value)).ok_or_else(|| ExplainError::NoFamily { topic: topic.to_owned() })
}

struct Decode<'a>(Option<&'a [u8]>);

impl Visitor for Decode<'_> {
    type Output = Result<Box<dyn Event>, CodecError>;

    fn family<F: Family>(self) -> Self::Output {
        codec::decode::<F::Event>(F::NAME, self.0).map(|event| Box::new(event) as Box<dyn Event>)
    }
}
