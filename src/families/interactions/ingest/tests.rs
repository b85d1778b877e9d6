//! From JSON to the log's event, and what no error repeats.

use proptest::prelude::*;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::*;
use crate::families::interactions::event::{
    Body, FailureKind, FieldKind, NavigationKind, PageKind, Point, PointerKind,
};
use crate::ingest::body;
use crate::ingest::body::{Items, Shared};

/// 2011-07-01T06:00:00Z
const NOW: Millis = 1_309_500_000_000;

fn privacy() -> Privacy {
    Interactions::rules(&IngestConfig::default(), &Secret::from("tests"))
}

/// Each event of a body, as of `arrival`.
fn read_all(arrival: Arrival, body: &Value) -> Result<Vec<Result<Interaction, ApiError>>, ApiError> {
    let text = body.to_string();
    let read = |path: &str, json: &RawValue, shared: Shared<'_>| {
        let item = Item { tenant: "boston", arrival, new_id: &|| "new".to_owned(), path, json, shared };
        super::read(&item, &privacy()).map(|submission| submission.event)
    };
    Ok(match body::items(text.as_bytes(), Form::OneOrBatchSharing)? {
        Items::One(json) => vec![read("", json, Shared::default())],
        Items::Batch((items, shared)) => {
            items.iter().enumerate().map(|(i, json)| read(&format!("events[{i}]"), json, shared)).collect()
        }
    })
}

fn read(body: &Value) -> Result<Interaction, ApiError> {
    read_all(Arrival::At(NOW), body)?.remove(0)
}

/// An event of a type with its own fields, in session `s`.
fn event(kind: &str, own: Value) -> Value {
    let mut event = json!({"type": kind, "session_id": "s"});
    for (name, value) in own.as_object().unwrap() {
        event[name] = value.clone();
    }
    event
}

fn show(error: ApiError) -> String {
    let error = serde_json::to_value(error).unwrap();
    let part = |part: &Value| part.as_str().unwrap_or_default().to_owned();
    format!(
        "{} {}: {}",
        part(&error["code"]),
        part(&error["details"]["field"]),
        part(&error["details"]["reason"])
    )
}

/// An event that holds all that its type can.
fn whole(kind: &str) -> Value {
    let target =
        json!({"selector": "#a", "tag": "button", "role": "button", "text_hash": "1f", "interactive": true});
    event(
        kind,
        match kind {
            "click" | "double_click" | "context_click" => {
                json!({"x": 1.6, "y": -2, "viewport": {"width": 800, "height": 600}, "target": target, "selected_text": true})
            }
            "key" | "input" | "change" | "focus" | "blur" => json!({"target": target, "form": "f"}),
            "submit" => json!({"form": "f", "failed": true}),
            "validation_error" => json!({"form": "f", "target": target, "code": "required"}),
            "scroll" => json!({"x": 0, "y": 100}),
            "move" => json!({"points": [[0, 1, 2], [16, 3.5, 4]]}),
            "navigation" => json!({"navigation": "back"}),
            "mutation" => json!({"added": 1, "removed": 2, "attributes": 3, "texts": 4}),
            "request" => {
                json!({"method": "get", "request_url": "/api/7?q=x", "status": 503, "duration_ms": 12.5})
            }
            "error" => {
                json!({"error": "resource", "message": "m", "name": "TypeError", "source": "https://s.example/app.js?v=7"})
            }
            "custom" => json!({"name": "n", "fields": {"a": "b", "c": 1.5, "d": true}}),
            _ => json!({}),
        },
    )
}

const KINDS: [&str; 20] = [
    "click",
    "double_click",
    "context_click",
    "key",
    "input",
    "change",
    "focus",
    "blur",
    "submit",
    "validation_error",
    "scroll",
    "move",
    "navigation",
    "page_show",
    "page_hide",
    "page_unload",
    "mutation",
    "request",
    "error",
    "custom",
];

#[test]
fn each_type_becomes_what_it_is_named() {
    for kind in KINDS {
        assert_eq!(read(&whole(kind)).unwrap().kind(), kind);
    }
}

