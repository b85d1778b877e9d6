use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use super::json::change;
use super::*;
use crate::engine::id;
use crate::families::civic::event::{self, IssueStatus, IssueStatusChanged};
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
        let events = [
            read_as(|item| Civic::read(item, &()), bare),
            read_as(|item| Civic::read(item, &()), &wrapped),
            read(&wrapped),
        ];
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
    assert!(misspelt.starts_with("invalid_value events[3].report.due: unknown field `due`"), "{misspelt}");
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
                Ok(body::Items::Batch((items, _))) => items.iter().for_each(|json| read_item("events[0]", json)),
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
