//! A record of an intake topic, and what follows from it: events for the family topic, and a letter about those refused.

use std::sync::Arc;

use rdkafka::message::{Headers, Message};
use serde_json::value::RawValue;

use super::topic;
use crate::codec::{self, CodecError, PinnedSchema};
use crate::config::Scope;
use crate::engine::rows::DeadLetter;
use crate::engine::{Event, Millis};
use crate::http::{ApiError, ApiKeys};
use crate::ingest::body::{self, Items, Shared};
use crate::ingest::delivery::Record;
use crate::ingest::fields::{self, AHEAD};
use crate::ingest::item::{Arrival, Item, Origin};
use crate::ingest::source::Source;

/// The header of a record that holds an API key with the scope `ingest`: it tells the tenant.
pub const KEY: &str = "tidewatch-key";

/// A letter tells of so many refused events of a batch.
const TOLD: usize = 5;

/// What follows from a record.
#[derive(Debug, Default)]
pub struct Transformed {
    /// Records for the family topic.
    pub events: Vec<Record>,
    /// What was wrong, if anything was.
    pub letter: Option<DeadLetter>,
    /// How many events are refused.
    pub refused: u64,
}

/// How records become events.
pub struct Transform<S: Source> {
    keys: ApiKeys,
    rules: Arc<S::Rules>,
    schema: &'static PinnedSchema,
}

impl<S: Source> Transform<S> {
    pub fn new(keys: ApiKeys, rules: Arc<S::Rules>, schema: &'static PinnedSchema) -> Self {
        Self { keys, rules, schema }
    }

    /// What follows from a record: the same each time (I5).
    pub fn apply(&self, message: &impl Message) -> Transformed {
        let mut transformed = Transformed::default();
        let (tenant, refusals) = match self.tenant(message) {
            Ok(tenant) => {
                let refusals = self.events(message, &tenant, &mut transformed.events);
                (Some(tenant), refusals)
            }
            Err(error) => (None, vec![error]),
        };
        transformed.refused = refusals.len() as u64;
        let events = transformed.events.len() + refusals.len();
        transformed.letter = refusals.first().map(|first| DeadLetter {
            topic: topic(S::NAME),
            partition: message.partition(),
            offset: message.offset(),
            append_time: append_time(message),
            tenant,
            event_id: None,
            operator: String::new(),
            reason: first.code().to_owned(),
            message: told(&refusals, events),
            record_key: None,
            record_value: None,
        });
        transformed
    }

    /// The tenant of the API key in the record's header.
    fn tenant(&self, message: &impl Message) -> Result<String, ApiError> {
        let headers = message.headers();
        let key = headers.and_then(|headers| headers.iter().find(|header| header.key == KEY)?.value);
        let unauthorized = |_| {
            let message = format!("the header {KEY} has to hold an API key with the scope ingest");
            ApiError::new(axum::http::StatusCode::UNAUTHORIZED, "unauthorized", message)
        };
        let tenant = self.keys.tenant(key.unwrap_or_default(), Scope::Ingest).map_err(unauthorized)?;
        Ok(tenant.as_str().to_owned())
    }

    /// Appends the events of a record; those that are refused are returned.
    fn events(&self, message: &impl Message, tenant: &str, events: &mut Vec<Record>) -> Vec<ApiError> {
        let place = format!("{}/{}/{}", topic(S::NAME), message.partition(), message.offset());
        let arrival = append_time(message);
        let mut refusals = Vec::new();
        let mut add = |event: Result<S::Event, ApiError>| match event.and_then(|event| self.encode(&event)) {
            Ok(record) => events.push(record),
            Err(error) => refusals.push(error),
        };
        let read = |path: &str, json: &RawValue, shared: Shared<'_>, name: String| {
            let item =
                Item { tenant, arrival: Arrival::At(arrival), new_id: &|| name.clone(), path, json, shared };
            S::read(&item, &self.rules).map(|submission| submission.event)
        };
        let bytes = message.payload().unwrap_or_default();
        if bytes.is_empty() {
            add(Err(undecodable("the record has no value".to_owned())));
        } else if bytes[0] == 0 {
            add(self.avro(bytes, &Origin { tenant, arrival, place: &place }));
        } else {
            match body::items(bytes, S::FORM) {
                Ok(Items::One(json)) => add(read("", json, Shared::default(), place)),
                Ok(Items::Batch((items, shared))) => {
                    for (index, json) in items.into_iter().enumerate() {
                        add(read(&format!("events[{index}]"), json, shared, format!("{place}.{index}")));
                    }
                }
                Err(error) => add(Err(error)),
            }
        }
        refusals
    }

    /// An event in Avro is as raw as one in JSON.
    fn avro(&self, bytes: &[u8], origin: &Origin<'_>) -> Result<S::Event, ApiError> {
        let event: S::Event = codec::decode(S::NAME, Some(bytes)).map_err(|error| {
            undecodable(match error {
                // Avro's own words may hold a value.
                CodecError::Avro { id, .. } | CodecError::Form { id, .. } => {
                    format!("the value does not follow schema {id}")
                }
                other => other.to_string(),
            })
        })?;
        if event.event_time() > origin.arrival.saturating_add(AHEAD) {
            return Err(fields::future_event("occurred_at", "it is", origin.arrival));
        }
        S::adopt(event, origin, &self.rules)
    }

    fn encode(&self, event: &S::Event) -> Result<Record, ApiError> {
        let value = self.schema.encode(event).map_err(ApiError::internal)?;
        Ok(Record { key: S::key(event), route: S::route(event), value })
    }
}

/// When a record was appended to the intake topic, by the broker: what its sender says of it moves nobody's clock (I3).
pub fn append_time(message: &impl Message) -> Millis {
    message.timestamp().to_millis().unwrap_or(Millis::MIN)
}

fn undecodable(reason: String) -> ApiError {
    ApiError::new(axum::http::StatusCode::UNPROCESSABLE_ENTITY, "undecodable", reason)
}

fn told(refusals: &[ApiError], events: usize) -> String {
    if let ([one], 1) = (refusals, events) {
        return one.to_string();
    }
    let more = if refusals.len() > TOLD { "; …" } else { "" };
    let first: Vec<String> = refusals.iter().take(TOLD).map(ApiError::to_string).collect();
    format!("{} of {events} events are refused: {}{more}", refusals.len(), first.join("; "))
}
