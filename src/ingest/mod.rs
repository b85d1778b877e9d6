//! Events in, over HTTP and through Kafka: read, validate, clean, put on the log, and only then answer.
//!
//! A family says what comes in of it (`source`). `body` reads requests, `fields` checks values, `sanitise` cleans texts,
//! `handler` takes items one by one or in batches and answers, `delivery` hands records to Kafka, `intake` copies what Kafka
//! clients have written.

pub mod body;
mod delivery;
pub(crate) mod fields;
pub mod handler;
pub mod intake;
pub mod item;
pub(crate) mod sanitise;
mod source;

use std::sync::Arc;

use rdkafka::error::KafkaError;
use tokio_util::task::AbortOnDropHandle;

use self::delivery::{Delivery, Destination};
use self::handler::Handler;
use self::intake::Intake;
pub use self::source::Source;
use crate::codec;
use crate::config::{Config, IngestConfig, ProcessConfig, Secret};
use crate::http::{ApiKeys, Readiness};
use crate::log::Log;

/// Why ingest could not start or stop.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// Kafka's client can't be made.
    #[error("ingest can't make its Kafka producer: {0}; see the settings under kafka")]
    Producer(#[source] KafkaError),
    /// The family has no schema to write with.
    #[error("schemas/avro has no schema of the subject {0}")]
    NoSchema(&'static str),
    /// There is no salt, and none can be made.
    #[error("ingest can't make a salt to hash users with: {0}; set ingest.salt")]
    NoSalt(#[source] getrandom::Error),
    /// Not everything that was handed to Kafka's client reached Kafka. None of it was acknowledged.
    #[error("ingest ended with records that Kafka did not take: {0}; their senders were told")]
    Flush(#[source] KafkaError),
}

/// The role `ingest`, for any number of families.
pub struct Ingest {
    delivery: Arc<Delivery>,
    destinations: Vec<Arc<Destination>>,
    probe: AbortOnDropHandle<()>,
    keys: ApiKeys,
    config: IngestConfig,
    salt: Secret,
}

impl Ingest {
    /// Starts the role for these families on the current tokio runtime. It returns at once; `readiness` is true while
    /// Kafka answers and the topics are there, and requests before that are answered with 503.
    pub fn start(
        config: &Config,
        log: &Log,
        families: &[&'static str],
        readiness: Readiness,
    ) -> Result<Self, IngestError> {
        let destinations: Vec<_> = families.iter().map(|family| Destination::new(log, family)).collect();
        let timeout = config.ingest.delivery_timeout;
        let delivery = Arc::new(Delivery::new(log, destinations.clone(), timeout, readiness)?);
        let keys = ApiKeys::new(&config.api_keys);
        let config = config.ingest.clone();
        let salt = config.salt.clone().map_or_else(new_salt, Ok).map_err(IngestError::NoSalt)?;
        let probe = AbortOnDropHandle::new(tokio::spawn(delivery.clone().probe()));
        Ok(Self { delivery, destinations, probe, keys, config, salt })
    }

    /// What takes the requests of a family, of which the role was started, and what copies its intake topic, by the same keys
    /// and rules.
    pub fn family<S: Source>(
        &self,
        log: &Log,
        process: &ProcessConfig,
    ) -> Result<(Handler<S>, Intake<S>), IngestError> {
        let schema = codec::newest(S::NAME).ok_or(IngestError::NoSchema(S::NAME))?;
        let known = self.destinations.iter().find(|destination| destination.family() == S::NAME);
        let destination = known.cloned().unwrap_or_else(|| Destination::new(log, S::NAME));
        let rules = Arc::new(S::rules(&self.config, &self.salt));
        let (keys, delivery) = (self.keys.clone(), Arc::clone(&self.delivery));
        let handler = Handler::new(keys.clone(), delivery, destination, schema, Arc::clone(&rules));
        Ok((handler, Intake::new(log, process, keys, rules, schema)))
    }

    /// Ends the role, once the server has ended: waits until Kafka has what it was handed.
    pub async fn stop(self) -> Result<(), IngestError> {
        self.probe.abort();
        self.delivery.flush().await.map_err(IngestError::Flush)
    }
}

/// A random salt, where none is set: hashes of users are the same only for as long as the process lives.
fn new_salt() -> Result<Secret, getrandom::Error> {
    tracing::warn!("ingest.salt is not set: hashes of users hold for this process alone");
    let mut salt = [0; 32];
    getrandom::fill(&mut salt)?;
    Ok(Secret::from(salt.map(|byte| format!("{byte:02x}")).concat().as_str()))
}
