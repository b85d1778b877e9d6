//! The transactional producer of a worker (I5).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext, PurgeConfig};

use super::WorkerError;
use super::outbox::{Outbox, Target};
use super::output::OutputRow;
use crate::log::{Log, topics};

/// After this silence the broker aborts the transaction of a worker that is gone, so that readers go on.
const TIMEOUT: Duration = Duration::from_secs(15);
/// How long a broker may take to begin with. A worker that can't reach it looks so often whether it has to stop.
const INITIALISE: Duration = Duration::from_secs(5);

/// What a record was sent for, as its delivery report names it: the input partition from which it follows in the lower 32 bits,
/// above them what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// A row of the topic at that place of [`topics::all`].
    Row(usize),
    /// The first record of a checkpoint.
    Begin,
    /// Nobody has to know where it lies.
    Other,
}

impl Purpose {
    fn opaque(self, input: i32) -> usize {
        let purpose = match self {
            Self::Other => 0,
            Self::Begin => 1,
            Self::Row(place) => place + 2,
        };
        purpose << 32 | input as usize
    }

    fn of(opaque: usize) -> (Self, i32) {
        let purpose = match opaque >> 32 {
            0 => Self::Other,
            1 => Self::Begin,
            place => Self::Row(place - 2),
        };
        (purpose, opaque as i32)
    }
}

/// A worker's transactions, one after the other.
pub(crate) struct Transaction {
    producer: BaseProducer<Deliveries>,
    log: Log,
    /// The names of [`topics::all`] on the cluster.
    names: Vec<String>,
    is_open: bool,
    /// Copies in the open transaction.
    pub outputs: usize,
    /// Their bytes.
    pub bytes: usize,
    buffer: Vec<u8>,
}

/// Where what was written ends: by input partition, then by the place of the topic in [`topics::all`] and output partition.
pub(crate) type Ends = BTreeMap<i32, BTreeMap<(usize, i32), i64>>;

/// What the broker said of the records sent.
#[derive(Default)]
struct Deliveries {
    state: Mutex<Delivered>,
}

#[derive(Default)]
pub(super) struct Delivered {
    /// The first record that was not taken.
    failure: Option<(String, KafkaError)>,
    ends: Ends,
    /// Where the last checkpoint of each input partition begins.
    checkpoints: BTreeMap<i32, i64>,
}

impl Deliveries {
    fn state(&self) -> MutexGuard<'_, Delivered> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    /// A [`Purpose`] and its input partition.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        let (purpose, input) = Purpose::of(opaque);
        let mut state = self.state();
        match result {
            Ok(message) => match purpose {
                Purpose::Other => {}
                Purpose::Begin => drop(state.checkpoints.insert(input, message.offset())),
                Purpose::Row(place) => {
                    let ends = state.ends.entry(input).or_default();
                    let end = ends.entry((place, message.partition())).or_default();
                    *end = (*end).max(message.offset() + 1);
                }
            },
            Err((error, message)) => {
                state.failure.get_or_insert_with(|| (message.topic().to_owned(), error.clone()));
            }
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
        producer
            .init_transactions(INITIALISE)
            .map_err(WorkerError::kafka("initialising transactions at kafka.brokers"))?;
        let names = topics::all().iter().map(|topic| log.name(&topic.name)).collect();
        let log = log.clone();
        Ok(Self { producer, log, names, is_open: false, outputs: 0, bytes: 0, buffer: Vec::new() })
    }

    /// Adds a row that is no part of an [`Outbox`]; `input` is the partition that it speaks of.
    pub fn send_row<R: OutputRow>(&mut self, row: &R, input: i32) -> Result<(), WorkerError> {
        let topic = row.topic();
        let mut value = std::mem::take(&mut self.buffer);
        value.clear();
        row.encode(&mut value).map_err(|source| WorkerError::Encode { topic, source })?;
        let sent = self.send_keyed(topic, input, row.key(), &value);
        self.buffer = value;
        sent
    }

    /// Adds what the input partition `input` has to send and has not sent yet; opens a transaction if there is none.
    pub(super) fn send_outbox(
        &mut self,
        outbox: &mut Outbox,
        input: i32,
        changelog: &str,
    ) -> Result<(), WorkerError> {
        outbox.send(|target, key, value| match target {
            Target::Rows(topic) => self.send_keyed(topic, input, key, value),
            Target::Changelog { is_begin } => {
                let purpose = if is_begin { Purpose::Begin } else { Purpose::Other };
                let record = BaseRecord::with_opaque_to(changelog, purpose.opaque(input));
                self.open()?;
                send(&self.producer, record.partition(input).payload(value))
            }
        })
    }

    fn send_keyed(
        &mut self,
        topic: &'static str,
        input: i32,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), WorkerError> {
        self.open()?;
        let record = |name, purpose: Purpose| BaseRecord::with_opaque_to(name, purpose.opaque(input));
        match topics::place(topic) {
            Some(place) => {
                let record = record(&self.names[place], Purpose::Row(place));
                send(&self.producer, record.key(key).payload(value))
            }
            // A topic of a job that is none of the registry's: a benchmark's.
            None => {
                let name = self.log.name(topic);
                send(&self.producer, record(&name, Purpose::Other).key(key).payload(value))
            }
        }
    }

