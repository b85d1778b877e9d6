//! Any fold in pieces gives what it gives in one go (I2), whatever is committed, taken back or restored in between (I5).

use proptest::collection::vec;
use proptest::prelude::*;
use tidewatch::event::Millis;
use tidewatch::event::civic::{Body, CivicEvent, IssueStatus, IssueStatusChanged, ReportSubmitted, issue_id};
use tidewatch::event::derived;
use tidewatch::operators::sla::Sla;
use tidewatch::stream::{FamilySettings, Operator, Payload, Record, Step, TestDriver};

use crate::kit::{Alarms, Plan, TestEvent, bytes};
use crate::properties::{self, Naming, family, log, times};

/// A record of the log: its key, its append time, what it says.
type Entry<E> = (String, Millis, Payload<E>);

/// What is done between records.
#[derive(Debug, Clone, Copy)]
enum Action {
    /// So many steps, with room for so many rows each.
    Process {
        steps: usize,
        room: usize,
    },
    Commit,
    Abort,
    /// The state as it stands is written down and read by a new task.
    Restore,
    /// A crash: a new task reads the compacted changelog.
    Crash,
    /// The counts are taken, which drops those of hours that are over.
    Account,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let process = (1_usize..8, prop_oneof![2 => 1_usize..4, 1 => Just(usize::MAX)]);
    let process = process.prop_map(|(steps, room)| Action::Process { steps, room });
    let action = prop_oneof![
        8 => process,
        3 => Just(Action::Commit),
        2 => Just(Action::Abort),
        1 => Just(Action::Restore),
        1 => Just(Action::Crash),
        1 => Just(Action::Account),
    ];
    vec(action, 0..60)
}

/// One step with the next record, or the one that is not finished.
fn step<O: Operator>(
    driver: &mut TestDriver<O>,
    log: &[Entry<O::Event>],
    room: usize,
    rows: &mut Vec<O::Row>,
) -> bool
where
    O::Event: Clone,
{
    let offset = driver.task().offset();
    let Some((key, append_time, payload)) = log.get(offset as usize) else { return false };
    let raw_key = (!key.is_empty()).then_some(key.as_bytes());
    let payload = payload.clone();
    let record = Record { offset, append_time: *append_time, raw_key, raw_value: None, payload };
    let mut emitted = Vec::new();
    let done = driver.task().process(&record, room, &mut emitted);
    assert!(done != Step::Full || emitted.len() >= room, "it stops only where there is no room");
    rows.append(&mut emitted);
    true
}

/// In one go, without a commit.
fn whole<O: Operator>(make: &dyn Fn() -> TestDriver<O>, log: &[Entry<O::Event>]) -> Vec<O::Row>
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
    log: &[Entry<O::Event>],
    actions: &[Action],
) -> Result<Vec<O::Row>, TestCaseError>
where
    O::Event: Clone,
{
    let (mut driver, mut committed, mut pending) = (make(), Vec::new(), Vec::new());
    driver.commit();
    let mut at_commit = driver.snapshot();
    for action in actions {
        match *action {
            Action::Process { steps, room } => {
                for _ in 0..steps {
                    step(&mut driver, log, room, &mut pending);
                }
            }
            Action::Commit => {
                driver.commit();
                committed.append(&mut pending);
                at_commit = driver.snapshot();
                prop_assert_eq!(driver.changelog(), &at_commit, "the changelog, compacted, is the state");
            }
            Action::Abort => {
                driver.abort();
                pending.clear();
                prop_assert_eq!(&driver.snapshot(), &at_commit, "an abort leaves no trace");
            }
            Action::Restore => {
                let snapshot = driver.snapshot();
                driver.restore(&snapshot).unwrap();
                committed.append(&mut pending);
                prop_assert_eq!(&driver.snapshot(), &snapshot, "what is written down is what is read");
                at_commit = snapshot;
            }
            Action::Crash => {
                let changelog = driver.changelog().clone();
                driver.restore(&changelog).unwrap();
                pending.clear();
                prop_assert_eq!(&driver.snapshot(), &at_commit, "as it was at the commit");
            }
            Action::Account => drop(driver.task().accounting()),
        }
    }
    while step(&mut driver, log, usize::MAX, &mut pending) {}
    committed.append(&mut pending);
    let counts = driver.task().totals().records;
    let data = log.iter().filter(|(.., payload)| !matches!(payload, Payload::Mark { .. })).count();
    let outcomes = counts.folded + counts.duplicate + counts.late + counts.dead_lettered;
    prop_assert_eq!((counts.read, outcomes), (data as u64, data as u64), "nothing vanishes (I7)");
    Ok(committed)
}

