//! Reads the topic `settings`, and appends to it.

use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::topic_partition_list::Offset;

use super::document::{Json, Problem, SettingsKind};
use super::history::{History, SettingsChange};
use crate::codec;
use crate::codec::CodecError;
use crate::log::Log;
use crate::log::lag::Quiet;

/// The topic, and the subject of its values.
const TOPIC: &str = "settings";
/// How long the broker may take to answer.
const BROKER_TIMEOUT: Duration = Duration::from_secs(10);

/// Why settings can't be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A client call failed.
    #[error("{action} failed: {source}; is Kafka reachable at kafka.brokers?")]
    Kafka {
        /// What was being done.
        action: &'static str,
        /// What Kafka said.
        source: KafkaError,
    },
    /// A record of the topic can't be read.
    #[error("{TOPIC}/0 at offset {offset}: {source}")]
    Unreadable {
        /// Its offset.
        offset: i64,
        /// The cause.
        source: CodecError,
    },
    /// A change can't be written: a fault of the program.
    #[error("a change of settings can't be written: {0}")]
    Encode(#[source] CodecError),
    /// A version is named that is not there.
    #[error(
        "version {version} of the settings is in force, but the topic {TOPIC} ends at {end}: it has been made anew; bring it \
         back, or begin anew under another kafka.prefix"
    )]
    Missing {
        /// The version.
        version: i64,
        /// The end of the topic.
        end: i64,
    },
    /// What was set is not possible to this program.
    #[error(
        "version {version} of the settings of {family} can't be followed: {problem}; run the version of the program that set it"
    )]
    Impossible {
        /// The version.
        version: i64,
        /// The family.
        family: &'static str,
        /// What is wrong.
        problem: Problem,
    },
    /// A change that is not allowed.
    #[error("{0}")]
    Refused(Problem),
    /// A change of something that has been changed since.
    #[error("version {found} is in force, not {base}: read it, and change that")]
    Conflict {
        /// The version that was to be replaced.
        base: i64,
        /// The version in force.
        found: i64,
    },
}

fn kafka(action: &'static str) -> impl FnOnce(KafkaError) -> SettingsError {
    move |source| SettingsError::Kafka { action, source }
}

/// Follows the topic.
pub struct Reader {
    consumer: BaseConsumer<Quiet>,
    topic: String,
    history: History,
    /// The offset behind the last record read.
    end: i64,
}

impl Reader {
    /// Reads all that is there.
    pub fn start(log: &Log) -> Result<Self, SettingsError> {
        let consumer: BaseConsumer<Quiet> = log
            .consumer("settings")
            .create_with_context(Quiet)
            .map_err(kafka("creating the consumer of settings"))?;
        let topic = log.name(TOPIC);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&topic, 0, Offset::Beginning).map_err(kafka("reading settings"))?;
        let mut reader = Self { consumer, topic, history: History::default(), end: 0 };
        // First, so that the client knows the leader: else it would wait for half a second to ask again.
        reader.find_end()?;
        reader.consumer.assign(&list).map_err(kafka("reading settings"))?;
        reader.read_to_end()?;
        Ok(reader)
    }

    /// What has been read.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Takes in what has come, without waiting.
    pub fn poll(&mut self) -> Result<(), SettingsError> {
        while self.read(Duration::ZERO)? {}
        Ok(())
    }

    /// Reads on until a version has been read that somebody has named.
    pub fn reach(&mut self, version: i64) -> Result<(), SettingsError> {
        if self.end <= version && version > 0 {
            self.read_to_end()?;
            if self.end <= version {
                return Err(SettingsError::Missing { version, end: self.end });
            }
        }
        Ok(())
    }

    fn find_end(&self) -> Result<i64, SettingsError> {
        let deadline = Instant::now() + BROKER_TIMEOUT;
        loop {
            match self.consumer.fetch_watermarks(&self.topic, 0, BROKER_TIMEOUT) {
                Ok((_, end)) => return Ok(end),
                // A topic that was just created, or whose leader moves.
                Err(KafkaError::MetadataFetch(
                    RDKafkaErrorCode::NotLeaderForPartition | RDKafkaErrorCode::LeaderNotAvailable,
                )) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
                Err(error) => return Err(kafka("fetching the end of settings")(error)),
            }
        }
    }

    /// Reads on to what is the end by now.
    pub fn read_to_end(&mut self) -> Result<(), SettingsError> {
        let deadline = Instant::now() + BROKER_TIMEOUT;
        let end = self.find_end()?;
        while self.end < end {
            if !self.read(Duration::from_millis(50))? && Instant::now() > deadline {
                let source = KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut);
                return Err(SettingsError::Kafka { action: "reading settings", source });
            }
        }
        Ok(())
    }

    fn read(&mut self, wait: Duration) -> Result<bool, SettingsError> {
        let message = match self.consumer.poll(wait) {
            None => return Ok(false),
            Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                return Err(kafka("reading settings")(KafkaError::MessageConsumptionFatal(code)));
            }
            Some(Err(error)) => {
                // The client reconnects by itself.
                tracing::warn!(%error, "reading settings");
                return Ok(false);
            }
            Some(Ok(message)) => message,
        };
        let (offset, at) = (message.offset(), message.timestamp().to_millis().unwrap_or_default());
        if offset < self.end {
            return Err(SettingsError::Missing { version: self.end - 1, end: offset });
        }
        let change: SettingsChange = match codec::decode(TOPIC, message.payload()) {
            Ok(change) => change,
            // A stray record, not one of a newer program.
            Err(error @ (CodecError::Missing | CodecError::NotFramed { .. })) => {
                tracing::warn!(version = offset, %error, "a record of settings is void");
                self.end = offset + 1;
                return Ok(true);
            }
            Err(source) => return Err(SettingsError::Unreadable { offset, source }),
        };
        let (family, tenant) = (change.family.clone(), change.tenant.clone());
        if self.history.add(offset, at, change) {
            tracing::info!(version = offset, family, tenant, "settings have changed");
        } else {
            tracing::info!(
                version = offset,
                family,
                tenant,
                "a change of settings is void: another one came before it"
            );
        }
        self.end = offset + 1;
        Ok(true)
    }
}

