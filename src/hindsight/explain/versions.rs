//! The versions of rows, read back from their topic.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use apache_avro::types::Value;
use compact_str::CompactString;
use rdkafka::message::Message;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::located::Located;
use super::{ExplainError, Fields};
use crate::codec::json::{self, rfc3339};
use crate::codec::{self, CodecError};
use crate::event::derived::{Evidence, RowMeta};
use crate::event::{Millis, id};
use crate::log::Log;
use crate::log::replay::Replay;
use crate::log::topics;

/// The field that makes a row one with versions.
pub(super) const META: &str = "meta";
/// How far the clocks of two brokers may be apart.
const SKEW: Millis = 300_000;
/// Where a value with a [`META`] holds its id as text: behind the frame (5 bytes) and the length (1 byte).
const ID: std::ops::Range<usize> = 6..42;

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
    /// What it says.
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
    pub topic: Arc<str>,
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
        let references = || meta.evidence.first.iter().chain(&meta.evidence.last);
        // All records behind a row are of one partition (I2).
        let input = references().next().map(|reference| Input {
            topic: reference.topic.clone(),
            partition: reference.partition,
            offset,
            is_evidence: references().any(|reference| reference.offset == offset),
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

/// Reads the versions of rows, in the order of the rows.
pub(super) fn read(
    log: &Log,
    rows: &[Located],
    deadline: Option<Instant>,
) -> Result<Vec<InLog>, ExplainError> {
    let mut found: Vec<InLog> = rows.iter().map(|_| InLog::default()).collect();
    let mut topics = BTreeMap::<&str, Vec<usize>>::new();
    for (place, row) in rows.iter().enumerate() {
        topics.entry(row.topic).or_default().push(place);
    }
    for (topic, places) in topics {
        read_topic(log, topic, rows, &places, deadline, &mut found)?;
    }
    Ok(found)
}

fn read_topic(
    log: &Log,
    topic: &str,
    rows: &[Located],
    places: &[usize],
    deadline: Option<Instant>,
    found: &mut [InLog],
) -> Result<(), ExplainError> {
    let partitions = topics::named(topic).map_or(1, |topic| topic.partitions);
    let partition = |row: &Located| id::partition(id::murmur2(row.key.as_bytes()), partitions as u32);
    // No version was appended before its first record had arrived.
    let mut times = BTreeMap::<i32, Millis>::new();
    for row in places.iter().map(|place| &rows[*place]) {
        let time = times.entry(partition(row)).or_insert(Millis::MAX);
        *time = (*time).min(row.first_arrival.saturating_sub(SKEW));
    }
    let kafka = |source| ExplainError::kafka(topic)(source);
    let bounds = Replay::since(log, topic, &times).map_err(kafka)?;
    for place in places {
        if let Some((offsets, low)) = bounds.get(&partition(&rows[*place])) {
            found[*place].taken_before = (*low > 0 && offsets.start == *low).then_some(*low);
        }
    }
    let mut open: HashMap<Uuid, usize> = places.iter().map(|place| (rows[*place].id, *place)).collect();
    let offsets = bounds.into_iter().map(|(partition, (offsets, _))| (partition, offsets)).collect();
    let mut replay = Replay::start(log, topic, offsets).map_err(kafka)?;
    while !open.is_empty() {
        if deadline.is_some_and(|deadline| Instant::now() > deadline) {
            return Err(ExplainError::TooLong { topic: topic.to_owned() });
        }
        let Some(message) = replay.read().map_err(kafka)? else { break };
        // Of all others nothing more is decoded.
        let Some(place) = id_of(message.payload()).and_then(|id| open.get(&id)).copied() else { continue };
        let (partition, offset) = (message.partition(), message.offset());
        let append_time = message.timestamp().to_millis().unwrap_or_default();
        let place_in_log = LogPlace { partition, offset, append_time };
        let version =
            decode(message.payload(), place_in_log).map_err(|error| error.at(topic, partition, offset))?;
        // A row can begin a second life, which the table then knows of.
        let is_newest = rows[place].newest().is_none_or(|newest| newest.version <= version.version);
        if version.is_final && is_newest {
            open.remove(&rows[place].id);
        }
        found[place].versions.insert(version.version, version);
    }
    Ok(())
}

/// The id of a row, which its schema puts first.
fn id_of(value: Option<&[u8]>) -> Option<Uuid> {
    Uuid::try_parse_ascii(value?.get(ID)?).ok()
}

/// The part of a row that all have.
#[derive(Deserialize)]
struct Meta {
    meta: RowMeta,
}

enum Fault {
    Codec(CodecError),
    Json(serde_json::Error),
}

impl Fault {
    fn at(self, topic: &str, partition: i32, offset: i64) -> ExplainError {
        match self {
            Self::Codec(source) => {
                ExplainError::Unreadable { topic: topic.to_owned(), partition, offset, source }
            }
            Self::Json(error) => error.into(),
        }
    }
}

fn decode(value: Option<&[u8]>, place: LogPlace) -> Result<Version, Fault> {
    let (schema, value) = codec::decode_generic(value).map_err(Fault::Codec)?;
    let avro = |source| Fault::Codec(CodecError::Avro { id: schema.id, source: Box::new(source) });
    let Meta { meta } = apache_avro::from_value(&value).map_err(avro)?;
    let fields = if let Value::Record(fields) = &value { fields.as_slice() } else { &[] };
    let fields = Fields::of(fields).map_err(Fault::Json)?;
    Ok(Version::new(meta, fields, Some(place)))
}

#[cfg(test)]
mod tests {
    use apache_avro::Schema;

    use super::*;

    /// What [`id_of`] rests on.
    #[test]
    fn the_id_comes_first_in_every_row_that_has_versions() {
        let mut count = 0;
        for pinned in codec::schemas().values() {
            let Schema::Record(row) = pinned.schema else { panic!("{}", pinned.subject) };
            let Some(place) = row.lookup.get(META) else { continue };
            let Schema::Record(meta) = &row.fields[*place].schema else { panic!("{}", pinned.subject) };
            assert_eq!((*place, meta.lookup["id"]), (0, 0), "{} {}", pinned.id, pinned.subject);
            assert!(matches!(meta.fields[0].schema, Schema::Uuid(_)), "{}", pinned.subject);
            count += 1;
        }
        assert!(count >= 4);
    }
}
