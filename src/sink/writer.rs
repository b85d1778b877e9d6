//! Writes a batch: its rows to ClickHouse, its dead letters to Kafka, each until it is acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clickhouse::Client;
use futures::future::{BoxFuture, FutureExt, try_join_all};
use rdkafka::Timestamp;
use rdkafka::message::OwnedMessage;
use rdkafka::producer::{FutureProducer, FutureRecord};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::backoff::backoff;
use super::batch::{Letter, Load, Rows};
use super::fail_point::FailPoint;
use super::sources::DEAD_LETTERS;
use super::{Source, refusal};
use crate::http::Readiness;
use crate::log::{Log, replay};
use crate::store;

/// How long a piece of rows may take to go out.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// How long ClickHouse may take to acknowledge an insert.
const END_TIMEOUT: Duration = Duration::from_secs(60);
/// So many refused rows are read again at once.
const LETTERS: usize = 100;
/// Rows are sent in pieces of so many bytes.
const PIECE: usize = 1 << 20;

/// The batch was given up because the process ends. What it held is read again later.
#[derive(Debug, PartialEq, Eq)]
pub struct GivenUp;

/// What came of an insert that ClickHouse has answered.
enum Inserted {
    /// Its rows are written.
    All,
    /// None of them is, because of one of them; why.
    None(String),
}

/// A record that retention has taken before its letter could be written: what is left is where it lay.
fn vanished(topic: &str, partition: i32, offset: i64) -> OwnedMessage {
    OwnedMessage::new(None, None, topic.to_owned(), Timestamp::NotAvailable, partition, offset, None)
}

/// Where batches go.
pub struct Writer {
    client: Client,
    log: Log,
    producer: FutureProducer,
    dead_letters: String,
    sources: Arc<[Source]>,
    readiness: Readiness,
    shutdown: CancellationToken,
}

impl Writer {
    /// Writes the rows of `sources` through `client`, and dead letters to their topic of `log`.
    pub fn new(
        client: Client,
        producer: FutureProducer,
        log: &Log,
        sources: Arc<[Source]>,
        readiness: Readiness,
        shutdown: CancellationToken,
    ) -> Self {
        let client = client
            // Acknowledged means written, whatever the server's default is.
            .with_setting("async_insert", "0")
            // A replay holds the months of years; the default refuses an insert into more than 100 of them, forever.
            .with_setting("max_partitions_per_insert_block", "0")
            // One insert is one block, refused or written (in each of its partitions) as a whole, and the same each time:
            // by block goes what its token names.
            .with_setting("max_insert_block_size", "1048449")
            .with_setting("min_insert_block_size_rows", "1048449")
            .with_setting("min_insert_block_size_bytes", "0")
            .with_setting("insert_deduplicate", "1");
        let (log, dead_letters) = (log.clone(), log.name(DEAD_LETTERS));
        Self { client, log, producer, dead_letters, sources, readiness, shutdown }
    }

    /// Returns when every table and the topic of dead letters have acknowledged all of `load`. Tries for as long as
    /// that takes; once the process is to end, a failure is final.
    pub async fn write(&self, load: Load) -> Result<(), GivenUp> {
        let mut parts: Vec<BoxFuture<'_, Result<(), GivenUp>>> = Vec::new();
        for (source, rows) in &load.tables {
            parts.push(self.write_table(&self.sources[*source], rows).boxed());
        }
        for letter in &load.letters {
            parts.push(self.write_letter(letter).boxed());
        }
        try_join_all(parts).await?;
        FailPoint::Acknowledged.reach().await;
        self.readiness.set(true, "rows are written");
        Ok(())
    }

    /// Writes the rows of a table. Where ClickHouse refuses some of them, these are found by halves, and go to the dead
    /// letters; the others are written.
    async fn write_table(&self, source: &Source, rows: &Rows) -> Result<(), GivenUp> {
        let table = source.plan.table();
        // Of this batch alone: what is read again after a crash is another batch, and harmless by id and version (I6).
        let batch = Uuid::now_v7();
        let all = 0..rows.count();
        let mut unwritten = vec![all];
        let mut refused = Vec::new();
        while let Some(places) = unwritten.pop() {
            let token = format!("{batch}/{}-{}", places.start, places.end);
            let insert = || self.insert(source, rows, places.clone(), &token);
            match self.until_acknowledged(table, insert).await? {
                Inserted::All => {
                    let bytes: usize = rows.bytes(places.clone()).map(<[u8]>::len).sum();
                    metrics::counter!("tidewatch_sink_rows_total", "table" => table.to_owned())
                        .increment(places.len() as u64);
                    metrics::histogram!("tidewatch_sink_batch_rows", "table" => table.to_owned())
                        .record(places.len() as f64);
                    metrics::histogram!("tidewatch_sink_batch_bytes", "table" => table.to_owned())
                        .record(bytes as f64);
                }
                Inserted::None(why) if places.len() == 1 => refused.push((places.start, why)),
                Inserted::None(_) => {
                    let middle = places.start + places.len() / 2;
                    unwritten.extend([middle..places.end, places.start..middle]);
                }
            }
        }
        for refused in refused.chunks(LETTERS) {
            self.give_up_rows(source, rows, refused).await?;
        }
        Ok(())
    }

