//! Histories of one session, and how late their events arrive.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use tidewatch::families::interactions::generate::event as generate;
use tidewatch::families::interactions::generate::event::Body as Made;
use tidewatch::families::interactions::generate::{Generator, Plan, page};

use super::*;

/// One event, before it is told when and where.
#[derive(Debug, Clone)]
struct Raw {
    /// After the one before.
    pause: Millis,
    tab: u8,
    act: u8,
    place: u8,
    choice: u8,
}

fn raw() -> impl Strategy<Value = Raw> {
    // The bounds of the rules and of the session, too.
    let bounds = [300, 301, 500, 999, 1_000, 1_001, 5_000, 5_001, 7_000, 7_001, 30_000, 30_001, 60_000];
    let pause = prop_oneof![
        2 => Just(0),
        12 => 1..600_i64,
        5 => 600..3_000_i64,
        3 => select(bounds.to_vec()),
        3 => 3_000..20_000_i64,
        2 => 20_000..90_000_i64,
        1 => select(vec![29 * MINUTE, 30 * MINUTE, 30 * MINUTE + 1, 45 * MINUTE]),
    ];
    let fields = (pause, 0..3_u8, 0..30_u8, 0..6_u8, 0..8_u8);
    fields.prop_map(|(pause, tab, act, place, choice)| Raw { pause, tab, act, place, choice })
}

fn body(raw: &Raw) -> Body {
    let Raw { act, place, choice, .. } = *raw;
    let form = ["login", "search"][usize::from(place % 2)];
    let field = |kind| Body::Field(Field { kind, target: target(place), form: Some(form.into()) });
    let navigation = |kind| Body::Navigation(Navigation { kind });
    let submit = |failed| Body::Submit(Submit { form: form.into(), failed });
    match act {
        0..7 => {
            let near = i32::from(choice) * 5 + i32::from(place % 3) * 25;
            click(place, (near, near / 3), choice == 7)
        }
        7..9 => field(FieldKind::Input),
        9 => field(
            [FieldKind::Change, FieldKind::Focus, FieldKind::Blur, FieldKind::Key][usize::from(choice % 4)],
        ),
        10..13 => submit([Some(true), Some(true), Some(false), None][usize::from(choice % 4)]),
        13 => {
            let target = (choice % 2 == 0).then(|| target(place));
            Body::Validation(Validation { form: form.into(), target, code: None })
        }
        14 => Body::Scroll(Scroll { x: 0, y: i32::from(choice) }),
        15..18 => {
            let point = |step: i32| {
                let x = if step % 2 == 0 { 0 } else { 40 + 10 * i32::from(place) };
                Point { after: step * (60 + 20 * i32::from(choice)), x, y: step }
            };
            Body::Moves(Moves { points: (0..2 + i32::from(place)).map(point).collect() })
        }
        18..20 => navigation(NavigationKind::Push),
        20 => navigation(NavigationKind::Back),
        21..23 => navigation(NavigationKind::Reload),
        23 => navigation(
            [NavigationKind::Replace, NavigationKind::Forward, NavigationKind::Hash][usize::from(choice % 3)],
        ),
        24 => {
            let kind = [PageKind::Show, PageKind::Hide, PageKind::Unload][usize::from(choice % 3)];
            Body::Page(Page { kind })
        }
        25 => mutation(),
        26 => {
            let method = if choice % 2 == 0 { "GET" } else { "POST" }.into();
            let status = [200, 404, 500, 0][usize::from(place % 4)];
            Body::Request(Request { method, route: "/api".into(), status, duration_ms: 1 })
        }
        27..29 => failure(),
        _ => Body::Custom(Custom { name: "custom".into(), fields: BTreeMap::new() }),
    }
}

/// The events of one key, in the order in which they happened: three tabs, each on a route of its own, which navigation changes.
fn history(raws: Vec<Raw>) -> Vec<Interaction> {
    let (mut at, mut seqs, mut routes) = (BEGIN, [0_i64; 3], [0_u8; 3]);
    let of = |(number, raw): (usize, Raw)| {
        at += raw.pause;
        let tab = usize::from(raw.tab);
        let body = body(&raw);
        if matches!(body, Body::Navigation(_)) {
            routes[tab] = raw.place % 3;
        }
        let mut event = event("shop/s", ["one", "two", "three"][tab], seqs[tab], at, body);
        seqs[tab] += 1;
        event.route = ["/a", "/b", ""][usize::from(routes[tab])].into();
        event.url = (raw.choice != 1).then(|| format!("https://shop.example{}", event.route).into());
        match raw.choice {
            2 => event.device = Some(format!("device-{}", raw.place).into()),
            3 => event.user = Some(format!("user-{}", raw.place).into()),
            // What has no count has an id.
            4 => (event.seq, event.event_id) = (None, Some(format!("e{number}").into())),
            _ => {}
        }
        event
    };
    raws.into_iter().enumerate().map(of).collect()
}

pub fn histories() -> impl Strategy<Value = Vec<Interaction>> {
    vec(raw(), 1..60).prop_map(history)
}

