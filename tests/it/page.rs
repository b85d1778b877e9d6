//! The page at `/`, looked at in a browser.

use jiff::{SignedDuration, Timestamp};
use rdkafka::message::{Message, OwnedMessage};
use serde_json::{Value, json};
use tidewatch::engine::rows::Evidence;
use tidewatch::families::incident::{Incident, Severity};
use tidewatch::families::interactions::event::{Body, Interaction, Request, Scroll};

use crate::browser::Tab;
use crate::live::Client;
use crate::sessions;
use crate::sessions::now;
use crate::system::{KEY, Process, READ_KEY, System};

fn seconds_from_now(seconds: i64) -> String {
    (Timestamp::now() + SignedDuration::from_secs(seconds)).to_string()
}

/// Sends a report that is due in `seconds`; its issue.
async fn report(all: &Process, description: &str, seconds: i64) -> String {
    let due = seconds_from_now(seconds);
    let report = json!({ "description": description, "area": "Elm", "due_at": due, "department": "PARK" });
    let (status, answer) = all.post(KEY, "/v1/reports", &report).await;
    assert_eq!(status, 202, "{answer}");
    answer["issue_id"].as_str().unwrap().to_owned()
}

/// Resolves an issue `seconds` from now.
async fn resolve(all: &Process, issue: &str, seconds: i64) {
    let body = json!({ "status": "closed", "occurred_at": seconds_from_now(seconds) });
    let (status, answer) = all.post(KEY, &format!("/v1/issues/{issue}/status"), &body).await;
    assert_eq!(status, 202, "{answer}");
}

/// The row of the incident that has this title.
fn row(title: &str) -> String {
    format!(
        "[...document.querySelectorAll('#incident-list > li')].find((row) => \
         row.querySelector('.title').textContent === {})",
        json!(title)
    )
}

const CONNECTION: &str = "document.querySelector('#connection').textContent";
const FOCUS: &str = "document.activeElement";
/// The title of the row that has the focus.
const FOCUSED_TITLE: &str = "document.activeElement.closest('button')?.querySelector('.title')?.textContent";

/// What is not the page's own server's, of all that was asked for.
fn strangers<'a>(tab: &'a Tab, url: &str) -> Vec<&'a String> {
    tab.requests().iter().filter(|request| !request.starts_with(url) && *request != "about:blank").collect()
}

/// An incident appears, is corrected and retracted, while somebody looks at it; and so do the service levels.
#[tokio::test(flavor = "multi_thread")]
async fn i9_what_is_shown_follows_the_log_without_a_reload() {
    let Some(mut tab) = Tab::new().await else { return };
    let system = System::new("").await;
    let all = system.start_ready("all", &[]).await;
    tab.open(&format!("{}/#key={READ_KEY}", all.url)).await;
    tab.until(&format!("{CONNECTION} === 'Live'")).await;
    tab.until("document.querySelector('#incidents .empty').checkVisibility()").await;
    assert_eq!(tab.evaluate("location.href").await, format!("{}/", all.url), "the key is in no address");
    tab.evaluate("window.isSame = true").await;

    let issue = report(&all, "Broken bench", 1).await;
    let row = row("Overdue: Broken bench");
    let version = format!("BigInt({row}.dataset.version)");
    tab.until(&row).await;
    assert!(text(&mut tab, &format!("{row}.innerText")).await.contains("department PARK"));
    assert!(text(&mut tab, &format!("{row}.querySelector('.state').textContent")).await.starts_with("open "));
    tab.until("document.querySelector('#announcer').textContent.includes('Broken bench')").await;
    tab.evaluate(&format!("window.first = {version}; null")).await;

    resolve(&all, &issue, 0).await;
    tab.until(&format!("{row}.querySelector('.state').textContent.startsWith('ended after')")).await;
    assert_eq!(tab.evaluate(&format!("{version} > window.first")).await, true);
    let levels = "[...document.querySelectorAll('#levels tbody tr')].map((row) => row.innerText.split(/\\s+/).join(' ')).join()";
    tab.until(&format!("{levels} === 'PARK 0.0% 1 1 0.0% of 1 –'")).await;

    // It was in time after all.
    resolve(&all, &issue, -60).await;
    tab.until(&format!("!{row}")).await;
    tab.until(&format!("{levels} === 'PARK 100.0% 0 1 100.0% of 1 –'")).await;
    assert_eq!(tab.evaluate("window.isSame").await, true, "it was not loaded again");
    assert_eq!(strangers(&tab, &all.url), Vec::<&String>::new());
    assert_eq!(tab.problems(), [] as [&str; 0]);
}