#[test]
fn the_fields_of_each_type_are_taken() {
    let body = |kind: &str| read(&whole(kind)).unwrap().body;
    let Body::Pointer(pointer) = body("double_click") else { panic!() };
    assert_eq!((pointer.kind, pointer.x, pointer.y), (PointerKind::DoubleClick, 2, -2));
    assert_eq!(
        (pointer.viewport_width, pointer.viewport_height, pointer.selected_text),
        (Some(800), Some(600), true)
    );
    assert!(pointer.target.interactive && pointer.target.selector == "#a");
    let Body::Field(field) = body("blur") else { panic!() };
    assert_eq!(
        (field.kind, field.form.as_deref(), field.target.tag.as_str()),
        (FieldKind::Blur, Some("f"), "button")
    );
    let Body::Submit(submit) = body("submit") else { panic!() };
    assert_eq!((submit.form.as_str(), submit.failed), ("f", Some(true)));
    let Body::Validation(validation) = body("validation_error") else { panic!() };
    assert_eq!((validation.code.as_deref(), validation.target.is_some()), (Some("required"), true));
    let Body::Moves(moves) = body("move") else { panic!() };
    assert_eq!(moves.points, [Point { after: 0, x: 1, y: 2 }, Point { after: 16, x: 4, y: 4 }]);
    let Body::Navigation(navigation) = body("navigation") else { panic!() };
    assert_eq!(navigation.kind, NavigationKind::Back);
    let Body::Page(page) = body("page_hide") else { panic!() };
    assert_eq!(page.kind, PageKind::Hide);
    let Body::Mutation(mutation) = body("mutation") else { panic!() };
    assert_eq!((mutation.added, mutation.removed, mutation.attributes, mutation.texts), (1, 2, 3, 4));
    let Body::Request(request) = body("request") else { panic!() };
    assert_eq!((request.method.as_str(), request.route.as_str()), ("GET", "/api/:id"));
    assert_eq!((request.status, request.duration_ms), (503, 13));
    let Body::Error(failure) = body("error") else { panic!() };
    assert_eq!(
        (failure.kind, failure.source.as_deref()),
        (FailureKind::Resource, Some("https://s.example/app.js?v"))
    );
    let Body::Custom(custom) = body("custom") else { panic!() };
    assert_eq!(custom.fields.len(), 3);
    assert_eq!(custom.fields["c"], "1.5");
}

#[test]
fn an_event_is_named_by_its_id_or_its_count_or_else_anew() {
    let named = |own: Value| {
        let event = read(&event("page_show", own)).unwrap();
        (event.event_id.as_deref().map(str::to_owned), event.seq, event.identity().name().into_owned())
    };
    assert_eq!(named(json!({})), (Some("new".into()), None, "new".into()));
    assert_eq!(named(json!({"id": "e"})), (Some("e".into()), None, "e".into()));
    assert_eq!(named(json!({"seq": 0, "tab_id": "t"})), (None, Some(0), "t/0".into()));
}

#[test]
fn a_batchs_context_counts_where_an_event_lacks_it() {
    let batch = json!({
        "context": {"session_id": "s", "tab_id": "t", "url": "https://s.example/orders/77", "user": "ann", "browser": "Firefox 130"},
        "events": [{"type": "page_show"}, {"type": "page_show", "tab_id": "u", "route": "/other", "browser": null}],
    });
    let events = read_all(Arrival::At(NOW), &batch).unwrap();
    let [one, two] = events.try_into().map(|events: [_; 2]| events.map(Result::unwrap)).unwrap();
    assert_eq!((one.session_id.as_str(), one.tab_id.as_str(), one.route.as_str()), ("s", "t", "/orders/:id"));
    assert_eq!((two.session_id.as_str(), two.tab_id.as_str(), two.route.as_str()), ("s", "u", "/other"));
    assert_eq!(one.user, two.user);
    assert_eq!(two.browser.as_deref(), Some("Firefox 130"), "null is as good as nothing");

    let refused = |context: Value| {
        let batch = json!({"context": context, "events": [event("page_show", json!({}))]});
        show(read_all(Arrival::At(NOW), &batch).unwrap().remove(0).unwrap_err())
    };
    assert_eq!(
        refused(json!({"url": "http://"})),
        "invalid_value context.url: expected a URL, such as https://shop.example/cart or /cart"
    );
    assert!(
        refused(json!({"seq": 7}))
            .starts_with("invalid_value context: a field is unknown; the known ones are `session_id`")
    );
}

