//! Any fold in pieces gives what it gives in one go (I2), whatever is committed, checkpointed or restored in between (I5).

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use tidewatch::engine::Millis;
use tidewatch::engine::rows::{Evidence, OperatorRow};
use tidewatch::engine::{FamilySettings, Operator, Payload, Record, Step, TenantSettings, TestDriver};
use tidewatch::families::civic::event::{
    Body, CivicEvent, IssueStatus, IssueStatusChanged, ReportSubmitted, issue_id,
};
use tidewatch::families::civic::sla::rows::{SlaMetric, SlaRow};
use tidewatch::families::civic::sla::{Sla, SlaSettings};
use tidewatch::families::incident::Incident;
use uuid::Uuid;

use crate::kit::{Alarms, Plan, TestEvent, bytes};
use crate::properties;
use crate::properties::{Naming, family, log, times};

/// A record of the log: its key, its append time, what it says.
pub type Entry<O> = (String, Millis, Payload<O>);

/// What is done between records.
#[derive(Debug, Clone, Copy)]
pub enum Action {
    /// So many steps, with room for so many rows each.
    Process {
        steps: usize,
        room: usize,
    },
    Commit,
    /// A commit that begins a checkpoint, or writes so many bytes of one.
    Checkpoint(usize),
    /// What lies before the last complete checkpoint is deleted.
    Trim,
    /// A crash: a new task reads the changelog.
    Crash,
    /// The counts are taken, which drops those of hours that are over.
    Account,
}

pub fn actions() -> impl Strategy<Value = Vec<Action>> {
    let process = (1_usize..8, prop_oneof![2 => 1_usize..4, 1 => Just(usize::MAX)]);
    let process = process.prop_map(|(steps, room)| Action::Process { steps, room });
    let action = prop_oneof![
        8 => process,
        3 => Just(Action::Commit),
        4 => prop_oneof![1_usize..200, Just(usize::MAX)].prop_map(Action::Checkpoint),
        1 => Just(Action::Trim),
        2 => Just(Action::Crash),
        1 => Just(Action::Account),
    ];
    vec(action, 0..60)
}

/// One step with the next record, or the one that is not finished.
fn step<O: Operator>(
    driver: &mut TestDriver<O>,
    log: &[Entry<O>],
    room: usize,
    rows: &mut Vec<O::Row>,
) -> bool
where
    O::Event: Clone,
{
    let offset = driver.task().offset();
    let Some((key, append_time, payload)) = log.get(offset as usize) else { return false };
    let raw_key = (!key.is_empty()).then_some(key.as_bytes());
    driver.learn(payload);
    let payload = payload.clone();
    let record =
        Record { offset, append_time: *append_time, first_append: None, raw_key, raw_value: None, payload };
    let mut emitted = Vec::new();
    let done = driver.task().process(&record, room, &mut emitted);
    assert!(done != Step::Full || emitted.len() >= room, "it stops only where there is no room");
    rows.append(&mut emitted);
    true
}

/// In one go, without a commit.
fn whole<O: Operator>(make: &dyn Fn() -> TestDriver<O>, log: &[Entry<O>]) -> Vec<O::Row>
where
    O::Event: Clone,
{
    let (mut driver, mut rows) = (make(), Vec::new());
    while step(&mut driver, log, usize::MAX, &mut rows) {}
    rows
}

