//! Records to Kafka, in order, acknowledged by all replicas; and whether Kafka is there.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures::future::join_all;
use rdkafka::error::KafkaError;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use tokio::sync::Notify;

use super::IngestError;
use crate::engine::id;
use crate::http::Readiness;
use crate::log::{Log, topic_check};

/// What a client is told to wait after a failure.
pub const RETRY_AFTER: Duration = Duration::from_secs(2);

/// How often Kafka is asked while it answers.
const PROBE: Duration = Duration::from_secs(5);

/// How long Kafka may take to answer the probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// The first and the longest pause between probes while Kafka does not answer.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// What records may wait for Kafka in memory, in KiB; past it requests are answered with 503.
const QUEUE_KIB: &str = "65536";

/// A record for a family's topic.
#[derive(Debug)]
pub struct Record {
    /// Its key.
    pub key: String,
    /// The murmur2 hash that chooses its partition.
    pub route: u32,
    /// Its value.
    pub value: Vec<u8>,
}

/// Where a record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
}

/// Where the records of a family go.
pub struct Destination {
    family: &'static str,
    topic: String,
    /// How many partitions the topic has, once known: fixed for its generation.
    partitions: OnceLock<u32>,
}

impl Destination {
    /// The topic of `family`.
    pub fn new(log: &Log, family: &'static str) -> Arc<Self> {
        Arc::new(Self { family, topic: log.name(family), partitions: OnceLock::new() })
    }

    /// The family.
    pub fn family(&self) -> &'static str {
        self.family
    }
}

/// The way to the families' topics.
pub struct Delivery {
    log: Log,
    producer: FutureProducer,
    destinations: Vec<Arc<Destination>>,
    readiness: Readiness,
    /// A delivery failed: time to ask Kafka.
    doubt: Notify,
}

impl Delivery {
    /// The way to `destinations`. A record not acknowledged within `timeout` has failed.
    pub fn new(
        log: &Log,
        destinations: Vec<Arc<Destination>>,
        timeout: Duration,
        readiness: Readiness,
    ) -> Result<Self, IngestError> {
        let producer = log
            .producer()
            .set("message.timeout.ms", timeout.as_millis().to_string())
            .set("queue.buffering.max.kbytes", QUEUE_KIB)
            .create()
            .map_err(IngestError::Producer)?;
        Ok(Self { log: log.clone(), producer, destinations, readiness, doubt: Notify::new() })
    }

    /// Delivers the records, in their order within each partition; `None` where Kafka did not take
    /// one. (After a time-out Kafka may hold it all the same: sent again with the same event id, it
    /// is a duplicate.)
    pub async fn deliver(&self, to: &Destination, records: Vec<Record>) -> Vec<Option<Position>> {
        let Some(&partitions) = to.partitions.get() else {
            return vec![None; records.len()];
        };
        let begun = Instant::now();
        let mut waiting = Vec::with_capacity(records.len());
        for record in &records {
            let outgoing = FutureRecord::to(&to.topic)
                .key(&record.key)
                .payload(&record.value)
                .partition(id::partition(record.route, partitions));
            match self.producer.send_result(outgoing) {
                Ok(delivery) => waiting.push(delivery),
                Err((error, _)) => {
                    // Those behind it must not overtake it.
                    self.failed(&error);
                    break;
                }
            }
        }
        let mut positions = Vec::with_capacity(records.len());
        for result in join_all(waiting).await {
            positions.push(match result {
                Ok(Ok(delivery)) => Some(Position { partition: delivery.partition, offset: delivery.offset }),
                Ok(Err((error, _))) => {
                    self.failed(&error);
                    None
                }
                // The producer has gone, with the process.
                Err(_) => None,
            });
        }
        positions.resize(records.len(), None);
        metrics::histogram!("tidewatch_ingest_delivery_seconds").record(begun.elapsed());
        positions
    }

    fn failed(&self, error: &KafkaError) {
        self.readiness.set(false, format!("Kafka did not take a record: {error}"));
        self.doubt.notify_one();
    }

    /// Asks Kafka for the topics for as long as the role runs, and says whether it is ready.
    pub async fn probe(self: Arc<Self>) {
        let mut back_off = BACK_OFF.0;
        loop {
            let delivery = self.clone();
            let found = tokio::task::spawn_blocking(move || delivery.look()).await;
            let reason = match found {
                Ok(Ok(())) => {
                    self.readiness.set(true, "Kafka answers");
                    back_off = BACK_OFF.0;
                    tokio::select! {
                        () = self.doubt.notified() => {}
                        () = tokio::time::sleep(PROBE) => {}
                    }
                    continue;
                }
                Ok(Err(reason)) => reason,
                Err(error) => format!("the probe failed: {error}"),
            };
            self.readiness.set(false, reason);
            tokio::time::sleep(back_off).await;
            back_off = (back_off * 2).min(BACK_OFF.1);
        }
    }

    /// One look at each topic. Blocks for [`PROBE_TIMEOUT`] a topic at most.
    fn look(&self) -> Result<(), String> {
        if let Some((code, reason)) = self.producer.client().fatal_error() {
            return Err(format!("Kafka's client has failed for good: {code}: {reason}; restart the process"));
        }
        if self.destinations.iter().any(|destination| destination.partitions.get().is_none()) {
            topic_check::check_blocking(&self.log).map_err(|fault| fault.to_string())?;
        }
        self.destinations.iter().try_for_each(|destination| self.look_at(destination))
    }

    fn look_at(&self, destination: &Destination) -> Result<(), String> {
        let Destination { topic, partitions, .. } = destination;
        // Asking for a topic by name may create it, so until it is known to be there all are asked for.
        let name = partitions.get().map(|_| topic.as_str());
        let metadata = self
            .producer
            .client()
            .fetch_metadata(name, PROBE_TIMEOUT)
            .map_err(|error| format!("Kafka does not answer: {error}; see kafka.brokers"))?;
        let found = metadata
            .topics()
            .iter()
            .find(|found| found.name() == topic && found.error().is_none())
            .map_or(0, |found| found.partitions().len() as u32);
        if found == 0 {
            return Err(format!("Kafka has no topic {topic}; \"tidewatch migrate\" makes it"));
        }
        let expected = *partitions.get_or_init(|| found);
        if found != expected {
            return Err(format!(
                "topic {topic} has {found} partitions and had {expected}: they are fixed for a generation of a topic"
            ));
        }
        Ok(())
    }

    /// Waits until Kafka has what it was handed, which takes no longer than a delivery may.
    pub async fn flush(&self) -> Result<(), KafkaError> {
        let producer = self.producer.clone();
        let flushed =
            tokio::task::spawn_blocking(move || producer.flush(rdkafka::util::Timeout::Never)).await;
        // It is cancelled only with the runtime; then there is nothing left to tell.
        flushed.unwrap_or(Ok(()))
    }
}
