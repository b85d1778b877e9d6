//! Sessions, signals and incidents: the same whatever the order of arrival (I9), in pieces as in one go (I2), under settings that
//! change as under settings that were always so (I4), and by no time but their own (I3).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use tidewatch::event::Millis;
use tidewatch::event::derived::{Incident, Row, RowMeta, Session, Severity, Signal};
use tidewatch::event::interactions::{
    Body, Custom, Failure, FailureKind, Field, FieldKind, Interaction, Moves, Mutation, Navigation,
    NavigationKind, Page, PageKind, Point, Pointer, PointerKind, Request, Scroll, Submit, Target, Validation,
};
use tidewatch::generate::event::{self as generate, Body as Made};
use tidewatch::generate::{Generator, Plan, page};
use tidewatch::operators::interactions::Interactions;
use tidewatch::operators::interactions::rule::Matcher;
use tidewatch::operators::interactions::settings::InteractionSettings;
use tidewatch::stream::{FamilySettings, Outcome, Payload, TenantSettings, TestDriver};

use crate::determinism::{Entry, actions, compare, row_bytes};

const SECOND: Millis = 1_000;
const MINUTE: Millis = 60 * SECOND;
const HOUR: Millis = 60 * MINUTE;
const DAY: Millis = 24 * HOUR;
/// 2026-01-01.
const BEGIN: Millis = 1_767_225_600_000;
/// The disorder allowance.
const ALLOWANCE: Millis = 10 * SECOND;

type Driver = TestDriver<Interactions>;
type Settings = FamilySettings<Arc<InteractionSettings>>;

/// The defaults, with so much grace that nothing of a test is late, and without the cut.
fn patient() -> InteractionSettings {
    InteractionSettings { grace: 7 * DAY, maximum: 60 * DAY, ..InteractionSettings::default() }
}

fn family(version: i64, operator: InteractionSettings) -> Settings {
    let defaults = TenantSettings { allowance: ALLOWANCE, operator: Arc::new(operator) };
    FamilySettings { version, duplicate_horizon: 90 * DAY, defaults, tenants: BTreeMap::new() }
}

fn driver(settings: Settings) -> Driver {
    TestDriver::new(|| Interactions, settings)
}

/// An event of the session `tenant/session`.
fn event(key: &str, tab: &str, seq: i64, at: Millis, body: Body) -> Interaction {
    let (tenant, session) = key.split_once('/').unwrap();
    Interaction {
        tenant: tenant.into(),
        session_id: session.into(),
        tab_id: tab.into(),
        window_id: None,
        page_view_id: None,
        event_id: None,
        seq: Some(seq),
        occurred_at: at,
        device_time: None,
        url: Some("https://shop.example/a".into()),
        route: "/a".into(),
        user: None,
        device: None,
        browser: None,
        os: None,
        sdk: None,
        body,
    }
}

fn target(number: u8) -> Target {
    let selector = ["#save", "a.next", "div.box"][usize::from(number % 3)].into();
    let tag = ["button", "a", "div"][usize::from(number % 3)].into();
    Target { selector, tag, role: None, text_hash: None, interactive: number % 3 != 2 }
}

fn click(number: u8, (x, y): (i32, i32), selected_text: bool) -> Body {
    let (viewport_width, viewport_height) = (None, None);
    let (kind, target) = (PointerKind::Click, target(number));
    Body::Pointer(Pointer { kind, x, y, viewport_width, viewport_height, target, selected_text })
}

fn mutation() -> Body {
    Body::Mutation(Mutation { added: 1, removed: 0, attributes: 0, texts: 0 })
}

fn failure() -> Body {
    let (kind, message) = (FailureKind::Javascript, "it failed".into());
    Body::Error(Failure { kind, message, name: None, source: None })
}

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

