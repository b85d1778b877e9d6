//! Sessions, signals and incidents: the same whatever the order of arrival (I9), in pieces as in one go (I2), under settings that
//! change as under settings that were always so (I4), and by no time but their own (I3).

mod history;
mod order;
mod rows;
mod time;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidewatch::engine::Millis;
use tidewatch::engine::rows::RowMeta;
use tidewatch::engine::{FamilySettings, Outcome, Payload, TenantSettings, TestDriver};
use tidewatch::families::incident::{Incident, Severity};
use tidewatch::families::interactions::event::{
    Body, Custom, Failure, FailureKind, Field, FieldKind, Interaction, Moves, Mutation, Navigation,
    NavigationKind, Page, PageKind, Point, Pointer, PointerKind, Request, Scroll, Submit, Target, Validation,
};
use tidewatch::families::interactions::frustration::Frustration;
use tidewatch::families::interactions::frustration::rows::{FrustrationRow, Session, Signal};
use tidewatch::families::interactions::frustration::settings::InteractionSettings;

const SECOND: Millis = 1_000;
const MINUTE: Millis = 60 * SECOND;
const HOUR: Millis = 60 * MINUTE;
const DAY: Millis = 24 * HOUR;
/// 2026-01-01.
const BEGIN: Millis = 1_767_225_600_000;
/// The disorder allowance.
const ALLOWANCE: Millis = 10 * SECOND;

type Driver = TestDriver<Frustration>;
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
    TestDriver::new(|| Frustration, settings)
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

/// Appends events at their times, with marks in silence as a worker appends them.
fn append(driver: &mut Driver, arrivals: Vec<(Millis, Interaction)>) {
    for (at, event) in arrivals {
        driver.advance_to(at);
        let outcome = driver.append(&event.record_key(), at, event);
        assert!(matches!(outcome, Outcome::Folded | Outcome::Duplicate), "{outcome:?}");
    }
}

fn meta(row: &FrustrationRow) -> &RowMeta {
    match row {
        FrustrationRow::Session(Session { meta, .. })
        | FrustrationRow::Signal(Signal { meta, .. })
        | FrustrationRow::Incident(Incident { meta, .. }) => meta,
        _ => panic!("{row:?}"),
    }
}

/// Of each row the last version, without the retracted, and without what the order of arrival may change: ids, evidence, version.
fn current(rows: &[FrustrationRow], is_final: bool) -> Vec<String> {
    let mut last: BTreeMap<_, &FrustrationRow> = BTreeMap::new();
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
        Some(FrustrationRow::Incident(incident)) => {
            format!("{} {:?}", incident.started_at, incident.attributes)
        }
        row => panic!("a signal's incident does not hold: {row:?}"),
    };
    let clean = |row: &FrustrationRow| {
        assert!(!is_final || meta(row).is_final, "it is not final: {row:?}");
        let mut row = row.clone();
        let mut incident = None;
        let (FrustrationRow::Session(Session { meta, .. })
        | FrustrationRow::Signal(Signal { meta, .. })
        | FrustrationRow::Incident(Incident { meta, .. })) = &mut row
        else {
            unreachable!()
        };
        (meta.id, meta.version, meta.settings_version, meta.first_arrival) = (uuid::Uuid::nil(), 0, 0, 0);
        (meta.evidence, meta.merged_into) = (Default::default(), None);
        if let FrustrationRow::Signal(signal) = &mut row {
            incident = signal.incident_id.take().map(label);
        }
        format!("{row:?} {incident:?}")
    };
    let mut found: Vec<String> = last.values().map(|row| clean(row)).collect();
    found.sort();
    let signals = last.values().filter(|row| matches!(row, FrustrationRow::Signal(_))).count();
    let counted = last
        .values()
        .map(|row| if let FrustrationRow::Session(row) = row { row.signals as usize } else { 0 });
    assert_eq!(signals, counted.sum::<usize>(), "sessions count their signals: {found:#?}");
    found
}

/// A session's rows, in the order of the log.
fn rows_of(driver: &mut Driver, key: &str) -> Vec<FrustrationRow> {
    let rows = driver.take();
    rows.into_iter().filter(|row| meta(row).key == key).collect()
}

/// Of each signal of a rule the versions, retracted or not.
fn signals(rows: &[FrustrationRow], rule: &str) -> Vec<(Millis, bool)> {
    let of = |row: &FrustrationRow| match row {
        FrustrationRow::Signal(signal) if signal.rule == rule => {
            Some((signal.started_at - BEGIN, signal.meta.retracted))
        }
        _ => None,
    };
    rows.iter().filter_map(of).collect()
}

/// Of each version of an incident: its score and severity, and whether it is retracted.
fn incidents(rows: &[FrustrationRow]) -> Vec<(&str, Severity, bool)> {
    fn of(row: &FrustrationRow) -> Option<(&str, Severity, bool)> {
        let FrustrationRow::Incident(row) = row else { return None };
        Some((&row.attributes["score"], row.severity, row.meta.retracted))
    }
    rows.iter().filter_map(of).collect()
}