#[test]
fn a_wrong_clock_is_corrected_by_when_the_batch_was_sent() {
    let at = |arrival: Arrival, sent_at: Value, occurred_at: &str| {
        let batch =
            json!({"sent_at": sent_at, "events": [event("page_show", json!({"occurred_at": occurred_at}))]});
        let event = read_all(arrival, &batch).unwrap().remove(0).map_err(show)?;
        Ok::<_, String>((event.occurred_at - NOW, event.device_time.map(|at| at - NOW)))
    };
    let now = Arrival::At(NOW);
    let (sent, hour) = (json!("2011-07-01T07:00:00Z"), 3_600_000);
    assert_eq!(
        at(now, sent.clone(), "2011-07-01T06:59:50Z"),
        Ok((-10_000, Some(hour - 10_000))),
        "an hour ahead"
    );
    assert_eq!(
        at(now, json!("2011-07-01T05:00:00Z"), "2011-07-01T04:59:50Z"),
        Ok((-10_000, Some(-hour - 10_000)))
    );
    assert_eq!(
        at(now, json!("2011-07-01T06:02:00Z"), "2011-07-01T06:01:50Z"),
        Ok((110_000, None)),
        "two minutes are none"
    );
    assert_eq!(at(now, Value::Null, "2011-07-01T05:00:00Z"), Ok((-hour, None)));
    assert_eq!(at(Arrival::AsItHappens, sent.clone(), "2011-07-01T06:59:50Z"), Ok((hour - 10_000, None)));
    let refused = "future_event events[0].occurred_at: it is more than 5 minutes ahead of its arrival at 2011-07-01T06:00:00.000Z";
    assert_eq!(at(now, sent, "2011-07-01T07:10:00Z"), Err(refused.into()));
    assert_eq!(
        at(now, json!(7), "2011-07-01T07:10:00Z"),
        Err("invalid_value sent_at: expected a time as text".into())
    );
}

#[test]
fn what_is_refused_is_named_and_nothing_is_repeated() {
    let click = |own: Value| {
        let mut event = event("click", json!({"x": 1, "y": 1}));
        for (name, value) in own.as_object().unwrap() {
            event[name] = value.clone();
        }
        event
    };
    for (event, expected) in [
        (json!("hunter2"), "invalid_value body: expected an object"),
        (json!({"session_id": "s"}), "invalid_value type: missing; expected one of click, double_click, "),
        (json!({"type": "hunter2"}), "invalid_value type: this type is unknown; expected one of click, "),
        (json!({"type": 7}), "invalid_value type: expected a text"),
        (json!({"type": "page_show"}), "invalid_value session_id: missing"),
        (
            json!({"type": "page_show", "session_id": "hunter 2"}),
            "invalid_value session_id: expected 1 to 128 ASCII",
        ),
        (click(json!({"x": "hunter2"})), "invalid_value x: expected a number"),
        (
            click(json!({"hunter2": 1})),
            "invalid_value body: a field is unknown; the known ones are `session_id`, ",
        ),
        (
            click(json!({"value": "hunter2"})),
            "invalid_value body: a field is unknown; the known ones are `session_id`, ",
        ),
        (
            click(json!({"a`, expected `hunter2": 1})),
            "invalid_value body: a field is unknown; the known ones are `session_id`, ",
        ),
        (click(json!({"x": "a, expected hunter2"})), "invalid_value x: expected a number"),
        (
            click(json!({"target": {"hunter2": 1}})),
            "invalid_value target: a field is unknown; the known ones are `selector`, `tag`, ",
        ),
        (
            click(json!({"target": {"tag": "hunter 2"}})),
            "invalid_value target.tag: expected a tag's name, such as button",
        ),
        (click(json!({"viewport": {"width": "hunter2"}})), "invalid_value viewport.width: expected a number"),
        (click(json!({"viewport": {"width": 1}})), "invalid_value viewport.height: missing"),
        (click(json!({"seq": -1})), "invalid_value seq: expected at least 0"),
        (click(json!({"seq": 1.5})), "invalid_value seq: expected an integer"),
        (click(json!({"x": 1e300})), "invalid_value x: expected a number of at most 32 bits"),
        (click(json!({"occurred_at": "hunter2"})), "invalid_value occurred_at: expected RFC 3339, such as "),
        (event("click", json!({"y": 1})), "invalid_value x: missing"),
        (event("submit", json!({"form": " "})), "invalid_value form: missing or blank"),
        (
            event("submit", json!({"form": "f", "failed": "hunter2"})),
            "invalid_value failed: expected true or false",
        ),
        (
            event("validation_error", json!({"form": "f", "code": "is hunter2 good"})),
            "invalid_value code: expected 1 to 128 of",
        ),
        (
            event("navigation", json!({"navigation": "hunter2"})),
            "invalid_value navigation: expected one of `push`, `replace`, ",
        ),
        (
            event("move", json!({"points": [[0, 1, 2], [1, 2]]})),
            "invalid_value points[1]: expected an array of length 3",
        ),
        (
            event("move", json!({"points": [[0, 1, "hunter2"]]})),
            "invalid_value points[0][2]: expected a number",
        ),
        (
            event("request", json!({"method": "GET", "status": 1, "duration_ms": 1})),
            "invalid_value request_url: missing",
        ),
        (
            event("error", json!({"message": "m", "error": "hunter2"})),
            "invalid_value error: expected `javascript` or `resource`",
        ),
        (
            event("custom", json!({"name": "n", "fields": {"a": ["hunter2"]}})),
            "invalid_value fields: the value of a field: expected",
        ),
        (
            event("custom", json!({"name": "n", "fields": {"is hunter2": 1}})),
            "invalid_value fields: the name of a field: expected",
        ),
    ] {
        let found = show(read(&event).unwrap_err());
        assert!(found.starts_with(expected), "{event}: {found}");
        assert!(!found.contains("hunter"), "{event}: {found}");
    }
}