async fn text(tab: &mut Tab, expression: &str) -> String {
    tab.evaluate(expression).await.as_str().unwrap().to_owned()
}

/// The node goes and comes back: what came meanwhile is shown then, once, read from the log behind the last event.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_is_said_and_taken_up_again() {
    let Some(mut tab) = Tab::new().await else { return };
    let system = System::new("").await;
    let all = system.start_ready("all", &[]).await;
    let serve = system.start_ready("serve", &[]).await;
    let url = serve.url.clone();
    tab.open(&format!("{url}/#key={READ_KEY}")).await;
    tab.until(&format!("{CONNECTION} === 'Live'")).await;
    let before = report(&all, "Before", -1).await;
    tab.until(&row("Overdue: Before")).await;

    serve.kill();
    tab.until(&format!("{CONNECTION}.startsWith('Reconnecting')")).await;
    report(&all, "Meanwhile", -1).await;
    resolve(&all, &before, -60).await;
    system.caught_up().await;
    assert_eq!(tab.evaluate(&format!("!{}", row("Overdue: Before"))).await, false, "nobody has told it yet");
    let lists =
        |tab: &Tab| tab.requests().iter().filter(|url| url.ends_with("/v1/incidents?limit=100")).count();
    let loaded = lists(&tab);

    let address = url.strip_prefix("http://").unwrap();
    let mut again = system.start("serve", &[&format!("http.listen={address}")]);
    again.url = url.clone();
    again.ready().await;
    tab.until(&row("Overdue: Meanwhile")).await;
    tab.until(&format!("!{}", row("Overdue: Before"))).await;
    tab.until(&format!("{CONNECTION} === 'Live'")).await;
    assert_eq!(tab.evaluate("document.querySelectorAll('#incident-list > li').length").await, 1);
    assert_eq!(lists(&tab), loaded, "the stream goes on where it broke off: no list is needed");
}

/// Nothing is in the tables when the page opens, and the stream is not told it again: both together must have it.
#[tokio::test(flavor = "multi_thread")]
async fn i6_a_page_that_opens_while_the_tables_lag_misses_nothing() {
    let Some(mut tab) = Tab::new().await else { return };
    let system = System::new("").await;
    let serve = system.start_ready("serve", &[]).await;
    let mut stream = Client::connect(&serve, KEY, "/v1/incidents/stream", None).await;
    let at = now() - 60_000;
    let emit = |number: u128| {
        let session = format!("s-{number}");
        let meta = sessions::meta("boston", &session, number, 5);
        sessions::emit_incidents(&system, [sessions::incident(meta, &session, "rage_click", at)]);
    };
    emit(1);
    emit(2);
    for _ in 0..2 {
        stream.next_incident().await;
    }
    tab.open(&format!("{}/#key={READ_KEY}", serve.url)).await;
    let count = |count: usize| format!("document.querySelectorAll('#incident-list > li').length === {count}");
    tab.until(&format!("{CONNECTION} === 'Live' && {}", count(2))).await;

    // In the tables, too, and told once more to a page that opens now: the same rows.
    let _sink = system.start_ready("sink", &[]).await;
    system.stored().await;
    emit(3);
    tab.until(&count(3)).await;
    tab.open(&format!("{}/?again#key={READ_KEY}", serve.url)).await;
    tab.until(&format!("{CONNECTION} === 'Live' && {}", count(3))).await;
    tab.until("document.querySelector('#incidents [data-count]').textContent === '3, 0 open'").await;
}