/// Both ways, row by row.
fn compare<O: Operator>(
    make: &dyn Fn() -> TestDriver<O>,
    log: &[Entry<O::Event>],
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
fn entries(steps: &[properties::Step]) -> Vec<Entry<TestEvent>> {
    let mark = |append: Millis| (String::new(), append, Payload::Mark { settings_version: append / 1000 });
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
        compare(&make, &entries(&steps), &actions, bytes)?;
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
        compare(&make, &entries(&steps), &actions, bytes)?;
    }

    #[test]
    fn i2_timers_in_pieces(times in times(), steps in log(Naming::Mixed, 60), actions in actions()) {
        let make = move || TestDriver::new(|| Alarms, family(times));
        compare(&make, &entries(&steps), &actions, bytes)?;
    }

    #[test]
    fn i2_service_levels_in_pieces(
        allowance in prop_oneof![Just(0_i64), Just(20_i64)],
        horizon in prop_oneof![Just(60_i64), Just(100_000_i64)],
        log in civic_log(),
        actions in actions(),
    ) {
        let make = move || {
            let sla = Sla { default_due: 50, grace: 40, memory: 60 };
            let settings = FamilySettings { allowance, duplicate_horizon: horizon, ..FamilySettings::default() };
            TestDriver::new(move || sla.clone(), settings)
        };
        compare(&make, &log, &actions, civic_bytes)?;
    }

    #[test]
    fn i2_the_same_log_gives_the_same_rows(times in times(), steps in log(Naming::Mixed, 60)) {
        let make = move || Plan::session(10, Some(40), 30).driver(family(times));
        let rows = || whole(&make, &entries(&steps)).iter().map(bytes).collect::<Vec<_>>();
        prop_assert_eq!(rows(), rows());
    }

    #[test]
    fn i4_what_is_in_force_never_falls(versions in vec(0_i64..50, 1..30)) {
        let mut driver = TestDriver::new(|| Alarms, FamilySettings::default());
        for (index, version) in versions.iter().enumerate() {
            let payload = Payload::Mark { settings_version: *version };
            driver.append_payload(None, index as Millis, payload);
            let highest = versions[..=index].iter().max().copied();
            prop_assert_eq!(Some(driver.task().settings_version()), highest);
        }
        prop_assert_eq!(driver.task().totals().marks, versions.len() as u64);
        prop_assert_eq!(driver.task().totals().records.read, 0, "marks are no data");
    }
}

/// Reports and changes of their status in two areas, with repeats, and marks.
fn civic_log() -> impl Strategy<Value = Vec<Entry<CivicEvent>>> {
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
        let mut log: Vec<Entry<CivicEvent>> = Vec::new();
        for (kind, report, step, offset, due, status, change) in raws {
            append += step;
            let (area, id) = (["x", "y"][usize::from(report % 2)], format!("r{report}"));
            let (event_id, body) = match kind {
                0 => {
                    log.push((String::new(), append, Payload::Mark { settings_version: append / 1000 }));
                    continue;
                }
                1..5 => (id, Body::ReportSubmitted(submitted(area, due.map(|due| append + due)))),
                _ => {
                    let issue_id = issue_id("t", area, &id);
                    (format!("c{change}"), Body::IssueStatusChanged(IssueStatusChanged { issue_id, status }))
                }
            };
            let event = CivicEvent { tenant: "t".into(), event_id, occurred_at: append + offset, body };
            log.push((event.record_key(), append, Payload::Event(event)));
        }
        log.push((String::new(), 2_000_000, Payload::Mark { settings_version: 5000 }));
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

fn civic_bytes(row: &derived::Row) -> String {
    match row {
        derived::Row::Incident(row) => bytes(row),
        derived::Row::SlaMetric(row) => bytes(row),
        derived::Row::DeadLetter(row) => bytes(row),
        derived::Row::LateEvent(row) => bytes(row),
    }
}