/// A text that no rule knows by its form: what somebody types.
fn typed() -> impl Strategy<Value = String> {
    "[a-zäöü]{3,8}[0-9]{1,2}!?".prop_map(|text| format!("Typed{text}"))
}

proptest! {
    /// Wherever what was typed is put that has no field for it, it neither enters the log nor stands in an error.
    #[test]
    fn no_typed_text_passes(kind in proptest::sample::select(KINDS.to_vec()), typed in typed(), place in 0..8) {
        let mut event = whole(kind);
        match place {
            0 => event["value"] = json!(typed),
            1 => event["key"] = json!(typed),
            2 => event[&typed] = json!(1),
            3 if event.get("target").is_some() => event["target"]["value"] = json!(typed),
            3 => event["text"] = json!(typed),
            4 if event.get("target").is_some() => event["target"]["selector"] = json!(format!("input[value=\"{typed}\"]:contains('{typed}')")),
            4 => event["url"] = json!(format!("https://ann:{typed}@s.example/?q={typed}#{typed}")),
            5 if event.get("target").is_some() => event["target"]["text_hash"] = json!(typed),
            5 => event["user"] = json!(typed),
            6 => event["seq"] = json!(typed),
            _ => event["type"] = json!(typed),
        }
        for arrival in [Arrival::At(NOW), Arrival::At(NOW + 1)] {
            let said = match read_all(arrival, &event).and_then(|mut events| events.remove(0)) {
                Ok(event) => serde_json::to_string(&event).unwrap(),
                Err(error) => show(error),
            };
            prop_assert!(!said.contains(&typed) && !said.contains("Typed"), "{said}");
        }
    }

    /// Any JSON is taken or refused, and what is refused is the client's fault.
    #[test]
    fn any_event_is_taken_or_refused(kind in proptest::sample::select(KINDS.to_vec()), name in "[a-z_]{1,12}", text in ".{0,40}", number in any::<f64>()) {
        for value in [json!(text), json!(number), json!([text]), json!({ &name: text }), Value::Null] {
            let mut event = whole(kind);
            let fields: Vec<String> = event.as_object().unwrap().keys().cloned().chain([name.clone()]).collect();
            for field in fields {
                let former = event[&field].take();
                event[&field] = value.clone();
                if let Err(error) = read(&event) {
                    prop_assert!(error.status().is_client_error(), "{error:?}");
                }
                event[&field] = former;
            }
        }
    }

    /// What has been cleaned is clean: an event that is read back through ingest stays as it is, but for its user.
    #[test]
    fn cleaning_is_done_once(text in "[ -~]{0,60}") {
        let event = event("error", json!({"message": text, "source": text, "device": text}));
        if let Ok(event) = read(&event) {
            let again = privacy().clean(event.clone()).unwrap();
            prop_assert_eq!(again, event);
        }
    }
}

/// Each example of `docs/interactions.md` is what this takes.
#[test]
fn the_docs_examples_are_taken() {
    let page = include_str!("../../../../docs/interactions.md");
    let examples: Vec<&str> =
        page.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let mut kinds = std::collections::BTreeSet::new();
    for example in &examples {
        let body: Value = serde_json::from_str(example).unwrap_or_else(|error| panic!("{error}: {example}"));
        for event in
            read_all(Arrival::AsItHappens, &body).unwrap_or_else(|error| panic!("{error}: {example}"))
        {
            kinds.insert(event.unwrap_or_else(|error| panic!("{error}: {example}")).kind());
        }
    }
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), {
        let mut all = KINDS;
        all.sort_unstable();
        all
    });
}
