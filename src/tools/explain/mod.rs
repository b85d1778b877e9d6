//! Why a row is what it is (I8): its versions, the settings in force at each, and the records behind the newest, read back
//! from the log.
//!
//! A table leads to the row ([`Located`]): its key gives the partition of its topic, the arrival of its first record where
//! to begin there. What retention has taken is said; of a version the table may still have a copy, of a record the row
//! keeps the reference.

mod evidence;
mod located;
pub mod routes;
mod text;
pub mod tool;
mod version;
mod versions;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use apache_avro::types::Value as AvroValue;
use compact_str::CompactString;
use rdkafka::error::KafkaError;
use serde::{Serialize, Serializer};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

pub use self::evidence::{EvidenceRead, EvidenceRecord, Found};
pub use self::located::{COLUMNS, Located, Stored, find};
pub use self::version::{Input, LogPlace, Version};
use crate::codec::CodecError;
use crate::codec::json::Json as AvroJson;
use crate::codec::json::{rfc3339, rfc3339_or_null};
use crate::engine::Millis;
use crate::families;
use crate::log::replay::{Records, records_at};
use crate::log::{Log, lag};
use crate::settings;
use crate::settings::{Changed, History, Json};
use crate::{runtime, store};

/// Why a row can't be explained.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// The log can't be read.
    #[error("can't read topic {topic}: {source}; is Kafka reachable at kafka.brokers?")]
    Kafka {
        /// The topic.
        topic: String,
        /// What Kafka said.
        source: KafkaError,
    },
    /// A version can't be read.
    #[error("{topic}/{partition} at offset {offset}: {source}; another version of the program may know it")]
    Unreadable {
        /// The derived topic.
        topic: String,
        /// Its partition.
        partition: i32,
        /// The offset.
        offset: i64,
        /// The cause.
        source: CodecError,
    },
    /// Nobody here knows what the records behind the row are.
    #[error(
        "the row follows from the topic {topic}, which is no family here; another version of the program may know it"
    )]
    NoFamily {
        /// The topic.
        topic: String,
    },
    /// A table can't be read.
    #[error(
        "can't read table {table}: {}; is ClickHouse reachable at clickhouse.url?",
        store::describe(source)
    )]
    Table {
        /// Which table.
        table: String,
        /// What ClickHouse said.
        source: clickhouse::error::Error,
    },
    /// A value has no JSON.
    #[error("a value can't be shown: {0}")]
    Json(#[from] serde_json::Error),
    /// There was not time enough.
    #[error(
        "there is more to read of topic {topic} than the time allows; `tidewatch explain` takes its time"
    )]
    TooLong {
        /// The topic.
        topic: String,
    },
}

impl ExplainError {
    fn kafka(topic: &str) -> impl FnOnce(KafkaError) -> Self {
        move |source| Self::Kafka { topic: topic.to_owned(), source }
    }
}

/// How far a partition of a family topic has been folded: what the rows do not say has not happened up to there.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = FoldedUpTo)]
pub struct AsOf {
    /// The family topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// The next offset to be folded.
    pub offset: i64,
    /// When the last record that was folded was appended; none where retention has taken it.
    #[serde(serialize_with = "rfc3339_or_null")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub clock: Option<Millis>,
}

/// The settings under a version that a row names.
#[derive(Debug, Serialize, ToSchema)]
pub struct SettingsUnder {
    /// The version: an offset of the topic `settings` (I4).
    pub version: i64,
    /// What held for the tenant; none where the topic has no such version: it has been made anew.
    #[schema(value_type = Option<Object>)]
    pub settings: Option<Json>,
    /// What of it differs from the defaults, which are `from`.
    pub not_default: BTreeMap<String, Changed>,
}

/// A row, explained.
#[derive(Debug, Serialize, ToSchema)]
pub struct Explanation {
    /// The row's id.
    pub id: Uuid,
    /// Its topic.
    pub topic: &'static str,
    /// The tenant of the row.
    #[schema(value_type = String)]
    pub tenant: CompactString,
    /// The key under which it was folded.
    #[schema(value_type = String)]
    pub key: CompactString,
    /// Which operator emitted it.
    #[schema(value_type = String)]
    pub operator: CompactString,
    /// When the first record behind it was appended.
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub first_arrival: Millis,
    /// How far its log had been folded when it was explained.
    pub as_of: Option<AsOf>,
    /// What was emitted of it, the oldest first.
    pub versions: Vec<Version>,
    /// Where retention has taken what came before the first version that is left: the oldest offset that its partition has.
    /// Whether there were older versions can't be known.
    pub versions_taken_before: Option<i64>,
    /// What was set, by the versions of the settings that the versions name.
    pub settings: Vec<SettingsUnder>,
    /// The records behind the newest version.
    pub evidence: EvidenceRead,
}