/// From the wrong key to the evidence of an incident, without a mouse; each stop on the way can be seen.
#[tokio::test(flavor = "multi_thread")]
async fn all_is_reached_by_keyboard_alone() {
    let Some(mut tab) = Tab::new().await else { return };
    let system = System::new("").await;
    let all = system.start_ready("all", &[]).await;
    report(&all, "Dark lamp", -2).await;
    let issue = report(&all, "Broken bench", -1).await;
    system.caught_up().await;
    tab.open(&all.url).await;
    tab.until(&format!("{FOCUS}.id === 'key'")).await;
    tab.type_text("nobody's").await;
    tab.press("Enter").await;
    tab.until("document.querySelector('#key-problem').textContent.includes('A known API key')").await;
    assert_eq!(tab.evaluate(CONNECTION).await, "API key refused");
    let refused = |problem: &String| problem.contains("401");
    assert!(!tab.problems().is_empty() && tab.problems().iter().all(refused), "{:?}", tab.problems());
    let refusals = tab.problems().len();

    assert_eq!(tab.evaluate(&format!("{FOCUS}.id")).await, "key");
    tab.type_text(READ_KEY).await;
    tab.press("Enter").await;
    tab.until(&row("Overdue: Dark lamp")).await;

    // A tab keeps its key. All stops of the page in order; what has the focus must be framed.
    tab.open(&all.url).await;
    tab.until(&row("Overdue: Dark lamp")).await;
    tab.until("document.querySelector('#levels .empty').checkVisibility()").await;
    tab.until("document.querySelector('#levels summary').checkVisibility()").await;
    let mut stops = Vec::new();
    let wanted =
        ["skip", "forget", "SUMMARY", "family", "pause", "Overdue: Broken bench", "Overdue: Dark lamp"];
    while stops.last().map(String::as_str) != wanted.last().copied() && stops.len() < 20 {
        tab.press("Tab").await;
        let outline = tab.evaluate(&format!("getComputedStyle({FOCUS}).outline")).await;
        assert!(!outline.as_str().unwrap().contains("none"), "{stops:?}: {outline}");
        let name = format!("{FOCUSED_TITLE} || {FOCUS}.id || {FOCUS}.className || {FOCUS}.tagName");
        stops.push(text(&mut tab, &name).await);
    }
    assert_eq!(stops, wanted);

    tab.press("Enter").await;
    tab.until(&format!("{FOCUS}.getAttribute('aria-expanded') === 'true'")).await;
    let detail = format!("document.getElementById({FOCUS}.getAttribute('aria-controls'))");
    let detail = text(&mut tab, &format!("({detail}).id")).await;
    let detail = format!("document.getElementById('{detail}')");
    tab.until(&format!("{detail}.querySelector('.records pre').textContent.includes('Dark lamp')")).await;
    let shown = text(&mut tab, &format!("{detail}.innerText")).await;
    for part in ["sla_breach", "due source", "reported", "Evidence: 1 record", "civic/"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    tab.press("Space").await;
    tab.until(&format!("!{detail}.checkVisibility()")).await;

    // Paused, nothing moves under the reader; who stands on what goes, stands on what is next to it then.
    let press = |id: &str| format!("document.getElementById('{id}').focus()");
    tab.evaluate(&press("pause")).await;
    tab.press("Space").await;
    resolve(&all, &issue, -60).await;
    tab.until("document.querySelector('#pause').textContent === 'Pause (1 waiting)'").await;
    assert_ne!(tab.evaluate(&format!("{} ?? null", row("Overdue: Broken bench"))).await, Value::Null);
    tab.press("Space").await;
    tab.until(&format!("!{}", row("Overdue: Broken bench"))).await;
    let second = report(&all, "Last", -3).await;
    tab.until(&row("Overdue: Last")).await;
    tab.evaluate(&format!("{}.querySelector('button').focus()", row("Overdue: Last"))).await;
    resolve(&all, &second, -60).await;
    tab.until(&format!("{FOCUSED_TITLE} === 'Overdue: Dark lamp'")).await;
    assert_eq!(tab.problems().len(), refusals, "{:?}", tab.problems());
}

/// Whatever way a stream is cut into pieces, and in whatever order the list and the stream tell of an incident, the page knows
/// the same.
#[tokio::test(flavor = "multi_thread")]
async fn i6_pieces_and_order_make_no_difference_to_what_the_page_knows() {
    let Some(mut tab) = Tab::new().await else { return };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, tidewatch::read::page::router()).await });
    tab.open(&url).await;
    tab.until("document.querySelector('#door').checkVisibility()").await;

    let events = tab.evaluate(PARSED_IN_PIECES).await;
    let expected = json!([
        ["message", "", "1"],
        ["incident", "{\"a\": 1}", "1"],
        ["retraction", "one\ntwo", "2"],
        ["message", " x", "2"],
    ]);
    assert_eq!(events, json!([expected]), "the one outcome of all ways to cut it");
    // The newest version holds: above 2^53, where numbers of JavaScript would be equal.
    assert_eq!(tab.evaluate(LEARNED_IN_ALL_ORDERS).await, json!(["a:ended b:new"]));
    assert_eq!(tab.evaluate(DOUBTED).await, json!([["old"], ["heard", "new"]]));
    assert_eq!(tab.evaluate(BOUNDED).await, json!([200, "999", "800"]));
    assert_eq!(tab.evaluate(COUNTED_IN_ALL_ORDERS).await, json!(["4 of 3"]));
    assert_eq!(tab.problems(), [] as [&str; 0]);
}

