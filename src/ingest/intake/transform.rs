//! A record of an intake topic, and what follows from it: events for the family topic, and a letter about those refused.

use std::sync::Arc;

use rdkafka::message::{Headers, Message};
use serde_json::value::RawValue;

use super::TOPIC;
use crate::codec::{self, CodecError, PinnedSchema};
use crate::config::Scope;
use crate::event::derived::DeadLetter;
use crate::event::interactions::Interaction;
use crate::http::{ApiError, ApiKeys};
use crate::ingest::body::{self, Form, Items, Shared};
use crate::ingest::fields::{self, AHEAD};
use crate::ingest::gate::{Arrival, Item};
use crate::ingest::interactions;
use crate::ingest::interactions::privacy::Privacy;
use crate::log::first_append;

/// The header of a record that holds an API key with the scope `ingest`: it tells the tenant.
pub const KEY: &str = "tidewatch-key";

/// A letter tells of so many refused events of a batch.
const TOLD: usize = 5;

/// What follows from a record.
#[derive(Debug, Default)]
pub struct Transformed {
    /// Keys and values for the family topic.
    pub events: Vec<(String, Vec<u8>)>,
    /// What was wrong, if anything was.
    pub letter: Option<DeadLetter>,
    /// How many events are refused.
    pub refused: u64,
}

/// How records become events.
pub struct Transform {
    keys: ApiKeys,
    privacy: Arc<Privacy>,
    schema: &'static PinnedSchema,
}