/// Explains rows, in their order; without the settings, which [`Explanation::with_settings`] adds. Each topic is read once,
/// for all of them.
///
/// # Errors
/// Where the log is away, holds what can't be read, or takes longer than up to `deadline`.
pub fn explain(
    log: &Log,
    mut rows: Vec<Located>,
    deadline: Option<Instant>,
) -> Result<Vec<Explanation>, ExplainError> {
    // First: what is committed up to there is then read below, but for a transaction that is just being closed.
    let folded = folded(log, &rows)?;
    let mut found = versions::read(log, &rows, deadline)?;
    for (row, found) in rows.iter_mut().zip(&mut found) {
        row.take_in(found);
    }
    let records = records(log, &rows, &folded)?;
    let explained = rows.into_iter().zip(found).map(|(row, found)| {
        let as_of = row.origin().and_then(|(operator, topic, partition)| {
            let offset = *folded.get(&(operator.to_owned(), topic.to_owned()))?.get(&partition)?;
            let last = records.get(topic)?.get(&partition)?.records.get(&(offset - 1));
            let clock = last.and_then(evidence::append_time);
            Some(AsOf { topic: topic.to_owned(), partition, offset, clock })
        });
        Ok(Explanation {
            id: row.id,
            topic: row.topic,
            operator: row.newest().map(|version| version.operator.clone()).unwrap_or_default(),
            first_arrival: row.first_arrival,
            as_of,
            versions_taken_before: found.taken_before,
            settings: Vec::new(),
            evidence: EvidenceRead::of(&row, &records)?,
            tenant: row.tenant,
            key: row.key,
            versions: row.versions.into_values().collect(),
        })
    });
    explained.collect()
}

/// Something for each partition of some topics.
type ByPartition<T> = BTreeMap<String, BTreeMap<i32, T>>;

/// How far each operator has folded the partitions from which its rows follow, by operator and topic.
type Folded = BTreeMap<(String, String), BTreeMap<i32, i64>>;

/// How far the partitions from which the rows follow have been folded.
fn folded(log: &Log, rows: &[Located]) -> Result<Folded, ExplainError> {
    let mut origins = BTreeMap::<_, BTreeSet<i32>>::new();
    for (operator, topic, partition) in rows.iter().filter_map(Located::origin) {
        origins.entry((operator.to_owned(), topic.to_owned())).or_default().insert(partition);
    }
    let committed = origins.into_iter().map(|((operator, topic), partitions)| {
        let offsets = lag::committed(log, &runtime::group(&operator), &topic, partitions);
        let offsets = offsets.map_err(ExplainError::kafka(&topic))?;
        Ok(((operator, topic), offsets))
    });
    committed.collect()
}

/// Reads the records behind the rows, and the last ones that were folded.
fn records(log: &Log, rows: &[Located], folded: &Folded) -> Result<ByPartition<Records>, ExplainError> {
    let behind = rows.iter().filter_map(Located::evidence).flat_map(|evidence| {
        evidence.offsets.iter().map(|offset| (evidence.topic.as_str(), evidence.partition, *offset))
    });
    let last_folded = folded.iter().flat_map(|((_, topic), partitions)| {
        partitions.iter().map(move |(partition, offset)| (topic.as_str(), *partition, offset - 1))
    });
    let mut offsets = BTreeMap::<&str, BTreeMap<i32, BTreeSet<i64>>>::new();
    for (topic, partition, offset) in behind.chain(last_folded) {
        offsets.entry(topic).or_default().entry(partition).or_default().insert(offset);
    }
    let read = offsets.into_iter().map(|(topic, offsets)| {
        Ok((topic.to_owned(), records_at(log, topic, &offsets).map_err(ExplainError::kafka(topic))?))
    });
    read.collect()
}

impl Explanation {
    /// Adds the settings under which its versions were emitted.
    pub fn with_settings(mut self, history: &History) -> Self {
        let versions: BTreeSet<i64> = self.versions.iter().map(|version| version.settings_version).collect();
        let family = self.versions.last().and_then(|version| version.input.as_ref());
        let family = family.and_then(|input| families::settings(&input.topic));
        let under = |version| {
            // A row names the newest version that there was for its family.
            let family = family.filter(|family| history.newest(family.name) >= version);
            let settings = family.map(|family| history.effective(family, Some(&self.tenant), version));
            let defaults = family.map(|family| (family.defaults)());
            let both = defaults.as_ref().zip(settings.as_ref());
            let not_default = both.map(|(from, to)| settings::difference(from, to)).unwrap_or_default();
            SettingsUnder { version, settings, not_default }
        };
        self.settings = versions.into_iter().map(under).collect();
        self
    }
}

/// What a row says beyond its [meta](crate::engine::rows::RowMeta), by name, in the order of its schema.
#[derive(Debug, Default)]
pub struct Fields(pub Vec<(String, Value)>);

impl Fields {
    fn of(fields: &[(String, AvroValue)]) -> Result<Self, serde_json::Error> {
        let others = fields.iter().filter(|(name, _)| name != version::META);
        let json = others.map(|(name, value)| Ok((name.clone(), serde_json::to_value(AvroJson(value))?)));
        json.collect::<Result<_, _>>().map(Self)
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}
