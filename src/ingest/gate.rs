//! From a request to its answer: who asks, which items are fit, what Kafka says of them.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRef, FromRequest, FromRequestParts, Request};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::body::{self, Form, Items, Shared};
use super::delivery::{Delivery, Destination, Position, RETRY_AFTER, Record};
use super::fields;
use crate::codec::PinnedSchema;
use crate::event::Millis;
use crate::http::{ApiError, ApiKeys, CanIngest, JsonBytes, NoParameters};
use crate::log::LogPosition;

/// Names the last record of a request in each partition, so that a read can wait for them.
const LOG_POSITION: HeaderName = HeaderName::from_static("x-log-position");

/// The state of the routes of one family.
#[derive(Clone)]
pub struct Gate {
    keys: ApiKeys,
    delivery: Arc<Delivery>,
    destination: Arc<Destination>,
    schema: &'static PinnedSchema,
}

impl FromRef<Gate> for ApiKeys {
    fn from_ref(gate: &Gate) -> Self {
        gate.keys.clone()
    }
}

/// An item of a request, yet to be read.
pub struct Item<'a> {
    /// Whose it is.
    pub tenant: &'a str,
    /// When it arrives.
    pub arrival: Arrival,
    /// Makes the id of an event that has none of its producer's.
    pub new_id: &'a dyn Fn() -> String,
    /// Where it stands in the body: `events[3]`, or nothing where it is the body.
    pub path: &'a str,
    /// Itself.
    pub json: &'a RawValue,
    /// What its batch says of all items.
    pub shared: Shared<'a>,
}

/// When an item arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Now: an event without a time of its own happened then, and none may lie far ahead.
    At(Millis),
    /// The moment it happens, as in a file of the past: an event has to say when.
    AsItHappens,
}

/// An item that is fit for the log.
#[derive(Debug)]
pub struct Submission<E, R> {
    /// The event.
    pub event: E,
    /// Its Kafka key.
    pub key: String,
    /// The murmur2 hash that chooses its partition.
    pub route: u32,
    /// What the answer says of it.
    pub receipt: R,
}

/// An accepted item in the answer to a batch.
#[derive(Serialize, ToSchema)]
struct Accepted<R> {
    index: usize,
    #[serde(flatten)]
    receipt: R,
}

/// A refused item in the answer to a batch.
#[derive(Serialize, ToSchema)]
struct Rejected {
    index: usize,
    error: ApiError,
}

/// The answer to one item.
#[derive(Serialize, ToSchema)]
pub struct AnswerToOne<R> {
    #[serde(flatten)]
    receipt: R,
    /// The header `X-Log-Position`.
    position: String,
}

/// The answer to a batch; each index is in one of the lists.
#[derive(Serialize, ToSchema)]
pub struct AnswerToBatch<R> {
    accepted: Vec<Accepted<R>>,
    rejected: Vec<Rejected>,
    /// Fit, but not delivered: to be sent again, with the same ids.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failed: Vec<usize>,
}

impl Gate {
    /// The gate of a family: who may pass, where to, and written how.
    pub fn new(
        keys: ApiKeys,
        delivery: Arc<Delivery>,
        destination: Arc<Destination>,
        schema: &'static PinnedSchema,
    ) -> Self {
        Self { keys, delivery, destination, schema }
    }