/// With what `actions` say; rows count when they are committed.
fn pieces<O: Operator>(
    make: &dyn Fn() -> TestDriver<O>,
    log: &[Entry<O>],
    actions: &[Action],
) -> Result<Vec<O::Row>, TestCaseError>
where
    O::Event: Clone,
{
    let (mut driver, mut committed, mut pending) = (make(), Vec::new(), Vec::new());
    driver.commit(None);
    let mut at_commit = driver.snapshot();
    for action in actions {
        match *action {
            Action::Process { steps, room } => {
                for _ in 0..steps {
                    step(&mut driver, log, room, &mut pending);
                }
            }
            Action::Commit | Action::Checkpoint(_) => {
                driver.commit(match action {
                    Action::Checkpoint(slice) => Some(*slice),
                    _ => None,
                });
                committed.append(&mut pending);
                at_commit = driver.snapshot();
            }
            Action::Trim => driver.trim(),
            Action::Crash => {
                driver.restore().unwrap();
                pending.clear();
                prop_assert_eq!(&driver.snapshot(), &at_commit, "as it was at the commit");
            }
            Action::Account => drop(driver.task().accounting()),
        }
    }
    while step(&mut driver, log, usize::MAX, &mut pending) {}
    committed.append(&mut pending);
    let counts = driver.task().totals().records;
    let data = log.iter().filter(|(.., payload)| !matches!(payload, Payload::Mark(_))).count();
    let outcomes = counts.folded + counts.duplicate + counts.late + counts.dead_lettered;
    prop_assert_eq!((counts.read, outcomes), (data as u64, data as u64), "nothing vanishes (I7)");
    Ok(committed)
}

/// Both ways, row by row.
pub fn compare<O: Operator>(
    make: &dyn Fn() -> TestDriver<O>,
    log: &[Entry<O>],
    actions: &[Action],
    bytes: fn(&O::Row) -> String,
) -> Result<(), TestCaseError>
where
    O::Event: Clone,
{
    let whole: Vec<String> = whole(make, log).iter().map(bytes).collect();
    let pieces: Vec<String> = pieces(make, log, actions)?.iter().map(bytes).collect();
    for (place, (whole, piece)) in whole.iter().zip(&pieces).enumerate() {
        prop_assert_eq!(whole, piece, "row {}", place);
    }
    prop_assert_eq!(whole.len(), pieces.len());
    Ok(())
}

/// The log of the properties, and a mark at the end that finalises all.
fn entries<O>(steps: &[properties::Step], settings: &FamilySettings<()>) -> Vec<Entry<O>>
where
    O: Operator<Event = TestEvent, Settings = ()>,
{
    let mark = |append: Millis| {
        let settings = FamilySettings { version: append / 1000, ..settings.clone() };
        (String::new(), append, Payload::Mark(Arc::new(settings)))
    };
    let entry = |step: &properties::Step| match step {
        properties::Step::Mark(append) => mark(*append),
        properties::Step::Record(input) => {
            (input.key.to_owned(), input.append, Payload::Event(TestEvent::from(input)))
        }
    };
    steps.iter().map(entry).chain([mark(1_500_000), mark(3_000_000)]).collect()
}

