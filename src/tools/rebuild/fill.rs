//! From the log into a table: the records of some offsets, as the sink would write them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clickhouse::Client;
use indicatif::ProgressBar;
use rdkafka::Message;
use rdkafka::error::KafkaError;
use tokio::sync::mpsc::{Sender, channel};

use super::RebuildError;
use crate::codec::CodecError;
use crate::log::Log;
use crate::log::replay::Replay;
use crate::sink::Source;
use crate::sink::backoff::backoff;
use crate::sink::batch::Outcome;
use crate::sink::refusal;
use crate::store;

/// Offsets by partition.
pub(super) type Offsets = BTreeMap<i32, Range<i64>>;

/// An insert holds so many bytes. Three are on their way at once.
const BATCH: usize = 16 << 20;
/// How long ClickHouse may be away.
const CLICKHOUSE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long an insert may take to go out, and to be acknowledged.
const TIMEOUTS: (Option<Duration>, Option<Duration>) =
    (Some(Duration::from_secs(30)), Some(Duration::from_secs(300)));

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Filled {
    /// Rows that were written.
    pub rows: u64,
    /// Records that have no row: the sink has made dead letters of them, or has passed them over.
    pub without_row: u64,
    /// Behind the last record of each partition that has one.
    pub behind: BTreeMap<i32, i64>,
}

/// Writes the rows of what lies at `offsets` into the table of `source`. A row that is there already changes nothing (I6).
pub(super) async fn fill(
    client: &Client,
    log: &Log,
    source: &Arc<Source>,
    offsets: Offsets,
    bar: &ProgressBar,
) -> Result<Filled, RebuildError> {
    if offsets.values().all(Range::is_empty) {
        return Ok(Filled::default());
    }
    let (sender, mut batches) = channel(1);
    let reading = {
        let (log, source, bar) = (log.clone(), source.clone(), bar.clone());
        tokio::task::spawn_blocking(move || read(&log, &source, offsets, &bar, &sender))
    };
    let client = client
        .clone()
        .with_setting("async_insert", "0")
        // Nothing is to depend on what the table remembers of other inserts.
        .with_setting("insert_deduplicate", "0")
        // The log holds the months of years; the default refuses an insert into more than 100 of them.
        .with_setting("max_partitions_per_insert_block", "0");
    let mut refused = 0;
    while let Some(batch) = batches.recv().await {
        refused += write(&client, source, batch).await?;
    }
    let topic = || source.local_topic.to_owned();
    let filled = reading.await?.map_err(|error| match error {
        ReadError::Log(source) => RebuildError::Log { topic: topic(), source },
        ReadError::Convert(source) => RebuildError::Convert { topic: topic(), source },
    })?;
    Ok(Filled { rows: filled.rows - refused, without_row: filled.without_row + refused, ..filled })
}

/// Rows on their way.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    /// Where the bytes of each end.
    ends: Vec<usize>,
}

#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Log(#[from] KafkaError),
    #[error(transparent)]
    Convert(#[from] CodecError),
}

fn read(
    log: &Log,
    source: &Source,
    offsets: Offsets,
    bar: &ProgressBar,
    batches: &Sender<Batch>,
) -> Result<Filled, ReadError> {
    let mut filled = Filled::default();
    let mut replay = Replay::start(log, source.local_topic, offsets)?;
    let total = replay.left();
    bar.set_length(total);
    bar.set_position(0);
    let mut batch = Batch::default();
    let mut records = 0_u64;
    while let Some(message) = replay.read()? {
        filled.behind.insert(message.partition(), message.offset() + 1);
        match source.convert(&message, &mut batch.bytes)? {
            Outcome::Row => {
                filled.rows += 1;
                batch.ends.push(batch.bytes.len());
            }
            // The sink has sent the letter when it met the record; a second one would say the same.
            Outcome::Letter(_) | Outcome::Nothing => filled.without_row += 1,
        }
        records += 1;
        if batch.bytes.len() >= BATCH && batches.blocking_send(std::mem::take(&mut batch)).is_err() {
            return Ok(filled); // the other side has met an error, and says so
        }
        if records.is_multiple_of(1_000) {
            bar.set_position(total - replay.left());
        }
    }
    if !batch.ends.is_empty() {
        // As above.
        let _ = batches.blocking_send(batch);
    }
    bar.set_position(total);
    Ok(filled)
}

/// Writes rows, save for those that ClickHouse refuses, which are found by halves, as the sink finds them; how many these are.
async fn write(client: &Client, source: &Source, batch: Batch) -> Result<u64, RebuildError> {
    let (bytes, ends) = (Bytes::from(batch.bytes), batch.ends);
    let ends_at = |count: usize| if count == 0 { 0 } else { ends[count - 1] };
    let whole = 0..ends.len();
    let mut unwritten = vec![whole];
    let mut refused = 0;
    while let Some(places) = unwritten.pop() {
        match insert(client, source, bytes.slice(ends_at(places.start)..ends_at(places.end))).await? {
            Inserted::All => {}
            Inserted::None if places.len() == 1 => refused += 1,
            Inserted::None => {
                let middle = places.start + places.len() / 2;
                unwritten.extend([middle..places.end, places.start..middle]);
            }
        }
    }
    Ok(refused)
}

/// What became of rows.
enum Inserted {
    All,
    /// One of them at least is at fault.
    None,
}

/// Inserts rows. Where ClickHouse is away it is tried again for a while.
async fn insert(client: &Client, source: &Source, rows: Bytes) -> Result<Inserted, RebuildError> {
    let table = source.plan.table();
    let mut delays = backoff();
    let began = Instant::now();
    loop {
        let mut insert =
            client.insert_formatted_with(source.plan.insert()).with_timeouts(TIMEOUTS.0, TIMEOUTS.1);
        let sent = async {
            insert.send(rows.clone()).await?;
            insert.end().await
        };
        match sent.await {
            Ok(()) => return Ok(Inserted::All),
            Err(error) if refusal::is_of_data(&error) => return Ok(Inserted::None),
            Err(error) if store::is_away(&error) && began.elapsed() < CLICKHOUSE_TIMEOUT => {
                tokio::time::sleep(delays.next().unwrap_or_default()).await;
            }
            Err(error) => {
                let what = format!("write rows of the topic {} into table {table}", source.local_topic);
                return Err(RebuildError::of_shadow(table, what, error));
            }
        }
    }
}
