//! The family civic: reports and changes of status, from the API's JSON to [`CivicEvent`].

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::Civic;
use super::event::{
    self, Body, CivicEvent, IssueStatus, IssueStatusChanged, ReportSubmitted, UNKNOWN_AREA,
};
use crate::config::{IngestConfig, Secret};
use crate::http::{ApiError, CanIngest, Path};
use crate::ingest::body::{Form, at, parse, whole};
use crate::ingest::handler::{AnswerToBatch, AnswerToOne, Handler};
use crate::ingest::item::{Item, Origin, Submission};
use crate::ingest::{Source, fields};

const AREA: usize = 200;
const DESCRIPTION: usize = 8192;
const DEPARTMENT: usize = 200;
const ADDRESS: usize = 1000;
const SOURCE: usize = 200;

impl Source for Civic {
    const NAME: &'static str = "civic";
    const FORM: Form = Form::OneOrBatch;
    type Event = CivicEvent;
    type Receipt = Receipt;
    type Rules = ();

    fn rules(_: &IngestConfig, _: &Secret) {}

    /// An item of any route: of the batch of both kinds, a bare report, or a bare change of status that names its issue.
    fn read(item: &Item<'_>, (): &()) -> Result<Submission<CivicEvent, Receipt>, ApiError> {
        let is_object = |json: &RawValue| json.get().starts_with('{');
        match parse::<Shape<'_>>(item.json, item.path)? {
            Shape { report: Some(_), .. } => either(item, &()),
            Shape { status: Some(status), .. } if is_object(status) => either(item, &()),
            Shape { report: None, status: None, issue_id: None } => {
                report(item, parse(item.json, item.path)?, item.path)
            }
            _ => change_of(item, item.json, item.path),
        }
    }

    fn adopt(mut event: CivicEvent, origin: &Origin<'_>, (): &()) -> Result<CivicEvent, ApiError> {
        let id = Some(event.event_id).filter(|id| !id.is_empty());
        event.event_id = fields::event_id(id, &|| origin.place.to_owned(), "")?;
        event.tenant = origin.tenant.to_owned();
        fields::check_time(event.occurred_at, "occurred_at")?;
        if let Body::ReportSubmitted(report) = &mut event.body {
            report.check()?;
        }
        Ok(event)
    }

    fn key(event: &CivicEvent) -> String {
        event.record_key()
    }

    /// A report goes to the partition of its key. A change of status knows only the issue, whose id carries the hash of that
    /// same key.
    fn route(event: &CivicEvent) -> u32 {
        event.route()
    }
}

impl ReportSubmitted {
    /// Brings what a Kafka client wrote into the bounds that [`Report`] has.
    fn check(&mut self) -> Result<(), ApiError> {
        let text = |text: &mut Option<String>, most, name| {
            *text = fields::text(text.take(), most, "", name)?;
            Ok::<_, ApiError>(())
        };
        let area = fields::text(Some(std::mem::take(&mut self.area)), AREA, "", "area")?;
        self.area = area.unwrap_or_else(|| UNKNOWN_AREA.to_owned());
        self.description = described(Some(std::mem::take(&mut self.description)), "")?;
        self.due_at.map_or(Ok(()), |due_at| fields::check_time(due_at, "due_at"))?;
        text(&mut self.department, DEPARTMENT, "department")?;
        text(&mut self.address, ADDRESS, "address")?;
        text(&mut self.source, SOURCE, "source")?;
        fields::place(self.latitude, self.longitude, "").map(drop)
    }
}

