//! The family interactions: what people do in a browser, from the API's JSON to [`Interaction`].
//!
//! `json` reads an event as it was sent, `privacy` decides what of it may enter the log: of both JSON and Avro, over HTTP and
//! through the topic `intake.interactions`. `docs/interactions.md` describes the format. Nothing that was sent is repeated in
//! an error or a line of this program's log.

mod json;
pub mod privacy;
mod selector;
mod target;
pub mod url;

use std::sync::{Arc, LazyLock};

use axum::extract::{FromRef, Request, State};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::json::{Context, Event, Stamp};
use self::privacy::Privacy;
use self::url::Urls;
use super::body::{Form, at};
use super::fields::{self, AHEAD};
use super::gate::{AnswerToBatch, AnswerToOne, Arrival, Gate, Item, Submission};
use crate::config::{IngestConfig, QUERY_ALLOW, Secret};
use crate::event::interactions::Interaction;
use crate::event::{Event as _, Millis, id};
use crate::http::{ApiError, ApiKeys, CanIngest};

/// The family's topic and the subject of its schema.
pub const TOPIC: &str = "interactions";

/// How far a device's clock may be wrong before it is corrected.
const SKEW: Millis = 2 * 60 * 1000;

/// A trial has no secrets: the same file gives the same rows everywhere.
static IN_TRIALS: LazyLock<Privacy> =
    LazyLock::new(|| Privacy::new(&Secret::from("tidewatch try"), Urls::new(names(QUERY_ALLOW), None)));

/// What the family's routes need.
#[derive(Clone)]
pub struct Door {
    gate: Gate,
    privacy: Arc<Privacy>,
}

impl Door {
    /// The door before `gate`, by the rules of `config`.
    pub fn new(gate: Gate, privacy: Arc<Privacy>) -> Self {
        Self { gate, privacy }
    }
}

impl FromRef<Door> for ApiKeys {
    fn from_ref(door: &Door) -> Self {
        Self::from_ref(&door.gate)
    }
}

/// The rules that the configuration gives. Without a salt of its own the process makes one that nobody knows, and hashes of
/// users hold for as long as it lives.
///
/// # Errors
/// The operating system has no randomness to give.
pub fn rules(config: &IngestConfig) -> Result<Privacy, getrandom::Error> {
    let salt = match &config.salt {
        Some(salt) => salt.clone(),
        None => {
            let mut salt = [0; 32];
            getrandom::fill(&mut salt)?;
            Secret::from(salt.map(|byte| format!("{byte:02x}")).concat().as_str())
        }
    };
    let urls = Urls::new(names(&config.query_allow), config.route_ids.clone());
    Ok(Privacy::new(&salt, urls))
}

fn names(list: &str) -> impl Iterator<Item = String> {
    list.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// The family's routes.
pub fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new().routes(routes!(interactions))
}

/// Takes an interaction, or a batch of them.
#[utoipa::path(
    post,
    path = "/v1/interactions",
    tag = "ingest",
    security(("bearer" = ["ingest"]), ("api_key" = ["ingest"])),
    request_body = Interactions,
    responses((status = 202, description = "Kafka holds what is accepted.", body = InteractionsAnswer, headers(("X-Log-Position" = String, description = "Names the records; a read can wait for them."))))
)]
async fn interactions(
    State(door): State<Door>,
    caller: Result<CanIngest, ApiError>,
    request: Request,
) -> Response {
    door.gate.receive(caller, request, Form::OneOrBatchSharing, |item| read(item, &door.privacy)).await
}

/// What the answer says of an accepted event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = InteractionReceipt)]
pub struct Receipt {
    /// How evidence names the event within its session: its id, or its tab and count as `tab/seq`.
    id: String,
}

/// An interaction, or a batch of them.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it describes what is read in two steps")]
enum Interactions {
    One(Event),
    Batch(InteractionBatch),
}

/// Several events.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "it describes what is read in two steps")]
struct InteractionBatch {
    /// At most 1000; more are answered with 413.
    events: Vec<Event>,
    /// When the batch was sent, by the device's clock: where that is wrong by more than two minutes, it corrects the events'
    /// times.
    #[schema(format = DateTime)]
    sent_at: Option<String>,
    context: Option<Context>,
}