proptest! {
    #[test]
    fn i2_fixed_windows_in_pieces(
        (size, advance) in prop_oneof![Just((20, 20)), Just((20, 5))],
        times in times(),
        steps in log(Naming::Mixed, 60),
        actions in actions(),
    ) {
        let make = move || Plan::fixed(size, advance, 30).driver(family(times));
        compare(&make, &entries(&steps, &family(times)), &actions, bytes)?;
    }

    #[test]
    fn i2_sessions_in_pieces(
        gap in prop_oneof![Just(5_i64), Just(25_i64)],
        maximum in prop_oneof![Just(None), Just(Some(30_i64))],
        times in times(),
        steps in log(Naming::Mixed, 60),
        actions in actions(),
    ) {
        let make = move || Plan::session(gap, maximum, 200).driver(family(times));
        compare(&make, &entries(&steps, &family(times)), &actions, bytes)?;
    }

    #[test]
    fn i2_timers_in_pieces(times in times(), steps in log(Naming::Mixed, 60), actions in actions()) {
        let make = move || TestDriver::new(|| Alarms, family(times));
        compare(&make, &entries(&steps, &family(times)), &actions, bytes)?;
    }

    #[test]
    fn i2_service_levels_in_pieces(
        allowance in prop_oneof![Just(0_i64), Just(20_i64)],
        horizon in prop_oneof![Just(60_i64), Just(100_000_i64)],
        log in civic_log(),
        actions in actions(),
    ) {
        let log = log.into_iter().map(|step| civic_entry(step, allowance, horizon)).collect::<Vec<_>>();
        let make = move || {
            TestDriver::new(|| Sla { memory: 60 }, sla_settings(0, allowance, horizon, 50, 40))
        };
        compare(&make, &log, &actions, row_bytes)?;
    }

    #[test]
    fn i2_the_same_log_gives_the_same_rows(times in times(), steps in log(Naming::Mixed, 60)) {
        let make = move || Plan::session(10, Some(40), 30).driver(family(times));
        let rows = || whole(&make, &entries(&steps, &family(times))).iter().map(bytes).collect::<Vec<_>>();
        prop_assert_eq!(rows(), rows());
    }

    #[test]
    fn i4_what_is_in_force_never_falls(versions in vec(0_i64..50, 1..30)) {
        let mut driver = TestDriver::new(|| Alarms, FamilySettings::default());
        for (index, version) in versions.iter().enumerate() {
            let settings = FamilySettings { version: *version, ..FamilySettings::default() };
            driver.change_settings(index as Millis, settings);
            let highest = versions[..=index].iter().max().copied();
            prop_assert_eq!(Some(driver.task().settings().version), highest);
        }
        prop_assert_eq!(driver.task().totals().marks, versions.len() as u64);
        prop_assert_eq!(driver.task().totals().records.read, 0, "marks are no data");
    }
}

/// What holds: of each row the last version, without the retracted, and without what tells versions apart.
fn current(rows: Vec<SlaRow>) -> BTreeMap<Uuid, String> {
    let mut last = BTreeMap::new();
    for mut row in rows {
        let (SlaRow::Incident(Incident { meta, .. }) | SlaRow::Metric(SlaMetric { meta, .. })) = &mut row
        else {
            continue;
        };
        (meta.version, meta.settings_version) = (0, 0);
        // It grows with each record, also with one that changes nothing else; rows that follow show what there is then.
        meta.evidence = Evidence::default();
        let (id, is_retracted) = (meta.id, meta.retracted);
        last.insert(id, (!is_retracted).then(|| format!("{row:?}")));
    }
    last.into_iter().filter_map(|(id, row)| Some((id, row?))).collect()
}

proptest! {
    /// Settings that change in the midst of a life leave what they would have made of it from its beginning.
    #[test]
    fn i4_a_change_of_settings_leaves_what_a_fresh_fold_gives(
        allowance in prop_oneof![Just(0_i64), Just(20_i64)],
        (before, after) in (1_i64..80, 1_i64..80),
        log in civic_log(),
        place in 0_usize..50,
    ) {
        // Nothing becomes final meanwhile.
        let settings = |version, due| sla_settings(version, allowance, 100_000, due, 10_000_000);
        let places = [place / 2, place];
        // At each place a mark, which may bring a due time into force.
        let fold = |first: Millis, changes: [Option<Millis>; 2]| {
            let mut driver = TestDriver::new(Sla::default, settings(0, first));
            let mut marks = places.into_iter().zip((1..).zip(changes)).collect::<Vec<_>>();
            let mut pass = |driver: &mut TestDriver<Sla>, index: usize| {
                while marks.first().is_some_and(|(place, _)| *place <= index) {
                    let (_, (version, due)) = marks.remove(0);
                    let clock = driver.task().clock().max(1_000_000);
                    match due {
                        Some(due) => driver.change_settings(clock, settings(version, due)),
                        None => driver.mark(clock),
                    }
                }
            };
            for (index, step) in log.iter().enumerate() {
                pass(&mut driver, index);
                match step.clone() {
                    CivicStep::Mark(append, ..) => driver.mark(append),
                    CivicStep::Event(append, event) => drop(driver.append(&event.record_key(), append, event)),
                }
            }
            pass(&mut driver, usize::MAX);
            driver.mark(2_100_000);
            current(driver.take())
        };
        let fresh = fold(after, [None, None]);
        prop_assert_eq!(&fold(before, [None, Some(after)]), &fresh);
        prop_assert_eq!(&fold(after, [Some(before), Some(after)]), &fresh, "there and back");
    }
}

