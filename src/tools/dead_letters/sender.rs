//! Appends records to the log again, and knows of each whether it is there.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::util::Timeout;

use super::redrive::Redrive;
use super::unfolded::Position;
use crate::log::{Log, redriven};

/// How long Kafka may take for a record, in milliseconds.
const DELIVERY_TIMEOUT: &str = "30000";

/// What has become of records.
#[derive(Debug)]
pub(super) struct Sent {
    /// How many Kafka holds.
    pub appended: usize,
    /// Those that it did not take, and why. After a time-out it may hold them all the same.
    pub failed: Vec<(Position, KafkaError)>,
    /// How many were not tried any more.
    pub left: usize,
}

/// Appends the records in their order. After a failure no more are tried, and of what is under way nothing gets ahead of a
/// record of its partition that Kafka has refused. (It may, of one that has timed out, if Kafka is back just then.)
pub(super) fn send(log: &Log, records: &[Redrive]) -> KafkaResult<Sent> {
    let producer: BaseProducer<Deliveries> = log
        .producer()
        .set("enable.gapless.guarantee", "true")
        .set("message.timeout.ms", DELIVERY_TIMEOUT)
        .create_with_context(Deliveries::default())?;
    let mut rest = records.iter().enumerate();
    let mut next = rest.next();
    while let Some((index, record)) = next.filter(|_| producer.context().outcomes().failed.is_empty()) {
        match append(&producer, log, record, index) {
            Ok(()) => next = rest.next(),
            Err(KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) => {
                producer.poll(Duration::from_millis(100));
            }
            Err(error) => {
                producer.context().outcomes().failed.push((index, error));
                next = rest.next();
            }
        }
        producer.poll(Duration::ZERO);
    }
    // Each has its outcome when its time is over at the latest.
    producer.flush(Timeout::Never)?;
    let mut outcomes = producer.context().outcomes();
    outcomes.failed.sort_unstable_by_key(|(index, _)| *index);
    let failed = outcomes.failed.drain(..).map(|(index, error)| (records[index].from.clone(), error));
    let failed: Vec<_> = failed.collect();
    Ok(Sent { appended: outcomes.appended, left: records.len() - outcomes.appended - failed.len(), failed })
}

fn append(producer: &BaseProducer<Deliveries>, log: &Log, record: &Redrive, index: usize) -> KafkaResult<()> {
    let (topic, from) = (log.name(&record.from.topic), record.from.to_string());
    let headers = redriven::headers(&from, &record.operator);
    let mut outgoing = BaseRecord::<[u8], [u8], usize>::with_opaque_to(&topic, index)
        .partition(record.partition)
        .payload(&record.value)
        .headers(headers);
    outgoing.key = record.key.as_deref();
    producer.send(outgoing).map_err(|(error, _)| error)
}

#[derive(Default)]
struct Deliveries {
    outcomes: Mutex<Outcomes>,
}

#[derive(Default)]
struct Outcomes {
    appended: usize,
    /// By their place among the records.
    failed: Vec<(usize, KafkaError)>,
}

impl Deliveries {
    fn outcomes(&self) -> MutexGuard<'_, Outcomes> {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, index: usize) {
        match result {
            Ok(_) => self.outcomes().appended += 1,
            Err((error, _)) => self.outcomes().failed.push((index, error.clone())),
        }
    }
}