/// Makes sure that the defaults of every family are on record, before anything else (I4).
pub fn create(log: &Log, kinds: &[SettingsKind]) -> Result<(), SettingsError> {
    let mut reader = Reader::start(log)?;
    for family in kinds {
        if reader.history.entry(family.name, None, i64::MAX).is_none() {
            match send(log, &mut reader, family, None, Some(0), &(family.defaults)()) {
                // Another process that does so at the same time writes the same.
                Ok(_) | Err(SettingsError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Appends a change, and waits until it has taken effect; its version. `base` is the version that it is meant to replace,
/// 0 for none.
pub fn append(
    log: &Log,
    family: &SettingsKind,
    tenant: Option<&str>,
    base: Option<i64>,
    document: &Json,
) -> Result<i64, SettingsError> {
    let mut reader = Reader::start(log)?;
    reader.history.check(family, tenant, document).map_err(SettingsError::Refused)?;
    let found = reader.history.entry(family.name, tenant, i64::MAX).map_or(0, |entry| entry.version);
    if let Some(base) = base.filter(|base| *base != found) {
        return Err(SettingsError::Conflict { base, found });
    }
    send(log, &mut reader, family, tenant, base, document)
}

fn send(
    log: &Log,
    reader: &mut Reader,
    family: &SettingsKind,
    tenant: Option<&str>,
    base: Option<i64>,
    document: &Json,
) -> Result<i64, SettingsError> {
    let (name, tenant) = (family.name, tenant.map(str::to_owned));
    let key = tenant.as_ref().map_or_else(|| name.to_owned(), |tenant| format!("{tenant}/{name}"));
    let document = serde_json::Value::Object(document.clone()).to_string();
    let change = SettingsChange { family: name.to_owned(), tenant, base, document };
    let schema =
        codec::newest(TOPIC).ok_or(SettingsError::Encode(CodecError::NoSchema { subject: TOPIC }))?;
    let value = schema.encode(&change).map_err(SettingsError::Encode)?;
    let producer: BaseProducer<Delivery> = log
        .producer()
        .create_with_context(Delivery::default())
        .map_err(kafka("creating the producer of settings"))?;
    let record = BaseRecord::<[u8], [u8]>::to(&reader.topic).partition(0).key(key.as_bytes()).payload(&value);
    producer.send(record).map_err(|(error, _)| kafka("appending settings")(error))?;
    producer.flush(BROKER_TIMEOUT).map_err(kafka("appending settings"))?;
    let delivered =
        producer.context().offset.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    let version = match delivered {
        Some(Ok(version)) => version,
        Some(Err(error)) => return Err(kafka("appending settings")(error)),
        None => {
            return Err(kafka("appending settings")(KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut)));
        }
    };
    reader.reach(version)?;
    let found =
        reader.history.entry(name, change.tenant.as_deref(), version).map_or(0, |entry| entry.version);
    if found == version {
        return Ok(version);
    }
    Err(SettingsError::Conflict { base: base.unwrap_or_default(), found })
}

/// Where the record was appended.
#[derive(Default)]
struct Delivery {
    offset: std::sync::Mutex<Option<Result<i64, KafkaError>>>,
}

impl rdkafka::ClientContext for Delivery {}

impl ProducerContext for Delivery {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let result = match result {
            Ok(message) => Ok(message.offset()),
            Err((error, _)) => Err(error.clone()),
        };
        *self.offset.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(result);
    }
}