    async fn insert(
        &self,
        source: &Source,
        rows: &Rows,
        places: Range<usize>,
        token: &str,
    ) -> Result<Inserted, String> {
        let started = Instant::now();
        let mut insert = self
            .client
            .insert_formatted_with(source.plan.insert())
            .with_setting("insert_deduplication_token", token)
            .with_timeouts(Some(SEND_TIMEOUT), Some(END_TIMEOUT));
        let sent = async {
            for bytes in rows.bytes(places) {
                for piece in bytes.chunks(PIECE) {
                    insert.send(Bytes::copy_from_slice(piece)).await?;
                }
            }
            FailPoint::Sent.reach().await;
            insert.end().await
        };
        match sent.await {
            Ok(()) => {}
            Err(error) if refusal::is_of_data(&error) => return Ok(Inserted::None(store::describe(&error))),
            Err(error) => return Err(store::describe(&error)),
        }
        metrics::histogram!("tidewatch_sink_insert_seconds", "table" => source.plan.table().to_owned())
            .record(started.elapsed().as_secs_f64());
        FailPoint::Inserted.reach().await;
        Ok(Inserted::All)
    }

    /// Writes dead letters of rows that are refused, each with its record as it lies in the log.
    async fn give_up_rows(
        &self,
        source: &Source,
        rows: &Rows,
        refused: &[(usize, String)],
    ) -> Result<(), GivenUp> {
        let table = source.plan.table();
        metrics::counter!("tidewatch_sink_refused_rows_total", "table" => table.to_owned())
            .increment(refused.len() as u64);
        let mut offsets = BTreeMap::<i32, BTreeSet<i64>>::new();
        for (partition, offset) in refused.iter().filter_map(|(place, _)| rows.record(*place)) {
            offsets.entry(partition).or_default().insert(offset);
        }
        let letters = self
            .until_acknowledged(source.local_topic, || async {
                let (log, topic, offsets) = (self.log.clone(), source.local_topic, offsets.clone());
                let read = tokio::task::spawn_blocking(move || replay::records_at(&log, topic, &offsets));
                let mut read =
                    read.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
                let mut letters = Vec::new();
                for (place, why) in refused {
                    let Some((partition, offset)) = rows.record(*place) else { continue };
                    let record = read.get_mut(&partition).and_then(|read| read.records.remove(&offset));
                    let record = record.unwrap_or_else(|| vanished(source.local_topic, partition, offset));
                    let letter = source.letter(&record, "refused", &format!("table {table}: {why}"));
                    letters.extend(letter.map_err(|error| error.to_string())?);
                }
                Ok(letters)
            })
            .await?;
        try_join_all(letters.iter().map(|letter| self.write_letter(letter))).await?;
        Ok(())
    }

    async fn write_letter(&self, letter: &Letter) -> Result<(), GivenUp> {
        self.until_acknowledged(&self.dead_letters, || async {
            let mut record = FutureRecord::to(&self.dead_letters).payload(&letter.value);
            if let Some(key) = &letter.key {
                record = record.key(key);
            }
            self.producer.send(record, SEND_TIMEOUT).await.map_err(|(error, _)| error.to_string())?;
            Ok(())
        })
        .await
    }

    /// Tries with exponential back-off and jitter until `attempt` succeeds or the process is to end.
    async fn until_acknowledged<T, F>(&self, to: &str, mut attempt: impl FnMut() -> F) -> Result<T, GivenUp>
    where
        F: Future<Output = Result<T, String>>,
    {
        let mut delays = backoff();
        loop {
            let error = match attempt().await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let delay = delays.next().unwrap_or_default();
            tracing::error!(to, error, retry_in = ?delay, "a batch was not acknowledged");
            metrics::counter!("tidewatch_sink_retries_total", "to" => to.to_owned()).increment(1);
            self.readiness.set(false, format!("{to}: {error}"));
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = self.shutdown.cancelled() => return Err(GivenUp),
            }
        }
    }
}