/// What ingest makes of a generated event, as far as the rules see it.
fn made(event: &generate::Event) -> Body {
    let element = |element: &page::Element| {
        let (role, text_hash) = (element.role.map(Into::into), element.text_hash.map(Into::into));
        let is = matches!(element.tag, "a" | "button" | "input" | "select" | "textarea");
        let interactive = element.interactive.unwrap_or(is || element.role.is_some());
        Target { selector: element.selector.into(), tag: element.tag.into(), role, text_hash, interactive }
    };
    let click = |kind, pointer: &generate::Pointer| {
        let generate::Pointer { x, y, selected_text, target, .. } = *pointer;
        let (viewport_width, viewport_height, target) = (None, None, element(target));
        Body::Pointer(Pointer { kind, x, y, viewport_width, viewport_height, target, selected_text })
    };
    let field = |kind, field: &generate::Field| {
        Body::Field(Field { kind, target: element(field.target), form: field.form.map(Into::into) })
    };
    let page = |kind| Body::Page(Page { kind });
    match &event.body {
        Made::Click(pointer) => click(PointerKind::Click, pointer),
        Made::DoubleClick(pointer) => click(PointerKind::DoubleClick, pointer),
        Made::ContextClick(pointer) => click(PointerKind::ContextClick, pointer),
        Made::Key(it) => field(FieldKind::Key, it),
        Made::Input(it) => field(FieldKind::Input, it),
        Made::Change(it) => field(FieldKind::Change, it),
        Made::Focus(it) => field(FieldKind::Focus, it),
        Made::Blur(it) => field(FieldKind::Blur, it),
        Made::Submit { form, failed } => Body::Submit(Submit { form: (*form).into(), failed: Some(*failed) }),
        Made::ValidationError { form, target, .. } => {
            Body::Validation(Validation { form: (*form).into(), target: Some(element(target)), code: None })
        }
        Made::Scroll { x, y } => Body::Scroll(Scroll { x: *x, y: *y }),
        Made::Move { points } => {
            let points = points.iter().map(|(after, x, y)| Point { after: *after, x: *x, y: *y });
            Body::Moves(Moves { points: points.collect() })
        }
        Made::Navigation { navigation } => {
            let kind = match navigation {
                generate::Navigation::Push => NavigationKind::Push,
                generate::Navigation::Replace => NavigationKind::Replace,
                generate::Navigation::Back => NavigationKind::Back,
                generate::Navigation::Forward => NavigationKind::Forward,
                generate::Navigation::Reload => NavigationKind::Reload,
                generate::Navigation::Hash => NavigationKind::Hash,
            };
            Body::Navigation(Navigation { kind })
        }
        Made::PageShow => page(PageKind::Show),
        Made::PageHide => page(PageKind::Hide),
        Made::PageUnload => page(PageKind::Unload),
        Made::Mutation { .. } => mutation(),
        Made::Request { method, status, .. } => {
            let (method, status) = ((*method).into(), (*status).into());
            Body::Request(Request { method, route: "/api".into(), status, duration_ms: 1 })
        }
        Made::Error { .. } => failure(),
        Made::Custom { .. } => Body::Custom(Custom { name: "custom".into(), fields: BTreeMap::new() }),
    }
}

/// The events of a generated session, in the order in which they happened.
pub fn generated(seed: u64) -> Vec<Interaction> {
    let mut events = BTreeMap::new();
    for batch in Generator::new(Plan { seed, sessions: 1, start: BEGIN, ..Plan::default() }) {
        for told in &*batch.events {
            let (seq, at) = (told.seq.into(), told.occurred_at);
            let tab = format!("tab-{}", told.tab);
            let mut event = event("shop/s", &tab, seq, at, made(told));
            event.route = format!("/{:?}", told.place.page).into();
            event.url = Some(format!("https://shop.example{}", event.route).into());
            events.insert((at, tab, seq), event);
        }
    }
    events.into_values().collect()
}

/// How late each event arrives, and which arrive once more, how long after that.
pub type Lateness = (Vec<Millis>, Vec<(prop::sample::Index, Millis)>);

pub fn lateness(events: usize) -> impl Strategy<Value = Lateness> {
    let small = prop_oneof![4 => Just(0_i64), 2 => 0..9_000_i64, 1 => 9_000..60_000_i64];
    let large = prop_oneof![3 => 0..60_000_i64, 2 => 0..2 * HOUR, 1 => 0..DAY];
    // Any order at all: all come when everything is over.
    let delays = prop_oneof![vec(small, events), vec(large, events), vec(2 * DAY..2 * DAY + HOUR, events)];
    (delays, vec((any::<prop::sample::Index>(), 0..HOUR), 0..6))
}

/// Events in the order of their arrival; of those at 2 days and later only the order counts.
pub fn arrivals(events: &[Interaction], (delays, repeats): &Lateness) -> Vec<(Millis, Interaction)> {
    let mut arrivals: Vec<_> = events
        .iter()
        .zip(delays)
        .map(|(event, delay)| {
            let since = if *delay >= 2 * DAY { BEGIN } else { event.occurred_at };
            (since + delay, event.clone())
        })
        .collect();
    for (index, delay) in repeats {
        let (at, event) = index.get(&arrivals[..events.len()]).clone();
        arrivals.push((at + delay, event));
    }
    arrivals.sort_by_key(|(at, _)| *at);
    arrivals
}
