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

use axum::extract::{Request, State};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::json::{Context, Event, Stamp};
use self::privacy::Privacy;
use self::url::Urls;
use super::Interactions;
use super::event::Interaction;
use crate::config::{IngestConfig, Secret};
use crate::engine::{Event as _, Millis};
use crate::http::{ApiError, CanIngest};
use crate::ingest::Source;
use crate::ingest::body::{Form, OneOrBatch, SharingBatch, at};
use crate::ingest::fields::{self, AHEAD};
use crate::ingest::handler::{Answer, Handler};
use crate::ingest::item::{Arrival, Item, Origin, Submission};

/// How far a device's clock may be wrong before it is corrected.
const SKEW: Millis = 2 * 60 * 1000;

impl Source for Interactions {
    const NAME: &'static str = "interactions";
    const FORM: Form = Form::OneOrBatchSharing;
    type Event = Interaction;
    type Receipt = Receipt;
    type Rules = Privacy;

    fn rules(config: &IngestConfig, salt: &Secret) -> Privacy {
        let names = config.query_allow.split(',').map(|name| name.trim().to_owned());
        let urls = Urls::new(names.filter(|name| !name.is_empty()), config.route_ids.clone());
        Privacy::new(salt, urls)
    }

    fn read(item: &Item<'_>, privacy: &Privacy) -> Result<Submission<Interaction, Receipt>, ApiError> {
        read(item, privacy)
    }

    fn adopt(
        mut event: Interaction,
        origin: &Origin<'_>,
        privacy: &Privacy,
    ) -> Result<Interaction, ApiError> {
        event.tenant = origin.tenant.into();
        if event.seq.is_none() && event.event_id.is_none() {
            event.event_id = Some(origin.place.into());
        }
        privacy.clean(event).map_err(|refusal| ApiError::invalid(refusal.field, refusal.reason))
    }

    fn key(event: &Interaction) -> String {
        event.record_key()
    }

    fn route(event: &Interaction) -> u32 {
        event.route()
    }
}

/// The family's routes.
pub fn routes() -> OpenApiRouter<Handler<Interactions>> {
    OpenApiRouter::new().routes(routes!(post))
}

/// Takes an interaction, or a batch of them.
#[utoipa::path(
    post,
    path = "/v1/interactions",
    operation_id = "sendInteractions",
    tag = "ingest",
    security(("bearer" = ["ingest"]), ("api_key" = ["ingest"])),
    request_body = inline(OneOrBatch<Event, SharingBatch<Event, String, Context>>),
    responses((status = 202, description = "Kafka holds what is accepted.", body = Answer<Receipt>, headers(("X-Log-Position" = String, description = "Names the records; a read can wait for them."))))
)]
async fn post(
    State(handler): State<Handler<Interactions>>,
    caller: Result<CanIngest, ApiError>,
    request: Request,
) -> Response {
    handler.receive(caller, request).await
}

/// What the answer says of an accepted event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = InteractionReceipt)]
pub struct Receipt {
    /// How evidence names the event within its session: its id, or its tab and count as `tab/seq`.
    id: String,
}

/// An item as it may enter the log.
fn read(item: &Item<'_>, privacy: &Privacy) -> Result<Submission<Interaction, Receipt>, ApiError> {
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
    let receipt = Receipt { id: clean.identity().name().into_owned() };
    Ok(Submission { event: clean, receipt })
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