/// All ways to cut a stream in three: the distinct outcomes.
const PARSED_IN_PIECES: &str = r#"import('/page/events.js').then(({ Parser }) => {
    const text = ': hello\n\nid: 1\r\n\r\nevent: incident\rdata: {"a": 1}\r\revent:retraction\nid:2\ndata: one\ndata: two\nretry: 5\n\ndata:  x\r\n\r\nevent: unfinished\ndata: y\n';
    const outcomes = new Set();
    for (let one = 0; one <= text.length; one += 1) {
        for (let two = one; two <= text.length; two += 1) {
            const events = [];
            const parser = new Parser((...event) => events.push(event));
            for (const piece of [text.slice(0, one), text.slice(one, two), text.slice(two)]) parser.push(piece);
            // A comment alone is an event without anything.
            outcomes.add(JSON.stringify(events.filter((event) => event.join('') !== 'message')));
        }
    }
    return [...outcomes].map((outcome) => JSON.parse(outcome));
})"#;

/// All orders of what is told of two incidents: the distinct outcomes.
const LEARNED_IN_ALL_ORDERS: &str = r#"import('/page/incidents.js').then(({ Incidents }) => {
    const incident = (id, version, title) =>
        (incidents) => incidents.take({ id, version, title, first_arrival: '2026-01-01T00:00:00Z' });
    const told = [
        incident('a', '9007199254740993', 'ended'),
        incident('a', '9007199254740992', 'begun'),
        incident('b', '1', 'old'),
        (incidents) => incidents.retract({ id: 'b', version: '2' }),
        incident('b', '3', 'new'),
        incident('c', '1', 'gone'),
        (incidents) => incidents.retract({ id: 'c', version: '2' }),
    ];
    const orders = (rest) => rest.length === 0 ? [[]]
        : rest.flatMap((first, index) => orders(rest.toSpliced(index, 1)).map((order) => [first, ...order]));
    const outcome = (order) => {
        const incidents = new Incidents();
        for (const tell of order) tell(incidents);
        return incidents.newest().map(({ id, title }) => `${id}:${title}`).sort().join(' ');
    };
    return [...new Set(orders(told).map(outcome))];
})"#;

/// What is doubted after what may have been missed, and what of it is known.
const DOUBTED: &str = r#"import('/page/incidents.js').then(({ Incidents }) => {
    const incidents = new Incidents();
    const take = (id) => incidents.take({ id, version: '1', first_arrival: '2026-01-01T00:00:00Z' });
    take('old');
    take('heard');
    incidents.doubt();
    take('heard');
    take('new');
    const doubtful = incidents.doubtful().map(({ id }) => id);
    incidents.forget('old');
    return [doubtful, incidents.newest().map(({ id }) => id).sort()];
})"#;

/// How many rows are kept of a thousand, and which.
const BOUNDED: &str = r#"import('/page/incidents.js').then(({ Incidents }) => {
    const incidents = new Incidents();
    for (let day = 0; day < 1000; day += 1) {
        incidents.take({ id: String(day), version: '1', first_arrival: new Date(day * 86400000).toISOString() });
    }
    incidents.trim();
    const rows = incidents.newest().map(({ id }) => id);
    return [rows.length, rows[0], rows.at(-1)];
})"#;