/// What a report says, which is never missing.
fn described(text: Option<String>, path: &str) -> Result<String, ApiError> {
    fields::text(text, DESCRIPTION, path, "description")?
        .ok_or_else(|| ApiError::invalid(at(path, "description"), "missing or blank"))
}

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
    request_body = Reports,
    responses((status = 202, description = "Kafka holds what is accepted.", body = ReportsAnswer, headers(("X-Log-Position" = String, description = "Names the records; a read can wait for them."))))
)]
async fn reports(
    State(handler): State<Handler<Civic>>,
    caller: Result<CanIngest, ApiError>,
    request: Request,
) -> Response {
    handler.receive_as(caller, request, Form::OneOrBatch, |item, ()| {
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
    handler.receive_as(caller, request, Form::One, |item, ()| {
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
async fn both(State(handler): State<Handler<Civic>>, caller: Result<CanIngest, ApiError>, request: Request) -> Response {
    handler.receive_as(caller, request, Form::Batch, either).await
}

/// What the answer says of an accepted item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Receipt {
    /// The event's id.
    id: String,
    /// The issue that the report opens, or that changes its status.
    issue_id: Uuid,
}

/// A report, as the API takes it. Without an `id` of its own it is new each time it is sent.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Report {
    /// The producer's own; it makes a repeat harmless.
    #[schema(min_length = 1, max_length = 128)]
    id: Option<String>,
    /// Now, without it.
    #[schema(format = DateTime)]
    occurred_at: Option<String>,
    #[schema(format = DateTime)]
    due_at: Option<String>,
    #[schema(max_length = 200)]
    area: Option<String>,
    #[schema(max_length = 200)]
    department: Option<String>,
    #[schema(required, nullable = false, min_length = 1, max_length = 8192)]
    description: Option<String>,
    #[schema(max_length = 1000)]
    address: Option<String>,
    /// Only with `longitude`.
    #[schema(minimum = -90, maximum = 90)]
    latitude: Option<f64>,
    /// Only with `latitude`.
    #[schema(minimum = -180, maximum = 180)]
    longitude: Option<f64>,
    #[schema(max_length = 200)]
    source: Option<String>,
}

/// A report, or a batch of them.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it describes what is read in two steps")]
enum Reports {
    One(Report),
    Batch(Batch<Report>),
}

/// Several events.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "it describes what is read in two steps")]
struct Batch<T> {
    /// At most 1000; more are answered with 413.
    events: Vec<T>,
}

/// The answer to a report, or to a batch of them.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it describes what the handler answers")]
enum ReportsAnswer {
    One(AnswerToOne<Receipt>),
    Batch(AnswerToBatch<Receipt>),
}

/// A change of status, as the API takes it where the issue is in the path.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Change {
    #[schema(min_length = 1, max_length = 128)]
    id: Option<String>,
    /// Now, without it.
    #[schema(format = DateTime)]
    occurred_at: Option<String>,
    #[schema(value_type = IssueStatusName)]
    status: Option<String>,
}

/// The status of an issue.
#[derive(ToSchema)]
#[schema(as = IssueStatus, rename_all = "snake_case")]
#[expect(dead_code, reason = "it describes what is read by hand")]
enum IssueStatusName {
    Open,
    InProgress,
    Resolved,
    Closed,
}

/// A change of status, as the API takes it in a batch. (serde can't flatten and refuse unknown fields.)
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ChangeOf {
    #[schema(value_type = Uuid)]
    issue_id: Option<String>,
    #[schema(min_length = 1, max_length = 128)]
    id: Option<String>,
    /// Now, without it.
    #[schema(format = DateTime)]
    occurred_at: Option<String>,
    #[schema(value_type = IssueStatusName)]
    status: Option<String>,
}

/// An item of the batch of both kinds: one of them.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Either<'a> {
    #[serde(borrow)]
    #[schema(value_type = Option<Report>)]
    report: Option<&'a RawValue>,
    #[serde(borrow)]
    #[schema(value_type = Option<ChangeOf>)]
    status: Option<&'a RawValue>,
}

/// What a bare item is told from others by.
#[derive(Deserialize)]
struct Shape<'a> {
    #[serde(borrow)]
    report: Option<&'a RawValue>,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
    #[serde(borrow)]
    issue_id: Option<&'a RawValue>,
}

/// An item of the batch of both kinds.
fn either(item: &Item<'_>, (): &()) -> Result<Submission<CivicEvent, Receipt>, ApiError> {
    match parse::<Either<'_>>(item.json, item.path)? {
        Either { report: Some(json), status: None } => {
            let path = at(item.path, "report");
            report(item, parse(json, &path)?, &path)
        }
        Either { report: None, status: Some(json) } => change_of(item, json, &at(item.path, "status")),
        _ => Err(ApiError::invalid(whole(item.path), "expected exactly one of report and status")),
    }
}

fn change_of(
    item: &Item<'_>,
    json: &RawValue,
    path: &str,
) -> Result<Submission<CivicEvent, Receipt>, ApiError> {
    let ChangeOf { issue_id: issue, id, occurred_at, status } = parse(json, path)?;
    let field = at(path, "issue_id");
    let issue = issue.ok_or_else(|| ApiError::invalid(field.as_str(), "missing"))?;
    change(item, issue_id(&issue, &field)?, Change { id, occurred_at, status }, path)
}