/// The answer to an interaction, or to a batch of them.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it describes what the gate answers")]
enum InteractionsAnswer {
    One(AnswerToOne<Receipt>),
    Batch(AnswerToBatch<Receipt>),
}

/// An event, or one of a batch, in a trial: as over HTTP, but hashed with a salt that everybody knows, and by the default rules.
pub fn of_any_route(item: &Item<'_>) -> Result<Submission<Interaction, Receipt>, ApiError> {
    read(item, &IN_TRIALS)
}

/// An item as it may enter the log.
pub fn read(item: &Item<'_>, privacy: &Privacy) -> Result<Submission<Interaction, Receipt>, ApiError> {
    let (stamp, own, body) = json::event(item.json, item.path)?;
    let shared = item.shared.context.map(json::context).transpose()?.unwrap_or_default();
    let own_fields = own.names();
    let Context { session_id, tab_id, window_id, page_view_id, url, route, user, device, browser, os, sdk } =
        own.or(&shared);
    let session_id = session_id.ok_or_else(|| ApiError::invalid(at(item.path, "session_id"), "missing"))?;
    let (occurred_at, device_time) = occurred_at(&stamp, item)?;
    let Stamp { id, seq, .. } = stamp;
    let event_id = id.or_else(|| seq.is_none().then(|| (item.new_id)()));
    let raw = Interaction {
        tenant: item.tenant.into(),
        session_id: session_id.into(),
        tab_id: tab_id.unwrap_or_default().into(),
        window_id: window_id.map(Into::into),
        page_view_id: page_view_id.map(Into::into),
        event_id: event_id.map(Into::into),
        seq,
        occurred_at,
        device_time,
        url: url.map(Into::into),
        route: route.unwrap_or_default().into(),
        user: user.map(Into::into),
        device: device.map(Into::into),
        browser: browser.map(Into::into),
        os: os.map(Into::into),
        sdk: sdk.map(Into::into),
        body,
    };
    let clean = privacy.clean(raw).map_err(|refusal| {
        // What the event has not itself came from its batch.
        let is_shared = Context::NAMES.contains(&&*refusal.field) && !own_fields.contains(&&*refusal.field);
        ApiError::invalid(at(if is_shared { "context" } else { item.path }, &refusal.field), refusal.reason)
    })?;
    Ok(submission(clean))
}

/// A clean event with its way to the log.
pub fn submission(event: Interaction) -> Submission<Interaction, Receipt> {
    let key = event.record_key();
    let route = id::murmur2(key.as_bytes());
    let receipt = Receipt { id: event.identity().name().into_owned() };
    Submission { event, key, route, receipt }
}

/// When an event happened; and when by the device's clock, where that is so wrong that it has been corrected.
fn occurred_at(stamp: &Stamp, item: &Item<'_>) -> Result<(Millis, Option<Millis>), ApiError> {
    let time = |field: &str, text: &str| {
        fields::parse_time(text).map_err(|refusal| ApiError::invalid(field, refusal.reason()))
    };
    let field = at(item.path, "occurred_at");
    let sent_at = match item.shared.sent_at {
        None => None,
        Some(json) => {
            let text: Option<String> = serde_json::from_str(json.get())
                .map_err(|_| ApiError::invalid("sent_at", "expected a time as text"))?;
            text.map(|text| time("sent_at", &text)).transpose()?
        }
    };
    let Some(text) = &stamp.occurred_at else {
        return fields::occurred_at(None, item.arrival, item.path).map(|at| (at, None));
    };
    let by_device = time(&field, text)?;
    let Arrival::At(arrival) = item.arrival else { return Ok((by_device, None)) };
    let skew = sent_at.map_or(0, |sent_at| arrival - sent_at);
    let (occurred_at, device_time) =
        if skew.abs() > SKEW { (by_device + skew, Some(by_device)) } else { (by_device, None) };
    if occurred_at > arrival.saturating_add(AHEAD) {
        return Err(fields::future_event(&field, "it is", arrival));
    }
    Ok((occurred_at, device_time))
}

#[cfg(test)]
mod tests;
