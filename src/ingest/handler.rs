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
use super::item::{Arrival, Item, Submission};
use super::source::Source;
use crate::codec::PinnedSchema;
use crate::http::{ApiError, ApiKeys, CanIngest, JsonBytes, NoParameters};
use crate::log::LogPosition;

/// Names the last record of a request in each partition, so that a read can wait for them.
const LOG_POSITION: HeaderName = HeaderName::from_static("x-log-position");

/// The state of the routes of one family: who may send, what becomes of the items, and where they go.
pub struct Handler<S: Source> {
    keys: ApiKeys,
    delivery: Arc<Delivery>,
    destination: Arc<Destination>,
    schema: &'static PinnedSchema,
    rules: Arc<S::Rules>,
}

impl<S: Source> Clone for Handler<S> {
    fn clone(&self) -> Self {
        Self {
            keys: self.keys.clone(),
            delivery: Arc::clone(&self.delivery),
            destination: Arc::clone(&self.destination),
            schema: self.schema,
            rules: Arc::clone(&self.rules),
        }
    }
}

impl<S: Source> FromRef<Handler<S>> for ApiKeys {
    fn from_ref(handler: &Handler<S>) -> Self {
        handler.keys.clone()
    }
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

/// The answer to one item, or to a batch.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum Answer<R> {
    /// To one item.
    One(AnswerToOne<R>),
    /// To a batch.
    Batch(AnswerToBatch<R>),
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

impl<S: Source> Handler<S> {
    pub(super) fn new(
        keys: ApiKeys,
        delivery: Arc<Delivery>,
        destination: Arc<Destination>,
        schema: &'static PinnedSchema,
        rules: Arc<S::Rules>,
    ) -> Self {
        Self { keys, delivery, destination, schema, rules }
    }

    /// Receives a request to the family's main route.
    pub async fn receive(&self, caller: Result<CanIngest, ApiError>, request: Request) -> Response {
        self.receive_as(caller, request, S::FORM, S::read).await
    }

    /// Receives a request whose items `read` turns into submissions.
    pub async fn receive_as(
        &self,
        caller: Result<CanIngest, ApiError>,
        request: Request,
        form: Form,
        read: impl Fn(&Item<'_>, &S::Rules) -> Result<Submission<S::Event, S::Receipt>, ApiError>,
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
                let Submission { event, receipt } = read(&item, &self.rules)?;
                let value = self.schema.encode(&event).map_err(ApiError::internal)?;
                Ok((Record { key: S::key(&event), route: S::route(&event), value }, receipt))
            };
            match body::items(&bytes, form)? {
                Items::One(json) => {
                    let (record, receipt) = read("", json, Shared::default())?;
                    self.deliver_one(record, receipt).await
                }
                Items::Batch((items, shared)) => {
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
        let answer = Answer::One(AnswerToOne { receipt, position: position.clone() });
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
        let answer = Answer::Batch(AnswerToBatch { accepted, rejected, failed });
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