/// Settings of both tenants, whose due times differ.
fn sla_settings(
    version: i64,
    allowance: Millis,
    horizon: Millis,
    due: Millis,
    grace: Millis,
) -> FamilySettings<SlaSettings> {
    let of = |default_due| TenantSettings { allowance, operator: SlaSettings { default_due, grace } };
    // The other tenant has no default now and then.
    let other = of((due % 4 != 0).then_some(due / 2));
    let tenants = [("u".to_owned(), other)].into();
    FamilySettings { version, duplicate_horizon: horizon, defaults: of(Some(due)), tenants }
}

/// What is to become a record.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "there are few")]
enum CivicStep {
    /// A mark: append time, and the default due time and the grace that it brings into force.
    Mark(Millis, Millis, Millis),
    Event(Millis, CivicEvent),
}

fn civic_entry(step: CivicStep, allowance: Millis, horizon: Millis) -> Entry<Sla> {
    match step {
        CivicStep::Mark(append, due, grace) => {
            let settings = sla_settings(append / 10, allowance, horizon, due, grace);
            (String::new(), append, Payload::Mark(Arc::new(settings)))
        }
        CivicStep::Event(append, event) => (event.record_key(), append, Payload::Event(event)),
    }
}

/// Reports and changes of their status in areas of two tenants, with repeats, and marks that change the settings.
fn civic_log() -> impl Strategy<Value = Vec<CivicStep>> {
    let status = prop_oneof![
        Just(IssueStatus::Open),
        Just(IssueStatus::InProgress),
        Just(IssueStatus::Resolved),
        Just(IssueStatus::Closed),
    ];
    let step = prop_oneof![4 => 0_i64..10, 2 => 10_i64..80, 1 => Just(400_i64)];
    let offset = prop_oneof![6 => -10_i64..=0, 3 => -120_i64..=0, 1 => Just(400_000_i64)];
    let due = prop::option::of(-60_i64..90);
    let raw = (0_u8..10, 0_u8..6, step, offset, due, status, 0_u8..40);
    vec(raw, 1..50).prop_map(|raws| {
        let mut append = 1_000_000;
        let mut log = Vec::new();
        for (kind, report, step, offset, due, status, change) in raws {
            append += step;
            let (area, id) = (["x", "y"][usize::from(report % 2)], format!("r{report}"));
            let tenant = ["t", "u"][usize::from(report % 3 == 0)];
            let (event_id, body) = match kind {
                0 => {
                    log.push(CivicStep::Mark(
                        append,
                        Millis::from(change) * 3,
                        20 + Millis::from(report) * 10,
                    ));
                    continue;
                }
                1..5 => (id, Body::ReportSubmitted(submitted(area, due.map(|due| append + due)))),
                _ => {
                    let issue_id = issue_id(tenant, area, &id);
                    (format!("c{change}"), Body::IssueStatusChanged(IssueStatusChanged { issue_id, status }))
                }
            };
            let event = CivicEvent { tenant: tenant.into(), event_id, occurred_at: append + offset, body };
            log.push(CivicStep::Event(append, event));
        }
        log.push(CivicStep::Mark(2_000_000, 50, 40));
        log
    })
}

fn submitted(area: &str, due_at: Option<Millis>) -> ReportSubmitted {
    let (department, address, latitude, longitude, source) = (None, None, None, None, None);
    let description = "A lamp is out".to_owned();
    ReportSubmitted {
        area: area.into(),
        description,
        due_at,
        department,
        address,
        latitude,
        longitude,
        source,
    }
}

pub fn row_bytes<R: OperatorRow>(row: &R) -> String {
    bytes(row)
}