impl Transform {
    pub fn new(keys: ApiKeys, privacy: Arc<Privacy>, schema: &'static PinnedSchema) -> Self {
        Self { keys, privacy, schema }
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
            topic: TOPIC.to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            append_time: first_append::append_time(message),
            tenant,
            event_id: None,
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
    fn events(
        &self,
        message: &impl Message,
        tenant: &str,
        events: &mut Vec<(String, Vec<u8>)>,
    ) -> Vec<ApiError> {
        let place = format!("{TOPIC}/{}/{}", message.partition(), message.offset());
        let arrival = first_append::append_time(message);
        let mut refusals = Vec::new();
        let mut add = |event: Result<Interaction, ApiError>| match event.and_then(|event| self.encode(&event))
        {
            Ok(record) => events.push(record),
            Err(error) => refusals.push(error),
        };
        let read = |path: &str, json: &RawValue, shared: Shared<'_>, name: String| {
            let item =
                Item { tenant, arrival: Arrival::At(arrival), new_id: &|| name.clone(), path, json, shared };
            interactions::read(&item, &self.privacy).map(|submission| submission.event)
        };
        let bytes = message.payload().unwrap_or_default();
        if bytes.is_empty() {
            add(Err(undecodable("the record has no value".to_owned())));
        } else if bytes[0] == 0 {
            add(self.avro(bytes, tenant, arrival, &place));
        } else {
            match body::items(bytes, Form::OneOrBatchSharing) {
                Ok(Items::One(json)) => add(read("", json, Shared::default(), place)),
                Ok(Items::Batch(items, shared)) => {
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
    fn avro(&self, bytes: &[u8], tenant: &str, arrival: i64, place: &str) -> Result<Interaction, ApiError> {
        let mut event: Interaction = codec::decode(interactions::TOPIC, Some(bytes)).map_err(|error| {
            undecodable(match error {
                // Avro's own words may hold a value.
                CodecError::Avro { id, .. } => format!("the value does not follow schema {id}"),
                other => other.to_string(),
            })
        })?;
        event.tenant = tenant.into();
        if event.seq.is_none() && event.event_id.is_none() {
            event.event_id = Some(place.into());
        }
        if event.occurred_at > arrival.saturating_add(AHEAD) {
            return Err(fields::future_event("occurred_at", "it is", arrival));
        }
        self.privacy.clean(event).map_err(|refusal| ApiError::invalid(refusal.field, refusal.reason))
    }

    fn encode(&self, event: &Interaction) -> Result<(String, Vec<u8>), ApiError> {
        let value = self.schema.encode(event).map_err(ApiError::internal)?;
        Ok((event.record_key(), value))
    }
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

#[cfg(test)]
mod tests {
    use rdkafka::Timestamp;
    use rdkafka::message::{Header, OwnedHeaders, OwnedMessage};
    use serde_json::json;

    use super::*;
    use crate::config::{ApiKeyConfig, Secret};
    use crate::ingest::interactions::url::Urls;

    /// 2011-07-01T06:00:00Z
    const NOW: i64 = 1_309_500_000_000;

    fn transform() -> Transform {
        let keys: Vec<ApiKeyConfig> = serde_json::from_value(json!([
            {"key": "write", "tenant": "boston", "scopes": ["ingest"]},
            {"key": "look", "tenant": "boston", "scopes": ["read"]},
        ]))
        .unwrap();
        let privacy = Privacy::new(&Secret::from("salt"), Urls::new([], None));
        Transform::new(ApiKeys::new(&keys), Arc::new(privacy), codec::newest("interactions").unwrap())
    }

    fn message(key: Option<&str>, value: &[u8]) -> OwnedMessage {
        let headers = key.map(|key| OwnedHeaders::new().insert(Header { key: KEY, value: Some(key) }));
        let at = Timestamp::LogAppendTime(NOW);
        OwnedMessage::new(Some(value.to_vec()), None, TOPIC.into(), at, 1, 42, headers)
    }

    fn events(transformed: &Transformed) -> Vec<Interaction> {
        let events = transformed.events.iter();
        events.map(|(_, value)| codec::decode("interactions", Some(value)).unwrap()).collect()
    }

    fn refusal(key: Option<&str>, value: &[u8]) -> String {
        let letter = transform().apply(&message(key, value)).letter.unwrap();
        assert_eq!(
            (letter.topic.as_str(), letter.partition, letter.offset, letter.append_time),
            (TOPIC, 1, 42, NOW)
        );
        assert_eq!((letter.record_key, letter.record_value), (None, None), "it has not been cleaned");
        format!("{}: {}", letter.reason, letter.message)
    }

    #[test]
    fn json_is_what_the_route_takes() {
        let batch = json!({"context": {"session_id": "s"}, "events": [
            {"type": "page_show"}, {"type": "click"}, {"type": "page_hide", "seq": 3, "tab_id": "t"},
        ]});
        let transformed = transform().apply(&message(Some("write"), batch.to_string().as_bytes()));
        let found = events(&transformed);
        assert_eq!(transformed.events[0].0, "boston/s");
        assert_eq!(
            found[0].event_id.as_deref(),
            Some("intake.interactions/1/42.0"),
            "the same each time (I5)"
        );
        assert_eq!((found[0].occurred_at, found[1].seq, &found[1].event_id), (NOW, Some(3), &None));
        let letter = transformed.letter.unwrap();
        assert_eq!((letter.tenant.as_deref(), transformed.refused), (Some("boston"), 1));
        assert_eq!(letter.message, "1 of 3 events are refused: events[1].x: missing");
    }

    #[test]
    fn avro_is_cleaned_too_and_its_tenant_is_the_keys() {
        let item = json!({"type": "page_show", "session_id": "s", "user": "ann", "url": "/orders/77"});
        let transformed = transform().apply(&message(Some("write"), item.to_string().as_bytes()));
        let mut event = events(&transformed).remove(0);
        (event.tenant, event.user) = ("salem".into(), Some("ann".into()));
        (event.url, event.route) = (Some("https://ann:pw@s.example/orders/77?q=secret".into()), "".into());
        let value = codec::newest("interactions").unwrap().encode(&event).unwrap();
        let clean = events(&transform().apply(&message(Some("write"), &value))).remove(0);
        assert_eq!((clean.tenant.as_str(), clean.route.as_str()), ("boston", "/orders/:id"));
        assert_eq!(clean.url.as_deref(), Some("https://s.example/orders/:id?q"));
        assert!(clean.user.is_some_and(|user| user.len() == 32));

        let late = Interaction { occurred_at: NOW + AHEAD + 1, ..event.clone() };
        let value = codec::newest("interactions").unwrap().encode(&late).unwrap();
        assert!(
            refusal(Some("write"), &value)
                .starts_with("future_event: occurred_at: it is more than 5 minutes ahead")
        );
        let value = codec::newest("interactions").unwrap().encode(&event).unwrap();
        assert!(refusal(Some("write"), &value[..9]).starts_with("undecodable: "));
    }

    #[test]
    fn without_a_key_or_a_value_there_is_a_letter() {
        for (key, value, expected) in [
            (
                None,
                "{}",
                "unauthorized: the header tidewatch-key has to hold an API key with the scope ingest",
            ),
            (
                Some("look"),
                "{}",
                "unauthorized: the header tidewatch-key has to hold an API key with the scope ingest",
            ),
            (Some("write"), "", "undecodable: the record has no value"),
            (Some("write"), "hunter2", "malformed_json: expected value at line 1 column 1"),
            (
                Some("write"),
                "{\"session_id\":\"s\",\"type\":\"page_show\",\"hunter2\":1}",
                "invalid_value: body: a field is unknown",
            ),
        ] {
            let found = refusal(key, value.as_bytes());
            assert!(found.starts_with(expected) && !found.contains("hunter2"), "{found}");
        }
    }
}