    /// Adds a record that is made of one of the input partition `input`; opens a transaction if there is none.
    pub fn send_copy(
        &mut self,
        (topic, partition): (&str, i32),
        key: &[u8],
        value: &[u8],
        headers: OwnedHeaders,
        input: i32,
    ) -> Result<(), WorkerError> {
        self.outputs += 1;
        self.bytes += value.len();
        self.open()?;
        let record = BaseRecord::with_opaque_to(topic, Purpose::Other.opaque(input)).partition(partition);
        send(&self.producer, record.key(key).payload(value).headers(headers))
    }

    /// Serves delivery reports; an error if a record was not taken.
    pub fn poll(&mut self, wait: Duration) -> Result<(), WorkerError> {
        poll(&self.producer, wait)
    }

    /// Whether the broker has ended this producer's life: its name is another one's by now, or it was silent for too long.
    pub fn is_fenced(&self) -> bool {
        let fatal = self.producer.client().fatal_error();
        fatal.is_some_and(|(code, _)| code == RDKafkaErrorCode::Fenced)
    }

    /// Waits until the broker has taken all that was sent.
    pub fn drain(&mut self) -> Result<(), WorkerError> {
        while self.has_in_flight() {
            self.poll(Duration::from_millis(1))?;
        }
        Ok(())
    }

    /// Whether records are on their way to the broker.
    pub fn has_in_flight(&self) -> bool {
        self.producer.in_flight_count() > 0
    }

    /// Where what followed from each input partition ends, as far as the broker has acknowledged it.
    pub fn ends<T>(&self, look: impl FnOnce(&mut Ends) -> T) -> T {
        look(&mut self.producer.context().state().ends)
    }

    /// What is known of records that were delivered, for the producer that takes this one's place.
    pub(super) fn take_delivered(&self) -> Delivered {
        std::mem::take(&mut self.producer.context().state())
    }

    /// Goes on with what another producer knew.
    pub(super) fn put_delivered(&self, delivered: Delivered) {
        *self.producer.context().state() = Delivered { failure: None, ..delivered };
    }

    /// Where the last checkpoint of an input partition begins in its changelog.
    pub(super) fn checkpoint(&self, input: i32) -> Option<i64> {
        self.producer.context().state().checkpoints.get(&input).copied()
    }

    /// Makes the input's offsets part of the transaction.
    pub fn send_offsets(
        &mut self,
        offsets: &TopicPartitionList,
        group: &ConsumerGroupMetadata,
    ) -> Result<(), WorkerError> {
        self.open()?;
        self.producer
            .send_offsets_to_transaction(offsets, group, TIMEOUT)
            .map_err(WorkerError::kafka("adding offsets to the transaction"))
    }

    /// Commits. Nothing may be in flight: `commit_transaction` would wait for it by polling to a deadline of 100 ms.
    pub fn commit(&mut self) -> Result<(), WorkerError> {
        self.producer
            .commit_transaction(TIMEOUT)
            .map_err(WorkerError::kafka("committing the transaction"))?;
        (self.is_open, self.outputs, self.bytes) = (false, 0, 0);
        Ok(())
    }

    /// As [`commit`](Self::commit), where something was sent.
    pub fn commit_if_open(&mut self) -> Result<(), WorkerError> {
        if self.is_open { self.commit() } else { Ok(()) }
    }

    /// Ends an open transaction without its outputs. Where that fails, the next start ends it.
    pub fn abort(&mut self) {
        if self.is_open {
            (self.is_open, self.outputs, self.bytes) = (false, 0, 0);
            // What the broker has not taken is of no use any more; but it has to be reported before the client lets go of it.
            self.producer.purge(PurgeConfig::default().queue().inflight());
            let started = Instant::now();
            while self.has_in_flight() && started.elapsed() < Duration::from_secs(5) {
                self.producer.poll(Duration::from_millis(10));
            }
            self.producer.context().state().failure = None;
            if let Err(error) = self.producer.abort_transaction(Duration::from_secs(5)) {
                let waited = started.elapsed();
                tracing::warn!(%error, ?waited, "aborting the transaction; the next start will end it");
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
}

fn send(
    producer: &BaseProducer<Deliveries>,
    mut record: BaseRecord<'_, [u8], [u8], usize>,
) -> Result<(), WorkerError> {
    // The queue holds more than a transaction's worth; where it is full, sending makes room.
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), returned)) => {
                record = returned;
                poll(producer, Duration::from_millis(10))?;
            }
            Err((source, _)) => return Err(WorkerError::Kafka { action: "sending an output", source }),
        }
    }
}

fn poll(producer: &BaseProducer<Deliveries>, wait: Duration) -> Result<(), WorkerError> {
    producer.poll(wait);
    match producer.context().state().failure.take() {
        None => Ok(()),
        Some((topic, error)) => Err(WorkerError::Undelivered { topic, reason: error.to_string() }),
    }
}
