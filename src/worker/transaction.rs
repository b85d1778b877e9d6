//! The transactional producer of a worker (I5).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};

use super::WorkerError;
use super::family::OutputRow;
use crate::log::Log;

/// After this silence the broker aborts the transaction of a worker that is gone, so that readers go on.
const TIMEOUT: Duration = Duration::from_secs(15);

/// A worker's transactions, one after the other.
pub(super) struct Transaction {
    producer: BaseProducer<Deliveries>,
    log: Log,
    is_open: bool,
}

/// The first output of a transaction that was not taken.
#[derive(Clone, Default)]
struct Deliveries {
    failure: Arc<Mutex<Option<(String, KafkaError)>>>,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, message)) = result {
            let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            failure.get_or_insert_with(|| (message.topic().to_owned(), error.clone()));
        }
    }
}

impl Transaction {
    /// A producer with a stable id: it ends what its former life left open, and fences it.
    pub fn start(log: &Log, id: &str) -> Result<Self, WorkerError> {
        let producer: BaseProducer<Deliveries> = log
            .producer()
            .set("transactional.id", log.name(id))
            .set("transaction.timeout.ms", TIMEOUT.as_millis().to_string())
            .set("message.timeout.ms", TIMEOUT.as_millis().to_string())
            .create_with_context(Deliveries::default())
            .map_err(WorkerError::kafka("creating the transactional producer"))?;
        producer.init_transactions(TIMEOUT).map_err(WorkerError::kafka("initialising transactions"))?;
        Ok(Self { producer, log: log.clone(), is_open: false })
    }

    /// Adds a row to the open transaction; opens one if there is none.
    pub fn send<R: OutputRow>(&mut self, row: &R) -> Result<(), WorkerError> {
        let topic = row.topic();
        let value = row.encode().map_err(|source| WorkerError::Encode { topic, source })?;
        self.open()?;
        let name = self.log.name(topic);
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&name).key(row.key()).payload(&value);
        // The queue holds more than a transaction's worth; where it is full, sending makes room.
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), returned)) => {
                    record = returned;
                    self.producer.poll(Duration::from_millis(10));
                    self.check_deliveries()?;
                }
                Err((source, _)) => return Err(WorkerError::Kafka { action: "sending an output", source }),
            }
        }
    }

    /// Commits the outputs and the input's offsets together.
    pub fn commit(
        &mut self,
        offsets: &TopicPartitionList,
        group: &ConsumerGroupMetadata,
    ) -> Result<(), WorkerError> {
        let started = Instant::now();
        self.open()?;
        // `commit_transaction` would flush by polling to a deadline of 100 ms; drained first, it has nothing to wait for.
        while self.producer.in_flight_count() > 0 {
            self.producer.poll(Duration::from_millis(1));
            self.check_deliveries()?;
        }
        self.check_deliveries()?;
        self.producer
            .send_offsets_to_transaction(offsets, group, TIMEOUT)
            .map_err(WorkerError::kafka("adding offsets to the transaction"))?;
        self.producer
            .commit_transaction(TIMEOUT)
            .map_err(WorkerError::kafka("committing the transaction"))?;
        self.is_open = false;
        metrics::histogram!("tidewatch_commit_seconds").record(started.elapsed().as_secs_f64());
        Ok(())
    }

    /// Ends an open transaction without its outputs. Where that fails, the next start ends it.
    pub fn abort(&mut self) {
        if self.is_open {
            self.is_open = false;
            if let Err(error) = self.producer.abort_transaction(Duration::from_secs(5)) {
                tracing::warn!(%error, "aborting the transaction; the next start will end it");
            }
        }
    }

    fn open(&mut self) -> Result<(), WorkerError> {
        if !self.is_open {
            self.producer.begin_transaction().map_err(WorkerError::kafka("beginning a transaction"))?;
            self.is_open = true;
        }
        Ok(())
    }

    fn check_deliveries(&self) -> Result<(), WorkerError> {
        let failure = self.producer.context().failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        match failure {
            None => Ok(()),
            Some((topic, error)) => Err(WorkerError::Undelivered { topic, reason: error.to_string() }),
        }
    }
}