fn histories() -> impl Strategy<Value = Vec<Interaction>> {
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
fn generated(seed: u64) -> Vec<Interaction> {
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
type Lateness = (Vec<Millis>, Vec<(prop::sample::Index, Millis)>);

fn lateness(events: usize) -> impl Strategy<Value = Lateness> {
    let small = prop_oneof![4 => Just(0_i64), 2 => 0..9_000_i64, 1 => 9_000..60_000_i64];
    let large = prop_oneof![3 => 0..60_000_i64, 2 => 0..2 * HOUR, 1 => 0..DAY];
    // Any order at all: all come when everything is over.
    let delays = prop_oneof![vec(small, events), vec(large, events), vec(2 * DAY..2 * DAY + HOUR, events)];
    (delays, vec((any::<prop::sample::Index>(), 0..HOUR), 0..6))
}

/// Events in the order of their arrival; of those at 2 days and later only the order counts.
fn arrivals(events: &[Interaction], (delays, repeats): &Lateness) -> Vec<(Millis, Interaction)> {
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

/// Appends events at their times, with marks in silence as a worker appends them.
fn append(driver: &mut Driver, arrivals: Vec<(Millis, Interaction)>) {
    for (at, event) in arrivals {
        driver.advance_to(at);
        let outcome = driver.append(&event.record_key(), at, event);
        assert!(matches!(outcome, Outcome::Folded | Outcome::Duplicate), "{outcome:?}");
    }
}

/// What holds when all is final.
fn fold(arrivals: Vec<(Millis, Interaction)>) -> Vec<String> {
    let mut driver = driver(family(0, patient()));
    append(&mut driver, arrivals);
    driver.advance_to(BEGIN + 60 * DAY);
    let rows = driver.take();
    assert_eq!(driver.task().next_wake(), None, "all timers have fired");
    current(&rows, true)
}

fn meta(row: &Row) -> &RowMeta {
    match row {
        Row::Session(Session { meta, .. })
        | Row::Signal(Signal { meta, .. })
        | Row::Incident(Incident { meta, .. }) => meta,
        _ => panic!("{row:?}"),
    }
}

/// Of each row the last version, without the retracted, and without what the order of arrival may change: ids, evidence, version.
fn current(rows: &[Row], is_final: bool) -> Vec<String> {
    let mut last: BTreeMap<_, &Row> = BTreeMap::new();
    for row in rows {
        if let Some(before) = last.insert(meta(row).id, row) {
            assert!(meta(before).version < meta(row).version, "versions rise: {before:?} {row:?}");
            assert!(!meta(before).is_final, "what is final is no more emitted: {before:?} {row:?}");
        }
    }
    for row in last.values() {
        let into = meta(row).merged_into;
        assert!(into.is_none_or(|id| last.contains_key(&id)), "it has merged into nothing: {row:?}");
    }
    last.retain(|_, row| !meta(row).retracted);
    let label = |id| match last.get(&id) {
        Some(Row::Incident(incident)) => format!("{} {:?}", incident.started_at, incident.attributes),
        row => panic!("a signal's incident does not hold: {row:?}"),
    };
    let clean = |row: &Row| {
        assert!(!is_final || meta(row).is_final, "it is not final: {row:?}");
        let mut row = row.clone();
        let mut incident = None;
        let (Row::Session(Session { meta, .. })
        | Row::Signal(Signal { meta, .. })
        | Row::Incident(Incident { meta, .. })) = &mut row
        else {
            unreachable!()
        };
        (meta.id, meta.version, meta.settings_version, meta.first_arrival) = (uuid::Uuid::nil(), 0, 0, 0);
        (meta.evidence, meta.merged_into) = (Default::default(), None);
        if let Row::Signal(signal) = &mut row {
            incident = signal.incident_id.take().map(label);
        }
        format!("{row:?} {incident:?}")
    };
    let mut found: Vec<String> = last.values().map(|row| clean(row)).collect();
    found.sort();
    let signals = last.values().filter(|row| matches!(row, Row::Signal(_))).count();
    let counted = last.values().map(|row| if let Row::Session(row) = row { row.signals as usize } else { 0 });
    assert_eq!(signals, counted.sum::<usize>(), "sessions count their signals: {found:#?}");
    found
}

/// Shows only what is not in both.
fn assert_same(one: Vec<String>, other: Vec<String>) -> Result<(), TestCaseError> {
    let (only, others): (Vec<_>, Vec<_>) = (
        one.iter().filter(|row| !other.contains(row)).collect(),
        other.iter().filter(|row| !one.contains(row)).collect(),
    );
    prop_assert!(one == other, "in order: {only:#?}\nas it arrived: {others:#?}");
    Ok(())
}

fn in_order(events: &[Interaction]) -> Vec<(Millis, Interaction)> {
    events.iter().map(|event| (event.occurred_at, event.clone())).collect()
}

/// Other rules than the defaults: a number chooses.
fn others(choice: u8) -> InteractionSettings {
    let mut settings = patient();
    for rule in &mut settings.rules {
        match &mut rule.matcher {
            Matcher::Count(count) => count.at_least += u32::from(choice % 2),
            Matcher::Absence(absence) => absence.within += Millis::from(choice) * SECOND,
            Matcher::Reversal(reversal) => reversal.at_least = 2 + u32::from(choice % 4),
            Matcher::Sequence(sequence) => sequence.within *= Millis::from(choice),
        }
    }
    match choice % 4 {
        0 => settings.rules.clear(),
        1 => drop(settings.rules.remove(2)),
        2 => (settings.together, settings.opens_at) = (5 * SECOND, Severity::Low),
        _ => (settings.error_bonus, settings.active_gap) = (40, 20 * SECOND),
    }
    settings
}

proptest! {
    #[test]
    fn i9_rows_do_not_depend_on_the_order_of_arrival(
        (events, lateness) in histories().prop_flat_map(|events| (Just(events.clone()), lateness(events.len()))),
    ) {
        assert_same(fold(in_order(&events)), fold(arrivals(&events, &lateness)))?;
    }

    #[test]
    fn i2_interactions_in_pieces(
        (events, lateness) in histories().prop_flat_map(|events| (Just(events.clone()), lateness(events.len()))),
        changes in vec((any::<prop::sample::Index>(), 0..HOUR, 0..9_u8), 0..8),
        actions in actions(),
    ) {
        let mut log: Vec<Entry<Interactions>> = arrivals(&events, &lateness)
            .into_iter()
            .map(|(at, event)| (event.record_key(), at, Payload::Event(event)))
            .collect();
        // Marks, by some of which the settings change; what has no grace becomes final in between.
        for (index, later, choice) in changes {
            let at = index.get(&log).1 + later;
            let place = log.partition_point(|(_, other, _)| *other <= at);
            let operator = if choice > 5 { InteractionSettings::default() } else { others(choice) };
            log.insert(place, (String::new(), at, Payload::Mark(Arc::new(family(place as i64, operator)))));
        }
        log.sort_by_key(|(_, at, _)| *at);
        let mut version = 0;
        for (.., payload) in &mut log {
            if let Payload::Mark(settings) = payload {
                version += 1;
                Arc::make_mut(settings).version = version;
            }
        }
        for at in [BEGIN + 59 * DAY, BEGIN + 60 * DAY] {
            let settings = Arc::new(family(version + 1, patient()));
            log.push((String::new(), at, Payload::Mark(settings)));
        }
        compare(&|| driver(family(0, patient())), &log, &actions, row_bytes)?;
    }

    /// Settings that change in the midst of a session leave what they would have made of it from its beginning.
    #[test]
    fn i4_a_change_of_rules_leaves_what_a_fresh_fold_gives(
        (events, lateness) in histories().prop_flat_map(|events| (Just(events.clone()), lateness(events.len()))),
        (before, after) in (1..8_u8, 1..8_u8),
        place in any::<prop::sample::Index>(),
    ) {
        let arrivals = arrivals(&events, &lateness);
        let place = place.index(arrivals.len());
        let fold = |first: u8, changes: &[u8]| {
            let mut driver = driver(family(0, others(first)));
            append(&mut driver, arrivals[..place].to_vec());
            for (version, change) in (1..).zip(changes) {
                let clock = driver.task().clock().max(BEGIN);
                driver.change_settings(clock, family(version, others(*change)));
            }
            append(&mut driver, arrivals[place..].to_vec());
            driver.advance_to(BEGIN + 60 * DAY);
            current(&driver.take(), true)
        };
        let fresh = fold(after, &[]);
        assert_same(fresh.clone(), fold(before, &[after]))?;
        assert_same(fresh, fold(after, &[before, after]))?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 16, ..ProptestConfig::default() })]

    #[test]
    fn i9_generated_sessions_do_not_depend_on_the_order_of_arrival(
        (events, lateness) in any::<u32>().prop_flat_map(|seed| {
            let events = generated(seed.into());
            (Just(events.clone()), lateness(events.len()))
        }),
    ) {
        assert_same(fold(in_order(&events)), fold(arrivals(&events, &lateness)))?;
    }
}

/// A session's rows, in the order of the log.
fn rows_of(driver: &mut Driver, key: &str) -> Vec<Row> {
    let rows = driver.take();
    rows.into_iter().filter(|row| meta(row).key == key).collect()
}

/// Of each signal of a rule the versions, retracted or not.
fn signals(rows: &[Row], rule: &str) -> Vec<(Millis, bool)> {
    let of = |row: &Row| match row {
        Row::Signal(signal) if signal.rule == rule => {
            Some((signal.started_at - BEGIN, signal.meta.retracted))
        }
        _ => None,
    };
    rows.iter().filter_map(of).collect()
}

/// Of each version of an incident: its score and severity, and whether it is retracted.
fn incidents(rows: &[Row]) -> Vec<(&str, Severity, bool)> {
    fn of(row: &Row) -> Option<(&str, Severity, bool)> {
        let Row::Incident(row) = row else { return None };
        Some((&row.attributes["score"], row.severity, row.meta.retracted))
    }
    rows.iter().filter_map(of).collect()
}

/// Clicks that are answered: appended so long after the beginning, each event its number and its time.
type Told = (Millis, &'static str, &'static str, i64, Millis, bool);

fn told((appended, key, tab, seq, at, is_click): Told) -> (Millis, Interaction) {
    let body = if is_click { click(0, (5, 5), false) } else { mutation() };
    (BEGIN + appended, event(key, tab, seq, BEGIN + at, body))
}

fn tell(driver: &mut Driver, mut log: Vec<Told>) {
    log.sort_by_key(|(appended, ..)| *appended);
    append(driver, log.into_iter().map(told).collect());
}

/// A session that clicks every 20 s, and is answered after 5.
fn answered() -> Vec<Told> {
    let pairs = (0..60).map(|number| (number, Millis::from(number as i32) * 20 * SECOND));
    let pair = |(number, at): (i64, Millis)| {
        let answer = at + 5 * SECOND;
        [
            (at + 90, "shop/s", "one", 2 * number, at, true),
            (answer + 90, "shop/s", "one", 2 * number + 1, answer, false),
        ]
    };
    pairs.flat_map(pair).collect()
}

/// Nobody else's clock, import, stall or silence makes a click a dead one that was answered, not even for a moment.
#[test]
fn i3_the_lateness_of_other_sessions_fires_no_absence() {
    let minutes = || (0..20).map(|minute| (minute, minute * MINUTE));
    let fast = minutes().map(|(seq, at)| (at, "shop/fast", "one", seq, at + 4 * MINUTE, true));
    let import = minutes().map(|(seq, at)| (at + 1, "old/import", "one", seq, at - 900 * DAY, true));
    let stalled = minutes().map(|(seq, at)| (at.max(12 * MINUTE), "shop/stalled", "one", seq, at, true));
    let others = [fast.collect(), import.collect(), stalled.collect(), Vec::new()];
    let mut alone = None;
    for others in [others.concat()].into_iter().chain(others) {
        let mut driver = driver(family(0, InteractionSettings::default()));
        tell(&mut driver, [answered(), others].concat());
        driver.advance_to(BEGIN + HOUR);
        let rows: Vec<String> = rows_of(&mut driver, "shop/s")
            .into_iter()
            .map(|row| {
                assert!(!matches!(row, Row::Signal(_) | Row::Incident(_)), "{row:?}");
                current(&[row], false).concat()
            })
            .collect();
        assert!(rows.len() > 100);
        assert!(*alone.get_or_insert_with(|| rows.clone()) == rows, "others have changed a session's rows");
    }
}

/// A tab or a batch that is late has its answers with it: its clicks wait for them anew, and those of the others don't wait less.
#[test]
fn i3_the_lateness_of_another_tab_or_batch_fires_no_absence() {
    // Each of one session: appended, tab, count, time, whether it is a click.
    let cases = [
        (
            "a tab stalls and then sends all at once",
            vec![
                (100, "one", 0, 0, true),
                (3_000, "one", 1, 2_900, false),
                (40_000, "one", 2, 39_900, true),
                (41_000, "two", 0, 500, true),
                (41_010, "two", 1, 1_000, false),
                (44_000, "one", 3, 43_900, false),
            ],
        ),
        (
            "two batches have changed places",
            vec![
                (10_300, "one", 2, 9_000, false),
                (10_500, "one", 0, 100, true),
                (10_510, "one", 1, 1_100, false),
            ],
        ),
        (
            "the answer comes after the batch behind it",
            vec![
                (5_100, "one", 0, 4_900, true),
                (9_100, "one", 2, 9_000, true),
                (13_000, "one", 1, 5_200, false),
                (13_200, "one", 3, 13_100, false),
            ],
        ),
        (
            "a batch comes twice",
            vec![(100, "one", 0, 0, true), (5_000, "one", 1, 4_900, false), (30_000, "one", 0, 0, true)],
        ),
        (
            "an old batch comes while a click waits",
            vec![
                (60_100, "one", 1, 60_000, true),
                (61_000, "one", 0, 100, false),
                (66_000, "one", 2, 65_900, false),
            ],
        ),
    ];
    for (name, log) in cases {
        let mut driver = driver(family(0, InteractionSettings::default()));
        let log = log.into_iter().map(|(appended, tab, seq, at, is)| (appended, "shop/s", tab, seq, at, is));
        tell(&mut driver, log.collect());
        driver.advance_to(BEGIN + 3 * HOUR);
        let rows = rows_of(&mut driver, "shop/s");
        assert_eq!(signals(&rows, "dead_click"), [], "{name}: not even for a moment");
        assert!(matches!(rows.last(), Some(Row::Session(Session { meta, .. })) if meta.is_final), "{name}");
    }
}

/// A mutation that comes after a click was found dead takes the signal back, and the incident with it, if nothing else is left.
#[test]
fn i3_a_late_mutation_takes_back_a_dead_click() {
    let mut driver = driver(family(0, InteractionSettings::default()));
    tell(&mut driver, vec![(100, "shop/s", "one", 0, 0, true)]);
    driver.advance_to(BEGIN + 7_000);
    assert_eq!(signals(&driver.take(), "dead_click"), [], "7 s have not passed");
    driver.advance_to(BEGIN + 20_000);
    let found = driver.take();
    assert_eq!(signals(&found, "dead_click"), [(0, false)]);
    assert_eq!(incidents(&found), [("35", Severity::Medium, false)]);
    tell(&mut driver, vec![(30_000, "shop/s", "one", 1, 7_000, false)]);
    let taken = driver.take();
    assert_eq!(signals(&taken, "dead_click"), [(0, true)]);
    assert_eq!(incidents(&taken), [("35", Severity::Medium, true)]);
    let ids = |rows: &[Row]| -> BTreeSet<_> { rows.iter().map(|row| meta(row).id).collect() };
    assert_eq!(ids(&found), ids(&taken), "of the same ids");
    driver.advance_to(BEGIN + DAY);
    assert!(current(&[found, taken, driver.take()].concat(), true).len() == 1, "the session alone is left");
}

/// With another signal in it, the incident stays, and counts less.
#[test]
fn i3_a_late_mutation_scores_an_incident_anew() {
    let mut driver = driver(family(0, InteractionSettings::default()));
    let clicks = (0..3).map(|number| (number * 400 + 90, "shop/s", "one", number, number * 400, true));
    tell(&mut driver, clicks.collect());
    driver.advance_to(BEGIN + 20_000);
    let found = driver.take();
    assert_eq!(signals(&found, "dead_click").last(), Some(&(0, false)));
    assert_eq!(incidents(&found).last(), Some(&("68", Severity::High, false)), "1 − 0.5 · 0.65");
    tell(&mut driver, vec![(30_000, "shop/s", "one", 3, 1_000, false)]);
    let anew = driver.take();
    assert_eq!(signals(&anew, "dead_click"), [(0, true)]);
    assert_eq!(incidents(&anew), [("50", Severity::Medium, false)]);
    let id = |rows: &[Row]| rows.iter().rfind(|row| matches!(row, Row::Incident(_))).map(|row| meta(row).id);
    assert_eq!(id(&found), id(&anew), "it is the same incident");
    tell(
        &mut driver,
        vec![(31_000, "shop/s", "one", 5, 900, false), (31_001, "shop/s", "one", 4, 30_500, false)],
    );
    assert_eq!(signals(&driver.take(), "rage_click"), [], "what answers a click is nothing to its rage");
}