    /// Receives a request whose items `read` turns into submissions.
    pub async fn receive<E: Serialize, R: Serialize>(
        &self,
        caller: Result<CanIngest, ApiError>,
        request: Request,
        form: Form,
        read: impl Fn(&Item<'_>) -> Result<Submission<E, R>, ApiError>,
    ) -> Response {
        let answer = async {
            let CanIngest(tenant) = caller?;
            let (mut parts, body) = request.into_parts();
            NoParameters::from_request_parts(&mut parts, &()).await?;
            let JsonBytes(bytes) = JsonBytes::from_request(Request::from_parts(parts, body), &()).await?;
            let arrival = Arrival::At(Timestamp::now().as_millisecond());
            let read = |path: &str, json: &RawValue, shared: Shared<'_>| {
                let item =
                    Item { tenant: tenant.as_str(), arrival, new_id: &fields::new_id, path, json, shared };
                let Submission { event, key, route, receipt } = read(&item)?;
                let value = self.schema.encode(&event).map_err(ApiError::internal)?;
                Ok((Record { key, route, value }, receipt))
            };
            match body::items(&bytes, form)? {
                Items::One(json) => {
                    let (record, receipt) = read("", json, Shared::default())?;
                    self.deliver_one(record, receipt).await
                }
                Items::Batch(items, shared) => {
                    let read = items
                        .into_iter()
                        .enumerate()
                        .map(|(index, json)| read(&format!("events[{index}]"), json, shared))
                        .collect();
                    Ok(self.deliver_batch(read).await)
                }
            }
        };
        answer.await.unwrap_or_else(|error: ApiError| {
            count_rejected(error.code(), 1);
            error.into_response()
        })
    }

    async fn deliver_one<R: Serialize>(&self, record: Record, receipt: R) -> Result<Response, ApiError> {
        let position = match self.delivery.deliver(&self.destination, vec![record]).await.pop() {
            Some(Some(position)) => position,
            _ => return Err(unavailable("Kafka did not take the event; send it again, with the same id")),
        };
        self.count_accepted(1);
        let position = self.position(&[position]);
        let answer = AnswerToOne { receipt, position: position.clone() };
        Ok(with_position((StatusCode::ACCEPTED, Json(answer)).into_response(), &position))
    }

    async fn deliver_batch<R: Serialize>(&self, items: Vec<Result<(Record, R), ApiError>>) -> Response {
        let (mut records, mut fit, mut rejected) = (Vec::new(), Vec::new(), Vec::new());
        for (index, item) in items.into_iter().enumerate() {
            match item {
                Ok((record, receipt)) => {
                    records.push(record);
                    fit.push(Accepted { index, receipt });
                }
                Err(error) => {
                    count_rejected(error.code(), 1);
                    rejected.push(Rejected { index, error });
                }
            }
        }
        let (mut accepted, mut failed, mut positions) = (Vec::new(), Vec::new(), Vec::new());
        for (item, position) in fit.into_iter().zip(self.delivery.deliver(&self.destination, records).await) {
            match position {
                Some(position) => {
                    positions.push(position);
                    accepted.push(item);
                }
                None => failed.push(item.index),
            }
        }
        self.count_accepted(accepted.len());
        let refusal = if !failed.is_empty() {
            let error = unavailable("Kafka did not take all events; send the batch again, with the same ids");
            count_rejected(error.code(), failed.len());
            Some(error)
        } else if accepted.is_empty() && !rejected.is_empty() {
            let message = "every item is refused; the list \"rejected\" says why";
            Some(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "all_rejected", message))
        } else {
            None
        };
        let answer = AnswerToBatch { accepted, rejected, failed };
        let response = match refusal {
            Some(error) => error.respond_beside(answer),
            None => (StatusCode::ACCEPTED, Json(answer)).into_response(),
        };
        if positions.is_empty() { response } else { with_position(response, &self.position(&positions)) }
    }

    fn position(&self, positions: &[Position]) -> String {
        let mut highest = LogPosition::default();
        for position in positions {
            highest.add(self.destination.family(), position.partition, position.offset);
        }
        highest.to_string()
    }

    fn count_accepted(&self, count: usize) {
        metrics::counter!("tidewatch_ingest_accepted_total", "family" => self.destination.family())
            .increment(count as u64);
    }
}

fn count_rejected(reason: &'static str, count: usize) {
    metrics::counter!("tidewatch_ingest_rejected_total", "reason" => reason).increment(count as u64);
}

fn unavailable(message: &'static str) -> ApiError {
    ApiError::unavailable(message, RETRY_AFTER)
}

fn with_position(mut response: Response, position: &str) -> Response {
    // Digits, and a topic's name of our own: always a legal header.
    if let Ok(value) = HeaderValue::from_str(position) {
        response.headers_mut().insert(LOG_POSITION, value);
    }
    response
}
