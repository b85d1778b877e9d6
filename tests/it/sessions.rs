//! Sessions, their signals and timelines, and the incidents of the family interactions, as the API gives them out. The rows are
//! put on their topics here, as an operator would: no worker runs.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde::Serialize;
use serde_json::{Value, json};
use tidewatch::codec;
use tidewatch::engine::id;
use tidewatch::engine::rows::{Evidence, OutputEnd, Progress, RowMeta};
use tidewatch::families::incident::{Incident, Severity};
use tidewatch::families::interactions::event::{
    Body, Custom, Failure, FailureKind, Field, FieldKind, Interaction, Moves, Mutation, Navigation,
    NavigationKind, Page, PageKind, Point, Pointer, PointerKind, Request, Scroll, Submit, Target, Validation,
};
use tidewatch::families::interactions::frustration::rows::{Session, Signal};
use uuid::Uuid;

use crate::live::Client;
use crate::system::{KEY, OTHER_KEY, Process, System, eventually};
use crate::tables;

/// Appends rows to a topic, each under its key.
pub fn emit<T: Serialize>(system: &System, topic: &'static str, rows: impl IntoIterator<Item = (String, T)>) {
    let producer: BaseProducer = system.log.producer().create().unwrap();
    let (schema, name) = (codec::newest(topic).unwrap(), system.log.name(topic));
    for (key, row) in rows {
        let value = schema.encode(&row).unwrap();
        let record = BaseRecord::to(&name).key(&key).payload(&value);
        producer.send(record).unwrap();
    }
    producer.flush(Duration::from_secs(30)).unwrap();
}

pub fn now() -> i64 {
    Timestamp::now().as_millisecond()
}

fn rfc3339(millis: i64) -> String {
    Timestamp::from_millisecond(millis).unwrap().to_string()
}

/// What names a row of a tenant's session: the row of that number, as it is after `offset` records.
pub fn meta(tenant: &str, session: &str, number: u128, offset: i64) -> RowMeta {
    let evidence = Evidence { count: 1, topic: "interactions".into(), partition: 0, offsets: vec![999_999] };
    RowMeta {
        id: Uuid::from_u128(number),
        version: id::version(0, offset, 0),
        retracted: false,
        is_final: false,
        merged_into: None,
        tenant: tenant.into(),
        key: format!("{tenant}/{session}").into(),
        operator: "frustration".into(),
        operator_version: 1,
        settings_version: 0,
        first_arrival: now(),
        evidence,
    }
}

/// A session from `started_at` to `ended_at`, without anything in it.
pub fn session(meta: RowMeta, session: &str, started_at: i64, ended_at: i64) -> Session {
    Session {
        meta,
        session_id: session.into(),
        user: None,
        device: None,
        browser: None,
        os: Some("Linux".into()),
        started_at,
        ended_at,
        duration_ms: ended_at - started_at,
        active_ms: ended_at - started_at,
        closed: false,
        events: 2,
        counts: [("click".into(), 2)].into(),
        routes: vec!["/".into()],
        pages: vec!["https://shop.example/".into()],
        entry: "/".into(),
        exit: "/".into(),
        errors: 0,
        signals: 0,
        score: 0,
        truncated: false,
    }
}

/// A signal of `rule` at `at`, part of an incident.
pub fn signal(meta: RowMeta, session: &str, rule: &str, at: i64, incident: Option<u128>) -> Signal {
    Signal {
        meta,
        session_id: session.into(),
        rule: rule.into(),
        route: "/checkout".into(),
        element: Some("button.pay".into()),
        element_id: Some("f00d".into()),
        started_at: at,
        ended_at: at + 900,
        count: 3,
        weight: 400,
        is_error: false,
        incident_id: incident.map(Uuid::from_u128),
    }
}

/// An incident of the family interactions that holds signals of `rules` together.
pub fn incident(meta: RowMeta, session: &str, rules: &str, started_at: i64) -> Incident {
    let attributes = [("route", "/checkout"), ("session", session), ("rules", rules), ("score", "72")];
    Incident {
        meta,
        family: "interactions".into(),
        rule: "frustration".into(),
        severity: Severity::High,
        subject: session.into(),
        title: format!("Frustration of {session}").into(),
        started_at,
        ended_at: Some(started_at + 2_000),
        attributes: attributes.map(|(name, value)| (name.into(), value.into())).into(),
    }
}