/// A list of the newest two of four, 5 and 4, and what the stream tells before it and after it, in all orders: the distinct
/// outcomes, as what is known and how many there are.
const COUNTED_IN_ALL_ORDERS: &str = r#"import('/page/incidents.js').then(({ Incidents }) => {
    const version = (number, version) =>
        ({ id: String(number), version: String(version), first_arrival: `2026-01-0${number}T00:00:00Z` });
    // What is told of one incident comes in the order of its versions; 2 and 3 are none of the list's.
    const told = [
        (incidents) => [incidents.take(version(6, 1)), incidents.retract(version(6, 2))],
        (incidents) => [incidents.retract(version(5, 2))],
        (incidents) => [incidents.take(version(4, 2))],
        (incidents) => [incidents.take(version(2, 2)), incidents.retract(version(2, 3)), incidents.take(version(2, 4))],
    ];
    const list = { incidents: [version(5, 1), version(4, 1)], next_cursor: 'x', total: 4 };
    const orders = (rest) => rest.length === 0 ? [[]]
        : rest.flatMap((first, index) => orders(rest.toSpliced(index, 1)).map((order) => [first, ...order]));
    const outcomes = new Set();
    for (const order of orders(told)) {
        for (let before = 0; before <= order.length; before += 1) {
            const incidents = new Incidents();
            for (const tell of order.slice(0, before)) tell(incidents);
            incidents.list(list);
            for (const tell of order.slice(before)) tell(incidents);
            const ids = incidents.newest().map(({ id }) => id);
            outcomes.add(`${ids} of ${incidents.total}`);
        }
    }
    return [...outcomes];
})"#;

/// An incident of the family interactions, as an operator would emit it.
fn incident_of(number: u32, severity: Severity, title: &str) -> Incident {
    let started_at = now() - 1_000 * i64::from(number);
    let mut row = sessions::incident(
        sessions::meta("boston", "session-1", number.into(), 5),
        "session-1",
        "dead_click,rage_click",
        started_at,
    );
    (row.severity, row.title) = (severity, title.into());
    row.ended_at = number.is_multiple_of(2).then_some(started_at + 900);
    row.attributes
        .insert("route".into(), "/checkout/a-very-long-route-that-has-no-spaces-to-break-at".into());
    row
}

/// Texts that can't be told well enough from their ground (WCAG 2.2, AA: 4.5 : 1), and how many were looked at.
const FAINT: &str = r"(() => {
    const canvas = Object.assign(document.createElement('canvas'), { width: 1, height: 1 }).getContext('2d');
    const rgba = (colour) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const luminance = ([r, g, b]) => [r, g, b].map((c) => c / 255)
        .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, index) => sum + c * [0.2126, 0.7152, 0.0722][index], 0);
    const ground = (element) => {
        for (; element; element = element.parentElement) {
            const colour = rgba(getComputedStyle(element).backgroundColor);
            if (colour[3] === 255) return colour;
            if (colour[3] !== 0) throw new Error('a ground that shines through');
        }
        throw new Error('no ground');
    };
    const faint = [];
    let count = 0;
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
        count += 1;
        const [text, below] = [rgba(getComputedStyle(element).color), ground(element)].map(luminance);
        const ratio = (Math.max(text, below) + 0.05) / (Math.min(text, below) + 0.05);
        if (ratio < 4.5) faint.push(`${ratio.toFixed(2)} ${element.className} ${walker.currentNode.data}`);
    }
    return { count, faint };
})()";

