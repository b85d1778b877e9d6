//! Writes a batch: its rows to ClickHouse, its dead letters to Kafka, each until it is acknowledged.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};
use bytes::Bytes;
use clickhouse::Client;
use futures::future::{BoxFuture, FutureExt, try_join_all};
use rdkafka::producer::{FutureProducer, FutureRecord};
use tokio_util::sync::CancellationToken;

use super::Source;
use super::batch::{Letter, Load};
use crate::http::Readiness;
use crate::store;

/// How long a piece of rows may take to go out.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// How long ClickHouse may take to acknowledge an insert.
const END_TIMEOUT: Duration = Duration::from_secs(60);
/// Rows are sent in pieces of so many bytes.
const PIECE: usize = 1 << 20;

/// The batch was given up because the process ends. What it held is read again later.
#[derive(Debug, PartialEq, Eq)]
pub struct GivenUp;

/// Where batches go.
pub struct Writer {
    client: Client,
    producer: FutureProducer,
    dead_letters: String,
    sources: Arc<[Source]>,
    readiness: Readiness,
    shutdown: CancellationToken,
}

impl Writer {
    /// Writes the rows of `sources` through `client`, and dead letters to the topic `dead_letters`.
    pub fn new(
        client: Client,
        producer: FutureProducer,
        dead_letters: String,
        sources: Arc<[Source]>,
        readiness: Readiness,
        shutdown: CancellationToken,
    ) -> Self {
        let client = client
            // Acknowledged means written, whatever the server's default is.
            .with_setting("async_insert", "0")
            // A replay holds the months of years; the default refuses an insert into more than 100 of them, forever.
            .with_setting("max_partitions_per_insert_block", "0");
        Self { client, producer, dead_letters, sources, readiness, shutdown }
    }

    /// Returns when every table and the topic of dead letters have acknowledged all of `load`. Tries for as long as
    /// that takes; once the process is to end, a failure is final.
    pub async fn write(&self, load: Load) -> Result<(), GivenUp> {
        let mut parts: Vec<BoxFuture<'_, Result<(), GivenUp>>> = Vec::new();
        for (source, (pieces, count)) in load.tables {
            parts.push(self.write_table(&self.sources[source], pieces, count).boxed());
        }
        for letter in &load.letters {
            parts.push(self.write_letter(letter).boxed());
        }
        try_join_all(parts).await?;
        self.readiness.set(true, "rows are written");
        Ok(())
    }

    async fn write_table(&self, source: &Source, pieces: Vec<Bytes>, count: usize) -> Result<(), GivenUp> {
        let table = source.plan.table().to_owned();
        self.until_acknowledged(&table, || self.insert(source, &pieces)).await?;
        metrics::counter!("tidewatch_sink_rows_total", "table" => table.clone()).increment(count as u64);
        metrics::histogram!("tidewatch_sink_batch_rows", "table" => table).record(count as f64);
        Ok(())
    }

    async fn insert(&self, source: &Source, pieces: &[Bytes]) -> Result<(), String> {
        let started = Instant::now();
        let mut insert = self
            .client
            .insert_formatted_with(source.plan.insert())
            .with_timeouts(Some(SEND_TIMEOUT), Some(END_TIMEOUT));
        let sent = async {
            for piece in pieces {
                for start in (0..piece.len()).step_by(PIECE) {
                    insert.send(piece.slice(start..piece.len().min(start + PIECE))).await?;
                }
            }
            insert.end().await
        };
        sent.await.map_err(|error| store::describe(&error))?;
        metrics::histogram!("tidewatch_sink_insert_seconds", "table" => source.plan.table().to_owned())
            .record(started.elapsed().as_secs_f64());
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
    async fn until_acknowledged<F>(&self, to: &str, mut attempt: impl FnMut() -> F) -> Result<(), GivenUp>
    where
        F: Future<Output = Result<(), String>>,
    {
        let mut delays = backoff();
        loop {
            let Err(error) = attempt().await else { return Ok(()) };
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

/// Delays without end: 100 ms at first, doubling up to 5 s, each lengthened by a random part of itself.
pub fn backoff() -> impl Iterator<Item = Duration> + Send {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(5))
        .with_jitter()
        .without_max_times()
        .build()
}
