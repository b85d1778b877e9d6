//! Rows as the tables know them.

use std::collections::{BTreeMap, HashMap};

use apache_avro::Schema;
use clickhouse::{Client, Row};
use compact_str::CompactString;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use uuid::Uuid;

use super::version::{InLog, META, Version};
use super::{ExplainError, Fields};
use crate::codec;
use crate::engine::Millis;
use crate::engine::rows::{Evidence, RowMeta};
use crate::log::topics;
use crate::log::topics::Topic;
use crate::settings::Json;

/// What is read of a table, as the client of [`store::reader`](crate::store::reader) spells it: whole rows.
pub const COLUMNS: &str = "formatRowNoNewline('JSONEachRow', *) AS columns";

/// A version of a row, as a table has it.
#[derive(Debug, Row, Deserialize)]
pub struct Stored {
    columns: String,
}

/// The columns that every table of rows with versions has.
#[derive(Deserialize)]
struct Columns {
    id: Uuid,
    version: i64,
    retracted: u8,
    #[serde(rename = "final")]
    is_final: u8,
    merged_into: Option<Uuid>,
    tenant: CompactString,
    key: CompactString,
    operator: CompactString,
    operator_version: i32,
    settings_version: i64,
    #[serde(deserialize_with = "time")]
    first_arrival: Millis,
    evidence_count: i64,
    evidence_topic: CompactString,
    evidence_partition: i32,
    evidence_offsets: Vec<i64>,
    #[serde(flatten)]
    others: Json,
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Millis, D::Error> {
    let time: jiff::Timestamp = String::deserialize(deserializer)?.parse().map_err(D::Error::custom)?;
    Ok(time.as_millisecond())
}

/// A row that a table knows: what leads from there to the log.
#[derive(Debug)]
pub struct Located {
    /// Its topic.
    pub topic: &'static str,
    /// Its id.
    pub id: Uuid,
    /// The tenant of the row.
    pub tenant: CompactString,
    /// The key under which it was folded.
    pub key: CompactString,
    /// When the first record behind it was appended.
    pub first_arrival: Millis,
    /// At least one.
    pub(super) versions: BTreeMap<i64, Version>,
}

/// Looks rows up by their ids, in every table that has versions of rows. Those that are not there are left out, and the
/// order is any.
pub async fn find(client: &Client, ids: &[Uuid]) -> Result<Vec<Located>, ExplainError> {
    let ids: Vec<String> = ids.iter().map(Uuid::to_string).collect();
    let mut found = Vec::new();
    for (topic, table) in topics::all().iter().filter_map(|topic| Some((topic, topic.table.as_ref()?))) {
        if fields(topic).is_none() {
            continue;
        }
        let query = client.query(&format!("SELECT {COLUMNS} FROM {table} WHERE id IN ?")).bind(&ids);
        let stored = query.fetch_all().await;
        let stored = stored.map_err(|source| ExplainError::Table { table: table.clone(), source })?;
        found.extend(Located::of(topic, stored)?);
    }
    Ok(found)
}

/// What rows with versions say beyond their meta, by name; `None` where a topic's rows have no versions.
fn fields(topic: &Topic) -> Option<impl Iterator<Item = &'static str>> {
    let Schema::Record(record) = codec::newest(topic.schema.as_deref()?)?.schema else { return None };
    record
        .lookup
        .contains_key(META)
        .then(|| record.fields.iter().map(|field| field.name.as_str()).filter(|name| *name != META))
}

impl Located {
    /// The rows of a topic, of whose versions a table has these.
    pub fn of(topic: &'static Topic, stored: Vec<Stored>) -> Result<Vec<Self>, ExplainError> {
        let mut rows = HashMap::<Uuid, Self>::new();
        for Stored { columns } in stored {
            let mut columns: Columns = serde_json::from_str(&columns)?;
            let field = |name: &str| (name.to_owned(), columns.others.remove(name).unwrap_or_default());
            let fields = Fields(fields(topic).into_iter().flatten().map(field).collect());
            let meta = columns.into_meta();
            let row = rows.entry(meta.id).or_insert_with(|| Self {
                topic: &topic.name,
                id: meta.id,
                tenant: meta.tenant.clone(),
                key: meta.key.clone(),
                first_arrival: meta.first_arrival,
                versions: BTreeMap::new(),
            });
            row.versions.insert(meta.version, Version::new(meta, fields, None));
        }
        Ok(rows.into_values().collect())
    }

    /// Takes in what lies in the log, which is the truth (I1).
    pub(super) fn take_in(&mut self, found: &mut InLog) {
        self.versions.append(&mut found.versions);
    }

    pub(super) fn newest(&self) -> Option<&Version> {
        self.versions.values().next_back()
    }

    /// The records behind it, as far as it names them.
    pub(super) fn evidence(&self) -> Option<&Evidence> {
        self.newest().map(|version| &version.evidence)
    }

    /// The operator that emitted it, and the partition of the family topic from which it follows.
    pub(super) fn origin(&self) -> Option<(&str, &str, i32)> {
        let newest = self.newest()?;
        let input = newest.input.as_ref()?;
        Some((&newest.operator, &input.topic, input.partition))
    }
}

impl Columns {
    fn into_meta(self) -> RowMeta {
        RowMeta {
            id: self.id,
            version: self.version,
            retracted: self.retracted != 0,
            is_final: self.is_final != 0,
            merged_into: self.merged_into,
            tenant: self.tenant,
            key: self.key,
            operator: self.operator,
            operator_version: self.operator_version,
            settings_version: self.settings_version,
            first_arrival: self.first_arrival,
            evidence: Evidence {
                count: self.evidence_count,
                topic: self.evidence_topic,
                partition: self.evidence_partition,
                offsets: self.evidence_offsets,
            },
        }
    }
}