fn keyed<T>(rows: impl IntoIterator<Item = T>, meta: impl Fn(&T) -> &RowMeta) -> Vec<(String, T)> {
    rows.into_iter().map(|row| (meta(&row).key.to_string(), row)).collect()
}

pub fn emit_sessions(system: &System, rows: impl IntoIterator<Item = Session>) {
    emit(system, "sessions", keyed(rows, |row| &row.meta));
}

pub fn emit_signals(system: &System, rows: impl IntoIterator<Item = Signal>) {
    emit(system, "signals", keyed(rows, |row| &row.meta));
}

pub fn emit_incidents(system: &System, rows: impl IntoIterator<Item = Incident>) {
    emit(system, "incidents", keyed(rows, |row| &row.meta));
}

pub fn emit_events(system: &System, events: impl IntoIterator<Item = Interaction>) {
    emit(system, "interactions", events.into_iter().map(|event| (event.record_key(), event)));
}

/// The ids that a list gives out, page after page, which begin at `path`.
async fn ids(node: &Process, key: &str, path: &str, rows: &str) -> Vec<String> {
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    loop {
        let (status, page) = node.get(key, &format!("{path}{cursor}")).await;
        assert_eq!(status, 200, "{path}: {page}");
        ids.extend(page[rows].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next_cursor"].as_str() else { return ids };
        cursor = format!("{}cursor={next}", if path.contains('?') { '&' } else { '?' });
    }
}

fn names(numbers: impl IntoIterator<Item = u128>) -> BTreeSet<String> {
    numbers.into_iter().map(|number| Uuid::from_u128(number).to_string()).collect()
}

const SESSIONS: u128 = 25;

/// The session of a number, all of whose traits follow from it.
fn numbered(number: u128, at: i64) -> Session {
    let name = format!("s-{number}");
    let (index, started_at) = (number as usize, at + 1_000 * number as i64);
    // Two of them arrive at the same time.
    let meta =
        RowMeta { first_arrival: at + 1_000 * (number as i64 / 2), ..meta("boston", &name, number, 5) };
    Session {
        user: Some(format!("user-{}", number % 3).into()),
        device: Some(["desktop", "mobile"][index % 2].into()),
        routes: vec!["/".into(), format!("/route-{}", number % 4).into()],
        score: 4 * number as i32,
        closed: number.is_multiple_of(5),
        ..session(meta, &name, started_at, started_at + 10_000)
    }
}

/// Filters, pages and tenants; what is corrected and retracted while somebody turns the pages; and the views are the folds of
/// their topics.
#[tokio::test(flavor = "multi_thread")]
async fn i9_lists_of_sessions_follow_corrections_and_retractions() {
    let system = System::new("").await;
    let sink = system.start_ready("sink", &[]).await;
    let serve = system.start_ready("serve", &[]).await;
    let at = now() - 60_000;
    emit_sessions(&system, (1..=SESSIONS).map(|number| numbered(number, at)));
    emit_sessions(&system, [session(meta("salem", "s-1", 100, 5), "s-1", at, at)]);
    system.stored().await;
    eventually("all sessions", async || {
        let (_, page) = serve.get(KEY, "/v1/sessions").await;
        (page["total"] == json!(SESSIONS)).then_some(())
    })
    .await;

    let (from, to) = (rfc3339(at + 5_000), rfc3339(at + 9_000));
    let filters: [(&str, &dyn Fn(u128) -> bool); 10] = [
        ("limit=1000", &|_| true),
        ("user=user-1", &|number| number % 3 == 1),
        ("device=mobile", &|number| number % 2 == 1),
        ("route=/route-2", &|number| number % 4 == 2),
        ("route=/", &|_| true),
        ("min_score=50", &|number| 4 * number >= 50),
        ("closed=true", &|number| number.is_multiple_of(5)),
        ("closed=false&user=user-0", &|number| !number.is_multiple_of(5) && number.is_multiple_of(3)),
        ("session=s-7", &|number| number == 7),
        (&format!("from={from}&to={to}"), &|number| (5..9).contains(&number)),
    ];
    for (filter, is_left) in &filters {
        let expected = names((1..=SESSIONS).filter(|number| is_left(*number)));
        let whole = ids(&serve, KEY, &format!("/v1/sessions?{filter}"), "sessions").await;
        assert_eq!(whole.len(), expected.len(), "{filter}");
        assert_eq!(whole.iter().cloned().collect::<BTreeSet<_>>(), expected, "{filter}");
        if !filter.contains("limit") {
            let paged = ids(&serve, KEY, &format!("/v1/sessions?{filter}&limit=2"), "sessions").await;
            assert_eq!(paged, whole, "{filter}: pages hold the same in the same order");
        }
    }
    let (_, page) = serve.get(KEY, "/v1/sessions?limit=7").await;
    let arrivals: Vec<&str> = page["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["first_arrival"].as_str().unwrap())
        .collect();
    assert!(arrivals.is_sorted_by(|one, other| one >= other), "the last to arrive first: {arrivals:?}");
    assert_eq!(page["total"], json!(SESSIONS));
    assert_eq!(ids(&serve, OTHER_KEY, "/v1/sessions", "sessions").await, [Uuid::from_u128(100).to_string()]);
    let of_boston = format!("/v1/sessions/{}", Uuid::from_u128(1));
    assert_eq!(serve.get(OTHER_KEY, &of_boston).await.0, 404, "another tenant's");

    // One that was shown is retracted, one that is to come is corrected, one comes anew: the rest is neither lost nor repeated.
    let mut retracted = numbered(25, at);
    (retracted.meta.version, retracted.meta.retracted) = (id::version(0, 6, 0), true);
    let mut corrected = numbered(1, at);
    (corrected.meta.version, corrected.score) = (id::version(0, 6, 0), 99);
    emit_sessions(&system, [retracted, corrected, numbered(26, at)]);
    system.stored().await;
    let next = page["next_cursor"].as_str().unwrap();
    let rest = ids(&serve, KEY, &format!("/v1/sessions?cursor={next}"), "sessions").await;
    let shown = page["sessions"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned());
    let all: Vec<String> = shown.chain(rest).collect();
    assert_eq!(all.iter().cloned().collect::<BTreeSet<_>>(), names(1..=SESSIONS));
    assert_eq!(all.len(), SESSIONS as usize);
    eventually("the lists as they are now", async || {
        let now = ids(&serve, KEY, "/v1/sessions?limit=1000", "sessions").await;
        let grave = ids(&serve, KEY, "/v1/sessions?min_score=97", "sessions").await;
        let expected = names((1..=24).chain([26]));
        let is_so = now.into_iter().collect::<BTreeSet<_>>() == expected
            && grave.into_iter().collect::<BTreeSet<_>>() == names([1, 26]);
        is_so.then_some(())
    })
    .await;
    for topic in ["sessions", "signals"] {
        tables::assert_view_follows(&system, topic).await;
    }
    assert!(sink.terminate().await.success());
}

/// No sink runs after a while: by id and in a list a node shows what it has seen on the log, and never goes back behind it.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_never_older_than_what_the_node_has_seen() {
    let system = System::new("").await;
    let sink = system.start_ready("sink", &[]).await;
    let serve = system.start_ready("serve", &[]).await;
    let at = now() - 60_000;
    let version = |number: u128, offset: i64, score: i32| {
        let mut row = numbered(number, at);
        (row.meta.version, row.score) = (id::version(0, offset, 0), score);
        // In one partition: who has seen the last of them has seen them all.
        row.meta.key = "boston/s".into();
        row
    };
    emit_sessions(&system, [version(1, 5, 80), version(2, 5, 80)]);
    system.stored().await;
    assert!(sink.terminate().await.success());

    let path = |number: u128| format!("/v1/sessions/{}", Uuid::from_u128(number));
    let score = async |number: u128| {
        let (status, row) = serve.get(KEY, &path(number)).await;
        (status == 200).then(|| row["score"].as_i64().unwrap())
    };
    assert_eq!((score(1).await, score(2).await), (Some(80), Some(80)));
    let mut gone = version(2, 6, 80);
    gone.meta.retracted = true;
    // What a zombie writes late says nothing any more.
    emit_sessions(
        &system,
        [version(1, 9, 30), version(1, 7, 50), gone, version(2, 5, 80), version(3, 5, 10)],
    );
    eventually("the last of those", async || (score(3).await == Some(10)).then_some(())).await;
    assert_eq!((score(1).await, score(2).await), (Some(30), None));
    let (_, list) = serve.get(KEY, "/v1/sessions").await;
    let scores = list["sessions"].as_array().unwrap().iter().map(|row| row["score"].as_i64().unwrap());
    assert_eq!(scores.collect::<Vec<_>>(), [30], "{list}");
    assert_eq!(list["total"], json!(1), "{list}");
    let (_, list) = serve.get(KEY, "/v1/sessions?min_score=70").await;
    assert_eq!(
        (&list["sessions"], &list["total"]),
        (&json!([]), &json!(0)),
        "in memory the same filter holds"
    );
}

/// A signal is part of one incident, and a correction may make it part of another.
#[tokio::test(flavor = "multi_thread")]
async fn i9_an_incident_has_the_signals_that_are_part_of_it_now() {
    let system = System::new("").await;
    let _sink = system.start_ready("sink", &[]).await;
    let serve = system.start_ready("serve", &[]).await;
    let at = now() - 60_000;
    let named = |number, offset| meta("boston", "s-1", number, offset);
    emit_incidents(
        &system,
        [
            incident(named(1, 5), "s-1", "dead_click,rage_click", at),
            incident(named(2, 5), "s-1", "error_click", at + 40_000),
            incident(meta("salem", "s-1", 3, 5), "s-1", "rage_click", at),
        ],
    );
    emit_signals(
        &system,
        [
            signal(named(11, 5), "s-1", "rage_click", at, Some(1)),
            signal(named(12, 5), "s-1", "dead_click", at + 1_000, Some(1)),
            signal(named(13, 5), "s-1", "error_click", at + 40_000, Some(2)),
            signal(named(14, 5), "s-2", "rage_click", at + 2_000, None),
            signal(meta("salem", "s-1", 15, 5), "s-1", "rage_click", at, Some(3)),
        ],
    );
    system.stored().await;
    let of = |number: u128| format!("/v1/incidents/{}/signals", Uuid::from_u128(number));
    let found = async |key: &str, path: &str, rows: &str| {
        ids(&serve, key, path, rows).await.into_iter().collect::<BTreeSet<_>>()
    };
    eventually("the signals", async || (found(KEY, "/v1/signals", "signals").await.len() == 4).then_some(()))
        .await;
    for (path, numbers) in [
        ("/v1/signals?session=s-1", vec![11, 12, 13]),
        ("/v1/signals?rule=rage_click", vec![11, 14]),
        ("/v1/signals?rule=rage_click&session=s-1", vec![11]),
        ("/v1/signals?route=/checkout", vec![11, 12, 13, 14]),
        ("/v1/signals?route=/", vec![]),
        (&format!("/v1/signals?from={}&to={}", rfc3339(at + 1_000), rfc3339(at + 40_000)), vec![12, 14]),
        (&of(1), vec![11, 12]),
        (&format!("{}?limit=1", of(1)), vec![11, 12]),
        (&of(2), vec![13]),
    ] {
        assert_eq!(found(KEY, path, "signals").await, names(numbers), "{path}");
    }
    for (path, numbers) in [
        ("/v1/incidents?rule=frustration", vec![1, 2]),
        ("/v1/incidents?rule=rage_click", vec![1]),
        ("/v1/incidents?rule=click", vec![]),
        ("/v1/incidents?rule=", vec![]),
        ("/v1/incidents?rule=error_click&family=interactions", vec![2]),
        ("/v1/incidents?route=/checkout", vec![1, 2]),
        ("/v1/incidents?route=/", vec![]),
        ("/v1/incidents?session=s-1&severity=high", vec![1, 2]),
        ("/v1/incidents?session=s-2", vec![]),
        ("/v1/incidents?session=s-1&attribute.score=71", vec![]),
    ] {
        assert_eq!(found(KEY, path, "incidents").await, names(numbers), "{path}");
    }
    assert_eq!(serve.get(OTHER_KEY, &of(1)).await.0, 404, "another tenant's");
    assert_eq!(found(OTHER_KEY, "/v1/signals", "signals").await, names([15]));
    assert_eq!(serve.get(KEY, &of(9)).await.0, 404, "there is none");

    // A late record: one signal was no part of it, another is none at all.
    let moved = signal(named(12, 6), "s-1", "dead_click", at + 1_000, Some(2));
    let mut gone = signal(named(11, 6), "s-1", "rage_click", at, Some(1));
    gone.meta.retracted = true;
    emit_signals(&system, [moved, gone]);
    eventually("what is part of each now", async || {
        let (first, second) = (found(KEY, &of(1), "signals").await, found(KEY, &of(2), "signals").await);
        (first.is_empty() && second == names([12, 13])).then_some(())
    })
    .await;
}

fn target(selector: &str) -> Target {
    Target { selector: selector.into(), tag: "button".into(), interactive: true, ..Target::default() }
}

/// What can happen: of each kind one, and of kinds that have kinds each.
fn bodies() -> Vec<Body> {
    let pointer = |kind| {
        Body::Pointer(Pointer {
            kind,
            x: 5,
            y: 6,
            viewport_width: Some(1280),
            viewport_height: None,
            target: target("button.pay"),
            selected_text: false,
        })
    };
    let field = |kind| Body::Field(Field { kind, target: target("#name"), form: Some("checkout".into()) });
    let mut bodies = vec![
        Body::Submit(Submit { form: "checkout".into(), failed: Some(true) }),
        Body::Validation(Validation { form: "checkout".into(), target: None, code: Some("required".into()) }),
        Body::Scroll(Scroll { x: 0, y: 700 }),
        Body::Moves(Moves { points: vec![Point { after: 0, x: 1, y: 2 }, Point { after: 16, x: 3, y: 4 }] }),
        Body::Navigation(Navigation { kind: NavigationKind::Push }),
        Body::Mutation(Mutation { added: 1, removed: 2, attributes: 3, texts: 4 }),
        Body::Request(Request {
            method: "POST".into(),
            route: "/api/pay".into(),
            status: 500,
            duration_ms: 90,
        }),
        Body::Error(Failure {
            kind: FailureKind::Javascript,
            message: "x is undefined".into(),
            name: Some("TypeError".into()),
            source: None,
        }),
        Body::Custom(Custom { name: "coupon".into(), fields: [("kind".into(), "gift".into())].into() }),
    ];
    bodies.extend([PointerKind::Click, PointerKind::DoubleClick, PointerKind::ContextClick].map(pointer));
    let fields = [FieldKind::Key, FieldKind::Input, FieldKind::Change, FieldKind::Focus, FieldKind::Blur];
    bodies.extend(fields.map(field));
    bodies.extend([PageKind::Show, PageKind::Hide, PageKind::Unload].map(|kind| Body::Page(Page { kind })));
    bodies
}

/// An event of a tenant's session.
pub fn event(tenant: &str, session: &str, tab: &str, seq: Option<i64>, at: i64, body: Body) -> Interaction {
    Interaction {
        tenant: tenant.into(),
        session_id: session.into(),
        tab_id: tab.into(),
        window_id: None,
        page_view_id: None,
        event_id: None,
        seq,
        occurred_at: at,
        device_time: None,
        url: Some("https://shop.example/checkout".into()),
        route: "/checkout".into(),
        user: None,
        device: None,
        browser: None,
        os: None,
        sdk: None,
        body,
    }
}

/// A click on the button that the signals here are about.
pub fn click(tenant: &str, session: &str, seq: i64, at: i64) -> Interaction {
    let pointer = Pointer {
        kind: PointerKind::Click,
        x: 5,
        y: 6,
        viewport_width: None,
        viewport_height: None,
        target: target("button.pay"),
        selected_text: false,
    };
    event(tenant, session, "", Some(seq), at, Body::Pointer(pointer))
}

/// A session as it happened, whatever order its events came in and however often; in pages, each signal beside one of them;
/// without what is another session's, time's or tenant's.
#[tokio::test(flavor = "multi_thread")]
async fn i6_a_timeline_has_each_event_once_in_the_order_of_what_happened() {
    let system = System::new("").await;
    let _sink = system.start_ready("sink", &[]).await;
    let serve = system.start_ready("serve", &[]).await;
    let at = now() - 600_000;
    let first_arrival = now();
    let kinds = bodies();
    let last = at + 1_000 * (kinds.len() as i64 - 1);
    let mut expected: Vec<Interaction> = (0..)
        .zip(&kinds)
        .map(|(seq, body)| event("boston", "s-1", "a", Some(seq), at + 1_000 * seq, body.clone()))
        .collect();
    // In the other tab at the same instants; and one that is known by its id.
    expected.extend((4..7).map(|seq| {
        event("boston", "s-1", "b", Some(seq), at + 1_000 * seq, Body::Scroll(Scroll { x: 0, y: 1 }))
    }));
    let by_id = Interaction {
        event_id: Some("e-1".into()),
        ..event("boston", "s-1", "a", None, at + 2_500, Body::Scroll(Scroll { x: 0, y: 2 }))
    };
    expected.push(by_id.clone());
    // As it came: the last first. Then again, part of it with times that were corrected anew.
    let mut arriving: Vec<Interaction> = expected.iter().rev().cloned().collect();
    arriving.extend(
        expected
            .iter()
            .take(5)
            .map(|event| Interaction { occurred_at: event.occurred_at + 7, ..event.clone() }),
    );
    arriving.extend([by_id.clone(), Interaction { occurred_at: by_id.occurred_at + 900, ..by_id }]);
    arriving.extend([
        click("boston", "s-1", 900, at - 1),
        click("boston", "s-1", 901, last + 1),
        click("boston", "s-2", 1, at + 1_000),
        click("salem", "s-1", 1, at + 1_000),
    ]);
    emit_events(&system, arriving);
    let of = |tenant, number| RowMeta { first_arrival, ..meta(tenant, "s-1", number, 5) };
    let named = |number| of("boston", number);
    emit_sessions(
        &system,
        [
            session(named(1), "s-1", at, last),
            // The same name, hours before.
            session(named(2), "s-1", at - 7_200_000, at - 7_100_000),
            session(of("salem", 3), "s-1", at, last),
        ],
    );
    emit_signals(
        &system,
        [
            signal(named(11), "s-1", "rage_click", at, None),
            signal(named(12), "s-1", "dead_click", at + 3_000, None),
            signal(named(13), "s-1", "error_click", at + 3_001, None),
            signal(named(14), "s-1", "quick_back", last, None),
            signal(named(15), "s-1", "quick_back", at - 7_150_000, None),
            signal(named(16), "s-2", "rage_click", at + 5_000, None),
        ],
    );
    system.stored().await;

    expected.sort_by_key(|event| (event.occurred_at, event.tab_id.clone(), event.seq));
    let expected: Vec<_> = expected
        .iter()
        .map(|event| {
            json!([event.kind(), rfc3339(event.occurred_at), event.tab_id, event.seq, event.event_id])
        })
        .collect();
    let at_text = |event: &Value| {
        rfc3339(event["occurred_at"].as_str().unwrap().parse::<Timestamp>().unwrap().as_millisecond())
    };
    let shown = |events: &Value| -> Vec<Value> {
        let shown = |event: &Value| {
            json!([event["type"], at_text(event), event["tab_id"], event["seq"], event["event_id"]])
        };
        events.as_array().unwrap().iter().map(shown).collect()
    };
    let rules = |page: &Value| -> Vec<String> {
        let rules = page["signals"].as_array().unwrap().iter();
        rules.map(|signal| signal["rule"].as_str().unwrap().to_owned()).collect()
    };
    let path = format!("/v1/sessions/{}/timeline", Uuid::from_u128(1));
    let whole = eventually("the timeline", async || {
        let (status, page) = serve.get(KEY, &path).await;
        let is_whole = status == 200
            && page["events"].as_array()?.len() >= expected.len()
            && page["signals"].as_array()?.len() >= 4;
        is_whole.then_some(page)
    })
    .await;
    assert_eq!(shown(&whole["events"]), expected);
    assert_eq!(rules(&whole), ["rage_click", "dead_click", "error_click", "quick_back"]);
    assert_eq!(whole["next_cursor"], Value::Null);
    let request =
        whole["events"].as_array().unwrap().iter().find(|event| event["type"] == "request").unwrap();
    assert_eq!(
        request["body"],
        json!({ "method": "POST", "route": "/api/pay", "status": 500, "duration_ms": 90 })
    );

    for limit in [1, 4, 7] {
        let (mut events, mut signals, mut cursor) = (Vec::new(), Vec::new(), String::new());
        loop {
            let (status, page) = serve.get(KEY, &format!("{path}?limit={limit}{cursor}")).await;
            assert_eq!(status, 200, "{page}");
            events.extend(shown(&page["events"]));
            signals.extend(rules(&page));
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(events, expected, "in pages of {limit}");
        assert_eq!(signals, rules(&whole), "in pages of {limit}");
    }
    let (from, to) = (rfc3339(at + 2_000), rfc3339(at + 4_000));
    let (_, part) = serve.get(KEY, &format!("{path}?from={from}&to={to}")).await;
    let expected: Vec<Value> = expected
        .into_iter()
        .filter(|event| (from.as_str()..to.as_str()).contains(&event[1].as_str().unwrap()))
        .collect();
    assert_eq!(
        (shown(&part["events"]), rules(&part)),
        (expected, vec!["dead_click".into(), "error_click".into()])
    );
    assert_eq!(serve.get(OTHER_KEY, &path).await.0, 404, "another tenant's");
    let (_, other) = serve.get(OTHER_KEY, &format!("/v1/sessions/{}/timeline", Uuid::from_u128(3))).await;
    assert_eq!((other["events"].as_array().unwrap().len(), &other["signals"]), (1, &json!([])));
}

/// A timeline is as far as the last of what it is made of: sessions, signals, and the raw events.
#[tokio::test(flavor = "multi_thread")]
async fn a_timeline_says_how_far_it_goes() {
    let system = System::new("").await;
    let sink = system.start_ready("sink", &[]).await;
    let serve = system.start_ready("serve", &[]).await;
    let at = now() - 60_000;
    emit_sessions(&system, [session(meta("boston", "s-1", 1, 5), "s-1", at, at + 10_000)]);
    emit_events(&system, [click("boston", "s-1", 1, at)]);
    system.stored().await;
    let place = |topic: &str| {
        let records = system.read_committed(topic).into_iter();
        let mut last = records.filter_map(|(partition, records)| Some((partition, records.last()?.offset())));
        last.next_back().unwrap()
    };
    let ((partition, offset), (out, end)) = (place("interactions"), place("sessions"));
    let folded = |offset: i64| Progress {
        topic: "interactions".into(),
        partition,
        operator: "frustration".into(),
        offset: offset + 1,
        clock: at,
        settings_version: 0,
        outputs: vec![OutputEnd { topic: "sessions".into(), partition: out, offset: end + 1 }],
    };
    emit(&system, "progress", [("progress".to_owned(), folded(offset))]);
    let path = |offset: i64| {
        let session = Uuid::from_u128(1);
        format!("/v1/sessions/{session}/timeline?min_as_of=interactions:{partition}@{offset}")
    };
    let (status, page) = serve.get(KEY, &path(offset)).await;
    assert_eq!((status, &page["stale"]), (200, &json!(false)), "{page}");
    assert_eq!(page["as_of"], json!(format!("interactions:{partition}@{offset}")));
    assert_eq!(page["events"].as_array().unwrap().len(), 1);

    // The sessions have come further, the raw events have not.
    assert!(sink.terminate().await.success());
    emit_events(&system, [click("boston", "s-1", 2, at + 1)]);
    let (_, next) = place("interactions");
    emit(&system, "progress", [("progress".to_owned(), folded(next))]);
    let session = format!("/v1/sessions/{}?min_as_of=interactions:{partition}@{next}", Uuid::from_u128(1));
    eventually("the session that far", async || {
        (serve.get(KEY, &session).await.1["stale"] == json!(false)).then_some(())
    })
    .await;
    let (status, page) = serve.get(KEY, &path(next)).await;
    assert_eq!((status, &page["stale"]), (200, &json!(true)), "{page}");
    assert_eq!(
        page["as_of"],
        json!(format!("interactions:{partition}@{offset}")),
        "the events are not there yet"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_asked_is_refused_by_name() {
    let system = System::new("").await;
    let serve = system.start_ready("serve", &[]).await;
    let none = Uuid::from_u128(7);
    for (path, field) in [
        ("/v1/signals?rul=rage_click", "rul"),
        ("/v1/signals?from=yesterday", "from"),
        ("/v1/signals?cursor=x", "cursor"),
        ("/v1/signals?incident=1", "incident"),
        ("/v1/sessions?min_score=101", "min_score"),
        ("/v1/sessions?min_score=much", "min_score"),
        ("/v1/sessions?closed=perhaps", "closed"),
        ("/v1/sessions?limit=0", "limit"),
        (&format!("/v1/sessions/{none}?limit=5"), "limit"),
        (&format!("/v1/sessions/{none}/timeline?limit=1001"), "limit"),
        (&format!("/v1/sessions/{none}/timeline?cursor=AAAA"), "cursor"),
        (&format!("/v1/sessions/{none}/timeline?rule=x"), "rule"),
        (&format!("/v1/incidents/{none}/signals?rule=x"), "rule"),
    ] {
        let (status, answer) = serve.get(KEY, path).await;
        assert_eq!((status, &answer["error"]["details"]["field"]), (422, &json!(field)), "{path}: {answer}");
    }
    for path in ["/v1/sessions/7", "/v1/sessions/7/timeline", "/v1/incidents/7/signals"] {
        assert_eq!(serve.get(KEY, path).await.0, 404, "{path}");
    }
}

/// The stream has the same filters. Which rules an incident holds together may have changed: its retraction is told all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_tells_of_incidents_by_the_rules_of_their_signals() {
    let system = System::new("").await;
    let serve = system.start_ready("serve", &[]).await;
    let path = "/v1/incidents/stream?family=interactions&rule=rage_click&session=s-1";
    let mut client = Client::connect(&serve, KEY, path, None).await;
    assert!(client.next().await.unwrap().name.is_empty(), "first where it stands");
    let row = |number, offset, session, rules| {
        // In one partition, so in this order.
        let meta = RowMeta { key: "boston/s".into(), ..meta("boston", session, number, offset) };
        incident(meta, session, rules, now())
    };
    let mut gone = row(1, 6, "s-1", "dead_click");
    gone.meta.retracted = true;
    let rows = [
        row(1, 5, "s-1", "dead_click"),
        row(2, 5, "s-2", "rage_click"),
        row(3, 5, "s-1", "dead_click,rage_click"),
        gone,
        row(4, 5, "s-1", "rage_click"),
    ];
    emit_incidents(&system, rows);
    let mut told = Vec::new();
    for _ in 0..3 {
        let event = client.next_incident().await;
        told.push((event.name, event.data["id"].as_str().unwrap().to_owned()));
    }
    let id = |number| Uuid::from_u128(number).to_string();
    let expected = [("incident", id(3)), ("retraction", id(1)), ("incident", id(4))];
    assert_eq!(told, expected.map(|(name, id)| (name.to_owned(), id)));
}
