//! The family's routes for events.

use axum::extract::{Request, State};
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::json::{Change, Either, Receipt, Report, change, either, issue_id, report};
use crate::families::civic::Civic;
use crate::http::{ApiError, CanIngest, Path};
use crate::ingest::body::{Batch, Form, OneOrBatch, parse};
use crate::ingest::handler::{Answer, AnswerToBatch, AnswerToOne, Handler};

/// The family's routes.
pub fn routes() -> OpenApiRouter<Handler<Civic>> {
    OpenApiRouter::new().routes(routes!(reports)).routes(routes!(status)).routes(routes!(both))
}

/// Takes a report, or a batch of them.
#[utoipa::path(
    post,
    path = "/v1/reports",
    operation_id = "sendReports",
    tag = "ingest",
    security(("bearer" = ["ingest"]), ("api_key" = ["ingest"])),
    request_body = inline(OneOrBatch<Report, Batch<Report>>),
    responses((status = 202, description = "Kafka holds what is accepted.", body = Answer<Receipt>, headers(("X-Log-Position" = String, description = "Names the records; a read can wait for them."))))
)]
async fn reports(
    State(handler): State<Handler<Civic>>,
    caller: Result<CanIngest, ApiError>,
    request: Request,
) -> Response {
    handler
        .receive_as(caller, request, Form::OneOrBatch, |item, ()| {
            report(item, parse(item.json, item.path)?, item.path)
        })
        .await
}

/// Takes a change of the status of the issue in the path.
#[utoipa::path(
    post,
    path = "/v1/issues/{id}/status",
    operation_id = "changeIssueStatus",
    tag = "ingest",
    security(("bearer" = ["ingest"]), ("api_key" = ["ingest"])),
    params(("id" = Uuid, Path, description = "The issue's id, as the answer to its report named it.")),
    request_body = Change,
    responses((status = 202, description = "Kafka holds it.", body = AnswerToOne<Receipt>, headers(("X-Log-Position" = String, description = "Names the records; a read can wait for them."))))
)]
async fn status(
    State(handler): State<Handler<Civic>>,
    issue: Result<Path<String>, ApiError>,
    caller: Result<CanIngest, ApiError>,
    request: Request,
) -> Response {
    handler
        .receive_as(caller, request, Form::One, |item, ()| {
            let text = issue.as_ref().map_or("", |Path(text)| text.as_str());
            let issue = issue_id(text, "issue_id")?;
            change(item, issue, parse(item.json, item.path)?, item.path)
        })
        .await
}

/// Takes a batch of reports and changes of status, in the order in which they are to be folded.
#[utoipa::path(
    post,
    path = "/v1/civic",
    operation_id = "sendCivicEvents",
    tag = "ingest",
    security(("bearer" = ["ingest"]), ("api_key" = ["ingest"])),
    request_body = Batch<Either<'static>>,
    responses((status = 202, description = "Kafka holds what is accepted.", body = AnswerToBatch<Receipt>, headers(("X-Log-Position" = String, description = "Names the records; a read can wait for them."))))
)]
async fn both(
    State(handler): State<Handler<Civic>>,
    caller: Result<CanIngest, ApiError>,
    request: Request,
) -> Response {
    handler.receive_as(caller, request, Form::Batch, either).await
}
