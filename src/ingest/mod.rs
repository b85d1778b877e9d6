//! Events in, over HTTP: read, validate, put on the log, and only then answer.
//!
//! `body` reads requests, `fields` checks values, `civic` turns the family's JSON into its
//! events, `gate` takes items one by one or in batches and answers, `delivery` hands records to
//! Kafka. A further family is one more file beside `civic`.

pub(crate) mod body;
pub(crate) mod civic;
mod delivery;
pub(crate) mod fields;
pub(crate) mod gate;

use std::sync::Arc;

use rdkafka::error::KafkaError;
use tokio_util::task::AbortOnDropHandle;
use utoipa_axum::router::OpenApiRouter;

use self::delivery::Delivery;
use self::gate::Gate;
use crate::config::Config;
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
    /// Not everything that was handed to Kafka's client reached Kafka. None of it was acknowledged.
    #[error("ingest ended with records that Kafka did not take: {0}; their senders were told")]
    Flush(#[source] KafkaError),
}

/// The role `ingest`.
pub struct Ingest {
    gate: Gate,
    delivery: Arc<Delivery>,
    probe: AbortOnDropHandle<()>,
}

impl Ingest {
    /// Starts the role on the current tokio runtime. It returns at once; `readiness` is true while
    /// Kafka answers and the topic is there, and requests before that are answered with 503.
    pub fn start(config: &Config, log: &Log, readiness: Readiness) -> Result<Self, IngestError> {
        let delivery = Arc::new(Delivery::new(log, civic::TOPIC, config.ingest.delivery_timeout, readiness)?);
        let schema = crate::codec::newest(civic::TOPIC).ok_or(IngestError::NoSchema(civic::TOPIC))?;
        let gate = Gate::new(ApiKeys::new(&config.api_keys), delivery.clone(), schema);
        let probe = AbortOnDropHandle::new(tokio::spawn(delivery.clone().probe()));
        Ok(Self { gate, delivery, probe })
    }

    /// Its routes: `POST /v1/reports`, `/v1/issues/{id}/status` and `/v1/civic`.
    pub fn router(&self) -> OpenApiRouter {
        civic::router().with_state(self.gate.clone())
    }

    /// Ends the role, once the server has ended: waits until Kafka has what it was handed.
    pub async fn stop(self) -> Result<(), IngestError> {
        self.probe.abort();
        self.delivery.flush().await.map_err(IngestError::Flush)
    }
}

#[cfg(test)]
mod tests;
