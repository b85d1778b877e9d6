//! The versions of rows, read back from their topic.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use apache_avro::types::Value;
use rdkafka::message::Message;
use serde::Deserialize;
use uuid::Uuid;

use super::located::Located;
use super::version::{InLog, LogPlace, Version};
use super::{ExplainError, Fields};
use crate::codec::{self, CodecError};
use crate::engine::rows::RowMeta;
use crate::engine::{Millis, id};
use crate::log::Log;
use crate::log::replay::Replay;
use crate::log::topics;

/// How far the clocks of two brokers may be apart.
const SKEW: Millis = 300_000;
/// Where a value with a [`META`] holds its id as text: behind the frame (5 bytes) and the length (1 byte).
const ID: std::ops::Range<usize> = 6..42;

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

    use super::super::version::META;
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
