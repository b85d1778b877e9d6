//! What comes in: readings as JSON over HTTP, as JSON or Avro through the topic `intake.meters`.

use axum::extract::{Request, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Meters;
use super::event::Reading;
use crate::config::{IngestConfig, Secret};
use crate::http::{ApiError, CanIngest};
use crate::ingest::body::{Form, at, parse};
use crate::ingest::handler::{Answer, Handler};
use crate::ingest::item::{Item, Origin, Submission};
use crate::ingest::{Source, fields};

/// How long the name of a meter may be, in characters.
const METER: usize = 100;

impl Source for Meters {
    const NAME: &'static str = "meters";
    const FORM: Form = Form::OneOrBatch;
    type Event = Reading;
    type Receipt = Receipt;
    type Rules = ();

    fn rules(_: &IngestConfig, _: &Secret) {}

    fn read(item: &Item<'_>, (): &()) -> Result<Submission<Reading, Receipt>, ApiError> {
        let MeterReading { id, occurred_at, meter, watts } = parse(item.json, item.path)?;
        let event = Reading {
            tenant: item.tenant.to_owned(),
            event_id: fields::event_id(id, item.new_id, item.path)?,
            occurred_at: fields::occurred_at(occurred_at.as_deref(), item.arrival, item.path)?,
            meter: named(meter, item.path)?,
            watts,
        };
        Ok(Submission { receipt: Receipt { id: event.event_id.clone() }, event })
    }

    fn adopt(event: Reading, origin: &Origin<'_>, (): &()) -> Result<Reading, ApiError> {
        let Reading { event_id, occurred_at, meter, watts, .. } = event;
        fields::check_time(occurred_at, "occurred_at")?;
        let id = Some(event_id).filter(|id| !id.is_empty());
        let event_id = fields::event_id(id, &|| origin.place.to_owned(), "")?;
        Ok(Reading {
            tenant: origin.tenant.to_owned(),
            event_id,
            occurred_at,
            meter: named(meter, "")?,
            watts,
        })
    }

    fn key(event: &Reading) -> String {
        event.key()
    }
}

fn named(meter: String, path: &str) -> Result<String, ApiError> {
    fields::text(Some(meter), METER, path, "meter")?
        .ok_or_else(|| ApiError::invalid(at(path, "meter"), "blank"))
}

/// The family's routes.
pub fn routes() -> OpenApiRouter<Handler<Meters>> {
    OpenApiRouter::new().routes(routes!(meters))
}

/// Takes a reading, or a batch of them.
#[utoipa::path(
    post,
    path = "/v1/meters",
    operation_id = "sendMeterReadings",
    tag = "ingest",
    security(("bearer" = ["ingest"]), ("api_key" = ["ingest"])),
    request_body = MeterReadings,
    responses((status = 202, description = "Kafka holds what is accepted.", body = Answer<Receipt>, headers(("X-Log-Position" = String, description = "Names the records; a read can wait for them."))))
)]
async fn meters(
    State(handler): State<Handler<Meters>>,
    caller: Result<CanIngest, ApiError>,
    request: Request,
) -> Response {
    handler.receive(caller, request).await
}

/// A reading, as the API takes it. Without an `id` of its own it is new each time it is sent.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct MeterReading {
    /// The producer's own; it makes a repeat harmless.
    #[schema(min_length = 1, max_length = 128)]
    id: Option<String>,
    /// Now, without it.
    #[schema(format = DateTime)]
    occurred_at: Option<String>,
    #[schema(min_length = 1, max_length = 100)]
    meter: String,
    /// The power at that moment; what is fed in is negative.
    watts: i64,
}

/// A reading, or a batch of them.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it describes what is read in two steps")]
enum MeterReadings {
    One(MeterReading),
    Batch(MeterBatch),
}

/// Several readings.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what is read in two steps")]
struct MeterBatch {
    /// At most 1000; more are answered with 413.
    events: Vec<MeterReading>,
}

/// What the answer says of an accepted reading.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MeterReceipt)]
pub struct Receipt {
    /// The reading's id.
    id: String,
}
