//! The records behind a row, read back from the family topic (I8).

use compact_str::CompactString;
use rdkafka::message::{Message, OwnedMessage};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use utoipa::ToSchema;

use super::located::Located;
use super::{ByPartition, ExplainError};
use crate::codec;
use crate::codec::CodecError;
use crate::codec::json::{Json, rfc3339};
use crate::engine::rows::Evidence;
use crate::engine::{Event, Millis};
use crate::families::{self, Family, Visitor};
use crate::log::replay::Records;

/// By how much the clocks of two brokers may differ.
const CLOCK_DIFFERENCE: Millis = 60_000;

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
    pub topic: CompactString,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// What lies there.
    #[serde(flatten)]
    pub found: Found,
}

/// What lies at a place of the log that a row names.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
#[schema(as = EvidenceState)]
pub enum Found {
    /// The event.
    Read {
        /// The id that its producer gave it; empty where it has none.
        #[schema(value_type = String)]
        event_id: CompactString,
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
        let Some(evidence) = row.evidence() else {
            return Ok(Self { count: 0, not_named: 0, records: Vec::new() });
        };
        let Evidence { count, topic, partition, offsets } = evidence;
        // All that rows name have been looked for.
        let read = records.get(topic.as_str()).and_then(|partitions| partitions.get(partition));
        let read = read.into_iter().flat_map(|read| offsets.iter().map(move |offset| (read, *offset)));
        let read = read.map(|(read, offset)| {
            let found = look(row, topic, offset, read)?;
            Ok(EvidenceRecord { topic: topic.clone(), partition: *partition, offset, found })
        });
        let records = read.collect::<Result<Vec<_>, ExplainError>>()?;
        Ok(Self { count: *count, not_named: count - records.len() as i64, records })
    }
}

fn look(row: &Located, topic: &str, offset: i64, partition: &Records) -> Result<Found, ExplainError> {
    let Some(record) = partition.records.get(&offset) else {
        let (oldest_offset, end_offset) = (partition.bounds.start, partition.bounds.end);
        let is_taken = offset < oldest_offset;
        return Ok(if is_taken { Found::Taken { oldest_offset } } else { Found::Missing { end_offset } });
    };
    let Ok(event) = event(topic, record.payload())? else { return Ok(Found::AnotherRecord) };
    // Of a topic that was made anew, anybody's record may lie there, appended after the row was.
    let append_time = append_time(record).unwrap_or_default();
    let emitted = row.newest().and_then(|newest| newest.log.as_ref());
    let is_younger = emitted.is_some_and(|log| log.append_time + CLOCK_DIFFERENCE < append_time);
    if event.tenant() != row.tenant || is_younger {
        return Ok(Found::AnotherRecord);
    }
    let Ok((_, value)) = codec::decode_generic(record.payload()) else { return Ok(Found::AnotherRecord) };
    Ok(Found::Read {
        event_id: event.identity().name().as_ref().into(),
        event_time: event.event_time(),
        append_time,
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
