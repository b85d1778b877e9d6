//! Events in, over HTTP and through Kafka: read, validate, clean, put on the log, and only then answer.
//!
//! `body` reads requests, `fields` checks values, `sanitise` cleans texts, `civic` and `interactions` turn their families' JSON
//! into events, `gate` takes items one by one or in batches and answers, `delivery` hands records to Kafka, `intake` copies what
//! Kafka clients have written. A further family is one more file beside `civic`.

pub mod body;
pub(crate) mod civic;
mod delivery;
pub(crate) mod fields;
pub mod gate;
pub mod intake;
pub mod interactions;
mod sanitise;

use std::sync::Arc;

use rdkafka::error::KafkaError;
use tokio_util::task::AbortOnDropHandle;
use utoipa_axum::router::OpenApiRouter;

use self::delivery::{Delivery, Destination};
use self::gate::Gate;
use self::intake::Intake;
use self::interactions::Door;
use self::interactions::privacy::Privacy;
use crate::config::{Config, ProcessConfig};
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

/// The role `ingest`.
pub struct Ingest {
    civic: Gate,
    interactions: Door,
    delivery: Arc<Delivery>,
    probe: AbortOnDropHandle<()>,
    keys: ApiKeys,
    privacy: Arc<Privacy>,
}

impl Ingest {
    /// Starts the role on the current tokio runtime. It returns at once; `readiness` is true while
    /// Kafka answers and the topics are there, and requests before that are answered with 503.
    pub fn start(config: &Config, log: &Log, readiness: Readiness) -> Result<Self, IngestError> {
        let families = [civic::TOPIC, interactions::TOPIC];
        let destinations = families.map(|family| Destination::new(log, family));
        let timeout = config.ingest.delivery_timeout;
        let delivery = Arc::new(Delivery::new(log, destinations.to_vec(), timeout, readiness)?);
        let keys = ApiKeys::new(&config.api_keys);
        let gate = |destination: Arc<Destination>| {
            let family = destination.family();
            let schema = crate::codec::newest(family).ok_or(IngestError::NoSchema(family))?;
            Ok::<_, IngestError>(Gate::new(keys.clone(), delivery.clone(), destination, schema))
        };
        let [civic, interactions] = destinations.map(gate);
        if config.ingest.salt.is_none() {
            tracing::warn!("ingest.salt is not set: hashes of users hold for this process alone");
        }
        let privacy = Arc::new(interactions::rules(&config.ingest).map_err(IngestError::NoSalt)?);
        let interactions = Door::new(interactions?, privacy.clone());
        let probe = AbortOnDropHandle::new(tokio::spawn(delivery.clone().probe()));
        Ok(Self { civic: civic?, interactions, delivery, probe, keys, privacy })
    }

    /// Its routes: `POST /v1/reports`, `/v1/issues/{id}/status`, `/v1/civic` and `/v1/interactions`.
    pub fn router(&self) -> OpenApiRouter {
        let civic = civic::router().with_state(self.civic.clone());
        civic.merge(interactions::router().with_state(self.interactions.clone()))
    }

    /// What copies the intake topic, by the same keys and rules.
    pub fn intake(&self, log: &Log, process: &ProcessConfig) -> Result<Intake, IngestError> {
        Intake::new(log, process, self.keys.clone(), self.privacy.clone())
    }

    /// Ends the role, once the server has ended: waits until Kafka has what it was handed.
    pub async fn stop(self) -> Result<(), IngestError> {
        self.probe.abort();
        self.delivery.flush().await.map_err(IngestError::Flush)
    }
}

#[cfg(test)]
mod tests;