/// Of whatever rule and severity, wide and narrow, light and dark: all can be read, nothing is cut off, data stay data.
#[tokio::test(flavor = "multi_thread")]
async fn all_can_be_read_in_both_schemes_and_widths() {
    let Some(mut tab) = Tab::new().await else { return };
    let system = System::new("").await;
    let all = system.start_ready("all", &[]).await;
    let issue = report(&all, "Broken bench", -1).await;
    resolve(&all, &issue, 0).await;
    tab.open(&all.url).await;
    tab.until("document.querySelector('#door').checkVisibility()").await;
    for (width, scheme) in [(1280, "light"), (390, "dark")] {
        readable(&mut tab, "door", width, scheme, 8).await;
    }

    let title = "<img src=/nowhere onerror=alert(1)> was clicked in anger, and clicked again, and again";
    tab.open(&format!("{}/?#key={READ_KEY}", all.url)).await;
    tab.until(&format!("{CONNECTION} === 'Live'")).await;
    for (number, severity) in (1..).zip([Severity::Low, Severity::Medium, Severity::High, Severity::Critical])
    {
        sessions::emit_incidents(&system, [incident_of(number, severity, title)]);
    }
    tab.until("document.querySelectorAll('#incident-list > li').length === 5").await;
    tab.until("document.querySelector('#levels tbody tr')").await;
    assert_eq!(tab.evaluate("document.querySelectorAll('img').length").await, 0);
    assert_eq!(tab.evaluate(&format!("{}.querySelector('.title').textContent", row(title))).await, title);
    tab.evaluate(&format!("{}.querySelector('button').click()", row("Overdue: Broken bench"))).await;
    tab.evaluate(&format!("{}.querySelector('button').click()", row(title))).await;
    tab.until("document.querySelectorAll('.detail:not([hidden]) .problem, .detail:not([hidden]) .records').length === 2").await;
    tab.until("!document.querySelector('.fresh')").await;
    for width in [1280, 390] {
        for scheme in ["light", "dark"] {
            readable(&mut tab, "page", width, scheme, 80).await;
        }
    }

    drop(all);
    tab.until(&format!("{CONNECTION}.startsWith('Reconnecting')")).await;
    tab.until("document.querySelector('#levels .problem').checkVisibility()").await;
    for (width, scheme) in [(1280, "dark"), (390, "light")] {
        readable(&mut tab, "broken", width, scheme, 80).await;
    }
}

/// Asserts that what is shown can be read, at least `texts` of it, and leaves a picture.
async fn readable(tab: &mut Tab, name: &str, width: u32, scheme: &str, texts: u64) {
    tab.look(width, scheme).await;
    let dark = tab.evaluate("matchMedia('(prefers-color-scheme: dark)').matches").await;
    assert_eq!(dark, scheme == "dark");
    tab.screenshot(&format!("{name}-{width}-{scheme}")).await;
    let found = tab.evaluate(FAINT).await;
    assert!(found["count"].as_u64().unwrap() >= texts, "{name} {width} {scheme}: {found}");
    assert_eq!(found["faint"], json!([]), "{name} {width} {scheme}");
    let overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
    assert_eq!(tab.evaluate(overflow).await, 0, "{name} {width} {scheme}: it is as wide as the window");
}

/// Pages of a timeline on the page are this long.
const EVENTS: usize = 100;