fn report(item: &Item<'_>, report: Report, path: &str) -> Result<Submission<CivicEvent, Receipt>, ApiError> {
    let event_id = fields::event_id(report.id, item.new_id, path)?;
    let occurred_at = fields::occurred_at(report.occurred_at.as_deref(), item.arrival, path)?;
    let due_at = report.due_at.map(|text| fields::time(&text, &at(path, "due_at"))).transpose()?;
    let area = fields::text(report.area, AREA, path, "area")?.unwrap_or_else(|| UNKNOWN_AREA.to_owned());
    let description = described(report.description, path)?;
    let place = fields::place(report.latitude, report.longitude, path)?;
    let receipt = Receipt { id: event_id.clone(), issue_id: event::issue_id(item.tenant, &area, &event_id) };
    let body = Body::ReportSubmitted(ReportSubmitted {
        area,
        description,
        due_at,
        department: fields::text(report.department, DEPARTMENT, path, "department")?,
        address: fields::text(report.address, ADDRESS, path, "address")?,
        latitude: place.map(|(latitude, _)| latitude),
        longitude: place.map(|(_, longitude)| longitude),
        source: fields::text(report.source, SOURCE, path, "source")?,
    });
    let event = CivicEvent { tenant: item.tenant.to_owned(), event_id, occurred_at, body };
    Ok(Submission { event, receipt })
}

fn change(
    item: &Item<'_>,
    issue_id: Uuid,
    change: Change,
    path: &str,
) -> Result<Submission<CivicEvent, Receipt>, ApiError> {
    let event_id = fields::event_id(change.id, item.new_id, path)?;
    let occurred_at = fields::occurred_at(change.occurred_at.as_deref(), item.arrival, path)?;
    let status = issue_status(change.status.as_deref(), &at(path, "status"))?;
    let receipt = Receipt { id: event_id.clone(), issue_id };
    let body = Body::IssueStatusChanged(IssueStatusChanged { issue_id, status });
    let event = CivicEvent { tenant: item.tenant.to_owned(), event_id, occurred_at, body };
    Ok(Submission { event, receipt })
}

fn issue_status(text: Option<&str>, field: &str) -> Result<IssueStatus, ApiError> {
    match text {
        Some("open") => Ok(IssueStatus::Open),
        Some("in_progress" | "in-progress") => Ok(IssueStatus::InProgress),
        Some("resolved") => Ok(IssueStatus::Resolved),
        Some("closed") => Ok(IssueStatus::Closed),
        Some(other) => {
            let known = IssueStatus::NAMES.join(", ");
            let reason = format!("{:?} is unknown; expected one of {known}", fields::shortened(other));
            Err(ApiError::invalid(field, reason))
        }
        None => Err(ApiError::invalid(field, "missing")),
    }
}

