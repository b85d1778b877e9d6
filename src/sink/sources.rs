//! What the sink reads: every topic of `topics/*.yaml` that names a table, with the plan that leads there.

use clickhouse::Client;
use rdkafka::Message;
use tokio_util::sync::CancellationToken;

use super::SinkError;
use super::backoff::backoff;
use super::batch::{Letter, Outcome};
use super::plan::{Plan, RowError, TableColumn};
use crate::codec;
use crate::codec::{CodecError, PinnedSchema};
use crate::engine::rows::DeadLetter;
use crate::http::Readiness;
use crate::log::topics::{Owner, Topic};
use crate::log::{Log, topics};
use crate::resource;
use crate::runtime::is_mark;
use crate::store;

/// The topic of dead letters, and the subject of its values.
pub const DEAD_LETTERS: &str = "dead-letters";

/// A letter holds the whole value up to this size; Kafka would refuse a much larger one.
const KEPT: usize = 900 << 10;

/// A topic and its table.
pub struct Source {
    /// The topic's name on the cluster.
    pub topic: String,
    /// The topic's name without the system's prefix.
    pub local_topic: &'static str,
    /// How its records become rows.
    pub plan: Plan,
    /// Its records are what workers fold: they dead-letter what can't be read.
    is_family: bool,
    /// How dead letters are written.
    letters: &'static PinnedSchema,
}

/// Every topic with a table, with its plan. Waits for ClickHouse as long as it is away; `None` if the process is to
/// end meanwhile.
pub async fn plan(
    client: &Client,
    database: &str,
    log: &Log,
    readiness: &Readiness,
    shutdown: &CancellationToken,
) -> Result<Option<Vec<Source>>, SinkError> {
    let mut sources = Vec::new();
    for topic in topics::all() {
        let Some(table) = &topic.table else { continue };
        let mut delays = backoff();
        let columns = loop {
            match columns(client, database, table).await {
                Ok(columns) => break columns,
                Err(error) if store::is_away(&error) => {
                    let error = store::describe(&error);
                    tracing::error!(error, "can't read the columns of {table}; it is tried again");
                    readiness.set(false, error);
                }
                Err(source) => return Err(SinkError::Columns { table: table.clone(), source }),
            }
            tokio::select! {
                () = tokio::time::sleep(delays.next().unwrap_or_default()) => {}
                () = shutdown.cancelled() => return Ok(None),
            }
        };
        sources.push(Source::new(log, topic, table, &columns)?);
    }
    Ok(Some(sources))
}

fn newest(topic: &str, subject: &str) -> Result<&'static PinnedSchema, SinkError> {
    codec::newest(subject)
        .ok_or_else(|| SinkError::NoSchema { topic: topic.to_owned(), subject: subject.to_owned() })
}

async fn columns(
    client: &Client,
    database: &str,
    table: &str,
) -> Result<Vec<TableColumn>, clickhouse::error::Error> {
    client
        .query("SELECT ?fields FROM system.columns WHERE database = {database:String} AND table = {table:String} ORDER BY position")
        .param("database", database)
        .param("table", table)
        .fetch_all()
        .await
}

/// The source of one topic, with the plan that leads to `table`: the topic's own, or one made like it.
pub async fn of(
    client: &Client,
    database: &str,
    log: &Log,
    topic: &'static Topic,
    table: &str,
) -> Result<Source, SinkError> {
    let columns = columns(client, database, table)
        .await
        .map_err(|source| SinkError::Columns { table: table.to_owned(), source })?;
    Source::new(log, topic, table, &columns)
}

impl Source {
    fn new(
        log: &Log,
        topic: &'static Topic,
        table: &str,
        columns: &[TableColumn],
    ) -> Result<Self, SinkError> {
        let subject = topic.schema.as_deref().unwrap_or(&topic.name);
        let plan = Plan::new(newest(&topic.name, subject)?, table, columns)?;
        let resources = resource::all().map_err(Clone::clone)?;
        if let Some(resource) = resources.iter().find(|resource| resource.topic() == topic.name) {
            plan.answers(resource)?;
        }
        let letters = newest(DEAD_LETTERS, DEAD_LETTERS)?;
        let is_family = topic.owner == Owner::Ingest;
        Ok(Self { topic: log.name(&topic.name), local_topic: &topic.name, plan, is_family, letters })
    }

    /// Appends the row of a record, or makes a dead letter of it (I7). A mark is neither: it only says that time has
    /// passed (I4).
    pub fn convert(&self, message: &impl Message, rows: &mut Vec<u8>) -> Result<Outcome, CodecError> {
        if is_mark(message) {
            return Ok(Outcome::Nothing);
        }
        let Err(error) = self.plan.write(message, rows) else { return Ok(Outcome::Row) };
        let (topic, partition, offset) = (self.local_topic, message.partition(), message.offset());
        metrics::counter!("tidewatch_sink_undecodable_total", "topic" => topic).increment(1);
        match error {
            // The worker can't read it either, and letters it: a second letter would say the same.
            RowError::Codec(error) if self.is_family => {
                tracing::warn!(topic, partition, offset, %error, "a record can't be read; its worker keeps it as a dead letter");
                Ok(Outcome::Nothing)
            }
            error => Ok(self
                .letter(message, "undecodable", &error.to_string())?
                .map_or(Outcome::Nothing, Outcome::Letter)),
        }
    }

    /// The dead letter of a record that can't be stored; `None` of one that is a letter itself.
    ///
    /// It names no tenant, so that in the table it stands beside what the worker says of the same record and its tenant,
    /// and not in its place.
    pub fn letter(
        &self,
        message: &impl Message,
        reason: &str,
        why: &str,
    ) -> Result<Option<Letter>, CodecError> {
        let (topic, partition, offset) = (self.local_topic, message.partition(), message.offset());
        if topic == DEAD_LETTERS {
            // A letter about a letter would be read here again, and so on: it ends here, in the log.
            tracing::error!(
                topic,
                partition,
                offset,
                why,
                "a dead letter can't be stored; it stays in its topic only"
            );
            return Ok(None);
        }
        tracing::warn!(topic, partition, offset, why, "a record can't be stored; it goes to {DEAD_LETTERS}");
        let value = message.payload();
        let kept = value.filter(|value| value.len() <= KEPT);
        let letter = DeadLetter {
            topic: topic.to_owned(),
            partition,
            offset,
            append_time: message.timestamp().to_millis().unwrap_or_default(),
            tenant: None,
            event_id: None,
            operator: String::new(),
            reason: reason.to_owned(),
            message: match (value, kept) {
                (Some(value), None) => format!("{why} (its value of {} bytes is left out)", value.len()),
                _ => why.to_owned(),
            },
            record_key: message.key().map(<[u8]>::to_vec),
            record_value: kept.map(<[u8]>::to_vec),
        };
        let value = self.letters.encode(&letter)?;
        Ok(Some(Letter { key: letter.record_key, value }))
    }
}