/// An incident of a session: found by its family, opened without a mouse, with its signals among the events around it.
#[tokio::test(flavor = "multi_thread")]
async fn an_incident_of_a_session_is_shown_with_what_happened_around_it() {
    let Some(mut tab) = Tab::new().await else { return };
    let system = System::new("").await;
    let _sink = system.start_ready("sink", &[]).await;
    let serve = system.start_ready("serve", &[]).await;
    let at = now() - 60_000;
    let named = |number| sessions::meta("boston", "s-1", number, 5);
    let request = Request { method: "POST".into(), route: "/api/pay".into(), status: 500, duration_ms: 90 };
    let mut events: Vec<Interaction> =
        (0..3).map(|click| sessions::click("boston", "s-1", click, at + 300 * click)).collect();
    events.push(sessions::event("boston", "s-1", "", Some(3), at + 700, Body::Request(request)));
    events.extend((4..).take(EVENTS).map(|seq| {
        let scroll = Scroll { x: 0, y: 10 * seq };
        sessions::event(
            "boston",
            "s-1",
            "",
            Some(seq.into()),
            at + 1_000 + 100 * i64::from(seq),
            Body::Scroll(scroll),
        )
    }));
    let count = events.len();
    let mut session = sessions::session(named(1), "s-1", at, at + 60_000);
    let mut incident = sessions::incident(named(2), "s-1", "error_click,rage_click", at);
    session.meta.first_arrival = at;
    sessions::emit_events(&system, events);
    let records = system.read_committed("interactions");
    let (partition, records) = records.into_iter().find(|(_, records)| !records.is_empty()).unwrap();
    let offsets = records[..3].iter().map(OwnedMessage::offset).collect();
    incident.meta.evidence = Evidence { count: 3, topic: "interactions".into(), partition, offsets };
    let mut overdue = sessions::incident(sessions::meta("boston", "x", 3, 5), "x", "x", at);
    (overdue.family, overdue.rule, overdue.title) =
        ("civic".into(), "sla_breach".into(), "Overdue: Bench".into());
    overdue.attributes = [("area".into(), "Roslindale".into())].into();
    sessions::emit_sessions(&system, [session]);
    sessions::emit_signals(
        &system,
        [
            sessions::signal(named(11), "s-1", "rage_click", at, Some(2)),
            sessions::signal(named(12), "s-1", "error_click", at + 600, Some(2)),
            sessions::signal(named(13), "s-1", "dead_click", at + 300, None),
        ],
    );
    sessions::emit_incidents(&system, [incident, overdue]);
    system.stored().await;

    tab.open(&format!("{}/#key={READ_KEY}", serve.url)).await;
    let (frustration, overdue) = (row("Frustration of s-1"), row("Overdue: Bench"));
    tab.until(&frustration).await;
    tab.until(&overdue).await;
    let traits = |row: &str| format!("{row}.querySelector('.traits').textContent");
    assert_eq!(
        text(&mut tab, &traits(&frustration)).await,
        "error click, rage click · route /checkout · score 72"
    );
    assert_eq!(text(&mut tab, &traits(&overdue)).await, "sla breach · area Roslindale");
    tab.until("document.querySelector('#incidents [data-count]').textContent === '2, 0 open'").await;

    // One family, in the list and in what comes.
    tab.evaluate("document.querySelector('#family').focus()").await;
    tab.evaluate(
        "(() => { const family = document.querySelector('#family'); family.value = 'interactions'; \
         family.dispatchEvent(new Event('change')); })()",
    )
    .await;
    tab.until(&format!("{CONNECTION} === 'Live' && {frustration} && !{overdue}")).await;
    let mut stranger = sessions::incident(sessions::meta("boston", "x", 4, 5), "x", "x", at);
    stranger.family = "civic".into();
    stranger.title = "Overdue: Lamp".into();
    sessions::emit_incidents(
        &system,
        [stranger, sessions::incident(sessions::meta("boston", "x", 5, 5), "x", "quick_back", at)],
    );
    tab.until(&row("Frustration of x")).await;
    assert_eq!(tab.evaluate(&format!("!{}", row("Overdue: Lamp"))).await, true);
    assert_eq!(tab.evaluate(&format!("{FOCUS}.id")).await, "family", "who chooses stays there");
    tab.until("document.querySelector('#incidents [data-count]').textContent === '2, 0 open'").await;

    // Opened by a key; the rest of the session by another.
    tab.evaluate(&format!("{frustration}.querySelector('button').focus()")).await;
    tab.press("Enter").await;
    let timeline = format!("{frustration}.querySelectorAll('.timeline:not(.signals) > li')");
    tab.until(&format!("{timeline}.length === {}", EVENTS + 3)).await;
    let lines = "(list) => [...list].map((item) => item.innerText.split(/\\s+/).join(' '))";
    let shown = tab.evaluate(&format!("({lines})({timeline}).slice(0, 8)")).await;
    let expected = json!([
        "+0.000 s rage click button.pay 3 events",
        "+0.000 s click button.pay evidence",
        "+0.300 s dead click button.pay 3 events · not of this incident",
        "+0.300 s click button.pay evidence",
        "+0.600 s error click button.pay 3 events",
        "+0.600 s click button.pay evidence",
        "+0.700 s request POST /api/pay 500 in 90 ms",
        "+1.400 s scroll to 0, 40",
    ]);
    assert_eq!(shown, expected);
    let signals = format!("{frustration}.querySelectorAll('.signals > li')");
    assert_eq!(tab.evaluate(&format!("({lines})({signals}).length")).await, 2);
    tab.evaluate(&format!("{frustration}.querySelector('.detail button').focus()")).await;
    tab.press("Enter").await;
    tab.until(&format!("{timeline}.length === {}", count + 3)).await;
    tab.until(&format!("{FOCUS} === {frustration}.querySelector('.timeline:not(.signals)')")).await;
    // Whether there is evidence of what nobody has folded is not its matter.
    let problems: Vec<_> = tab.problems().iter().filter(|problem| !problem.contains("/evidence")).collect();
    assert_eq!(problems, [] as [&str; 0]);
    tab.until("!document.querySelector('.fresh')").await;
    for width in [1280, 390] {
        for scheme in ["light", "dark"] {
            readable(&mut tab, "timeline", width, scheme, 100).await;
        }
    }
    assert_eq!(strangers(&tab, &serve.url), Vec::<&String>::new());
}