/// An issue's id. Whether there is such an issue, only the task of its partition knows.
fn issue_id(text: &str, field: &str) -> Result<Uuid, ApiError> {
    Uuid::try_parse(text).map_err(|_| {
        ApiError::new(StatusCode::NOT_FOUND, "malformed_id", "there is no issue of that id")
            .with_details(field, format!("{:?} is no issue's id; expected a UUID", fields::shortened(text)))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::engine::id;
    use crate::ingest::body;
    use crate::ingest::item::Arrival;

    const NOW: i64 = 1_309_500_000_000;

    fn raw(json: &Value) -> Box<RawValue> {
        serde_json::value::to_raw_value(json).unwrap()
    }

    fn item<'a>(path: &'a str, json: &'a RawValue) -> Item<'a> {
        let shared = body::Shared::default();
        Item { tenant: "boston", arrival: Arrival::At(NOW), new_id: &|| "new".to_owned(), path, json, shared }
    }

    fn read_as(
        read: impl Fn(&Item<'_>) -> Result<Submission<CivicEvent, Receipt>, ApiError>,
        json: &Value,
    ) -> Result<Submission<CivicEvent, Receipt>, ApiError> {
        read(&item("events[3]", &raw(json)))
    }

    fn read(json: &Value) -> Result<Submission<CivicEvent, Receipt>, ApiError> {
        read_as(|item| either(item, &()), json)
    }

    fn refusal(json: &Value) -> String {
        show(read(json).unwrap_err())
    }

    fn show(error: ApiError) -> String {
        let error = serde_json::to_value(error).unwrap();
        let part = |part: &Value| part.as_str().unwrap().to_owned();
        let details = &error["details"];
        format!("{} {}: {}", part(&error["code"]), part(&details["field"]), part(&details["reason"]))
    }

    #[test]
    fn a_report_becomes_an_event() {
        let full = read(&json!({"report": {
            "id": "101", "occurred_at": "2011-07-01T05:00:00Z", "due_at": "2011-07-03T05:00:00Z",
            "area": " Back Bay ", "department": "PWDx", "description": " a hole ", "address": "1 Main St",
            "latitude": 42.3, "longitude": -71.0, "source": "app",
        }}))
        .unwrap();
        let expected = Body::ReportSubmitted(ReportSubmitted {
            area: "Back Bay".into(),
            description: "a hole".into(),
            due_at: Some(1_309_669_200_000),
            department: Some("PWDx".into()),
            address: Some("1 Main St".into()),
            latitude: Some(42.3),
            longitude: Some(-71.0),
            source: Some("app".into()),
        });
        assert_eq!((&full.event.body, full.event.occurred_at), (&expected, NOW - 3_600_000));
        assert_eq!((full.event.tenant.as_str(), Civic::key(&full.event).as_str()), ("boston", "boston/Back Bay"));
        assert_eq!(full.receipt.issue_id, event::issue_id("boston", "Back Bay", "101"));
        assert_eq!(Civic::route(&full.event), id::route(full.receipt.issue_id));

        let least = read(&json!({"report": {"description": "d", "area": " ", "due_at": null}})).unwrap();
        assert_eq!((Civic::key(&least.event).as_str(), least.event.occurred_at), ("boston/unknown", NOW));
        assert_eq!((least.event.event_id.as_str(), least.receipt.id.as_str()), ("new", "new"));
    }

    #[test]
    fn bare_items_are_those_of_the_other_routes() {
        let (report, status) = (
            json!({"id": "1", "description": "d"}),
            json!({"id": "2", "issue_id": Uuid::nil(), "status": "open"}),
        );
        for (bare, wrapped) in [(&report, json!({"report": report})), (&status, json!({"status": status}))] {
            let events = [read_as(|item| Civic::read(item, &()), bare), read_as(|item| Civic::read(item, &()), &wrapped), read(&wrapped)];
            let [a, b, c] = events.map(|submission| submission.unwrap().event);
            assert!(a == b && b == c, "{a:?} {b:?} {c:?}");
        }
        for (item, expected) in [
            (json!([]), "invalid_value events[3]: expected an object"),
            (json!({"status": "open"}), "invalid_value events[3].issue_id: missing"),
            (json!({"issue_id": Uuid::nil()}), "invalid_value events[3].status: missing"),
            (json!({"report": 1}), "invalid_value events[3].report: expected an object"),
            (json!({}), "invalid_value events[3].description: missing or blank"),
            (
                json!({"report": report, "status": "open"}),
                "invalid_value events[3]: expected exactly one of report and status",
            ),
        ] {
            assert_eq!(show(read_as(|item| Civic::read(item, &()), &item).unwrap_err()), expected);
        }
    }

    #[test]
    fn a_change_of_status_goes_where_its_issue_is() {
        let issue = event::issue_id("boston", "Back Bay", "101");
        for (text, status) in [
            ("open", IssueStatus::Open),
            ("in_progress", IssueStatus::InProgress),
            ("in-progress", IssueStatus::InProgress),
            ("resolved", IssueStatus::Resolved),
            ("closed", IssueStatus::Closed),
        ] {
            let change = read(&json!({"status": {"id": "1", "issue_id": issue, "status": text}})).unwrap();
            let expected = Body::IssueStatusChanged(IssueStatusChanged { issue_id: issue, status });
            assert_eq!(change.event.body, expected);
            assert_eq!(Civic::key(&change.event), format!("boston/{issue}"));
            assert_eq!(Civic::route(&change.event), id::murmur2(b"boston/Back Bay"));
        }
    }

    #[test]
    fn what_is_refused_is_named_by_its_path() {
        let issue = Uuid::from_u128(1);
        for (item, expected) in [
            (json!(7), "invalid_value events[3]: expected an object"),
            (json!({}), "invalid_value events[3]: expected exactly one of report and status"),
            (
                json!({"report": {"description": "d"}, "status": {}}),
                "invalid_value events[3]: expected exactly one of report and status",
            ),
            (json!({"report": []}), "invalid_value events[3].report: expected an object"),
            (
                json!({"reprot": {}}),
                "invalid_value events[3].reprot: unknown field `reprot`, expected `report` or `status`",
            ),
            (json!({"report": {}}), "invalid_value events[3].report.description: missing or blank"),
            (
                json!({"report": {"description": " \t"}}),
                "invalid_value events[3].report.description: missing or blank",
            ),
            (
                json!({"report": {"description": "d".repeat(8193)}}),
                "invalid_value events[3].report.description: expected at most 8192 characters",
            ),
            (
                json!({"report": {"description": 5}}),
                "invalid_value events[3].report.description: invalid type: integer `5`, expected a string",
            ),
            (
                json!({"report": {"description": "d", "area": "a".repeat(201)}}),
                "invalid_value events[3].report.area: expected at most 200 characters",
            ),
            (
                json!({"report": {"description": "d", "latitude": "42", "longitude": 1}}),
                "invalid_value events[3].report.latitude: invalid type: string \"42\", expected f64",
            ),
            (
                json!({"report": {"description": "d", "due_at": "2011-07-03T05:00:00"}}),
                "invalid_value events[3].report.due_at: \"2011-07-03T05:00:00\" has no zone: end it with Z or an offset such as -04:00",
            ),
            (
                json!({"report": {"description": "d", "occurred_at": "2011-07-02T00:00:00Z"}}),
                "future_event events[3].report.occurred_at: 2011-07-02T00:00:00Z is more than 5 minutes ahead of its arrival at 2011-07-01T06:00:00.000Z",
            ),
            (json!({"status": {"status": "open"}}), "invalid_value events[3].status.issue_id: missing"),
            (
                json!({"status": {"status": "open", "issue_id": "7"}}),
                "malformed_id events[3].status.issue_id: \"7\" is no issue's id; expected a UUID",
            ),
            (json!({"status": {"issue_id": issue}}), "invalid_value events[3].status.status: missing"),
            (
                json!({"status": {"issue_id": issue, "status": "Open"}}),
                "invalid_value events[3].status.status: \"Open\" is unknown; expected one of open, in_progress, resolved, closed",
            ),
        ] {
            assert_eq!(refusal(&item), expected);
        }
        let misspelt = refusal(&json!({"report": {"description": "d", "due": "x"}}));
        assert!(
            misspelt.starts_with("invalid_value events[3].report.due: unknown field `due`"),
            "{misspelt}"
        );
    }

    /// Any JSON, with the names that the API knows more often than chance would have them.
    fn any_json() -> impl Strategy<Value = Value> {
        let text = prop_oneof![
            any::<String>(),
            Just("2011-07-01T05:00:00Z".to_owned()),
            Just("open".to_owned()),
            Just(Uuid::nil().to_string())
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            text.prop_map(Value::from),
        ];
        let name = prop_oneof![
            proptest::sample::select(vec![
                "events",
                "report",
                "status",
                "id",
                "issue_id",
                "occurred_at",
                "due_at",
                "area",
                "department",
                "description",
                "address",
                "latitude",
                "longitude",
                "source",
            ])
            .prop_map(str::to_owned),
            any::<String>(),
        ];
        leaf.prop_recursive(5, 64, 8, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                proptest::collection::btree_map(name.clone(), inner, 0..8)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn check(error: &ApiError) {
        assert!(error.status().is_client_error(), "{error:?}");
    }

    proptest! {
        #[test]
        fn any_json_is_taken_or_refused_by_name(value in any_json()) {
            let text = value.to_string();
            let read_item = |path: &str, json: &RawValue| {
                let item = item(path, json);
                let results = [
                    either(&item, &()),
                    Civic::read(&item, &()),
                    parse(json, path).and_then(|body| report(&item, body, path)),
                    parse(json, path).and_then(|body| change(&item, Uuid::nil(), body, path)),
                ];
                for error in results.iter().filter_map(|result| result.as_ref().err()) {
                    check(error);
                }
            };
            for form in [Form::One, Form::Batch, Form::OneOrBatch] {
                match body::items(text.as_bytes(), form) {
                    Ok(body::Items::One(json)) => read_item("", json),
                    Ok(body::Items::Batch(items, _)) => items.iter().for_each(|json| read_item("events[0]", json)),
                    Err(error) => check(&error),
                }
            }
        }

        #[test]
        fn any_bytes_are_taken_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Err(error) = body::items(&bytes, Form::OneOrBatch) {
                check(&error);
            }
        }
    }
}
