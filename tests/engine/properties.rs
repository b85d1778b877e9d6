//! The engine against the naive model: the same records, compared record by record.

use proptest::collection::vec;
use proptest::prelude::*;
use tidewatch::engine::Millis;
use tidewatch::engine::{FamilySettings, Operator, TenantSettings, TestDriver};

use crate::kit::{Alarms, Plan, Row, TestEvent, by_key};
use crate::model::{Act, Fate, Input, Kind, Model, Settings, Who};

/// Three keys of two tenants, in one partition.
const KEYS: [&str; 3] = ["a/x", "a/y", "b/z"];

/// A record of the log, or a mark.
#[derive(Debug, Clone)]
pub enum Step {
    Record(Input),
    Mark(Millis),
}

#[derive(Debug, Clone)]
pub struct Raw {
    key: usize,
    /// From the append time before; negative where a new leader's clock is behind.
    step: Millis,
    /// Event time from append time.
    offset: Millis,
    who: u8,
    number: u64,
    value: i64,
    act: Act,
    /// Of a timer: from the append time.
    due: Millis,
    is_mark: bool,
}

fn raw() -> impl Strategy<Value = Raw> {
    let step =
        prop_oneof![4 => Just(0_i64), 8 => 1_i64..8, 3 => 8_i64..60, 1 => 100_i64..900, 1 => -12_i64..0];
    let offset = prop_oneof![
        8 => -6_i64..=0,
        6 => -60_i64..=0,
        3 => -500_i64..-60,
        1 => Just(-100_000_i64),
        1 => 0_i64..12,
        1 => Just(240_000_i64),
        1 => 299_999_i64..300_003,
    ];
    let timer = (0_i64..4, 0_u8..3, -40_i64..60);
    let act = prop_oneof![
        6 => timer.prop_map(|(name, again, shift)| Act::Set { name, due: 0, again, shift }),
        1 => (0_i64..4).prop_map(|name| Act::Cancel { name }),
        2 => Just(Act::Nothing),
    ];
    let due = prop_oneof![6 => -30_i64..90, 2 => -400_i64..-30, 1 => 90_i64..600];
    let fields =
        (0..KEYS.len(), step, offset, 0_u8..10, 0_u64..12, -5_i64..20, act, due, prop::bool::weighted(0.1));
    fields.prop_map(|(key, step, offset, who, number, value, act, due, is_mark)| Raw {
        key,
        step,
        offset,
        who,
        number,
        value,
        act,
        due,
        is_mark,
    })
}

/// How records are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// By a few ids, which come again.
    Ids,
    /// By sequences of two producers a key, now and then with a repeat or a gap.
    Sequences,
    /// Any of these.
    Mixed,
}

/// Records and marks in the order of the log.
pub fn log(naming: Naming, length: usize) -> impl Strategy<Value = Vec<Step>> {
    vec(raw(), 1..length).prop_map(move |raws| build(naming, raws))
}

fn build(naming: Naming, raws: Vec<Raw>) -> Vec<Step> {
    let (mut append, mut highest) = (1_000_000, 1_000_000);
    let mut next = [[1_u64; 2]; KEYS.len()];
    let mut steps = Vec::new();
    for raw in raws {
        // A new leader's clock may be a little behind.
        append = (append + raw.step).max(highest - 20);
        highest = append.max(highest);
        if raw.is_mark {
            steps.push(Step::Mark(append));
            continue;
        }
        let id = || Who::Id(format!("e{}", raw.number));
        let mut sequence = || {
            let producer = usize::from(raw.who % 2);
            let next = &mut next[raw.key][producer];
            let number = match raw.number {
                // A repeat, a gap, else the next.
                0 => next.saturating_sub(1),
                1 => *next + 1,
                _ => *next,
            };
            *next = (*next).max(number + 1);
            Who::Sequence(["p", "q"][producer], number)
        };
        let who = match naming {
            Naming::Ids => id(),
            Naming::Sequences => sequence(),
            Naming::Mixed => match raw.who {
                0..3 => Who::Nobody,
                3..6 => id(),
                _ => sequence(),
            },
        };
        let act = match raw.act {
            Act::Set { name, again, shift, .. } => Act::Set { name, due: append + raw.due, again, shift },
            other => other,
        };
        let (key, time, value) = (KEYS[raw.key], append + raw.offset, raw.value);
        steps.push(Step::Record(Input { key, append, time, who, value, act }));
    }
    steps
}

/// D of both tenants, and the horizon.
pub fn times() -> impl Strategy<Value = (Millis, Millis, Millis)> {
    let allowance = || prop_oneof![Just(0_i64), Just(5_i64), Just(40_i64)];
    (allowance(), allowance(), prop_oneof![Just(30_i64), Just(300_i64), Just(1_000_000_000_i64)])
}

pub fn family<S: Default>((a, b, horizon): (Millis, Millis, Millis)) -> FamilySettings<S> {
    let b = TenantSettings { allowance: b, operator: S::default() };
    FamilySettings { tenants: [("b".to_owned(), b)].into(), ..FamilySettings::new(a, horizon) }
}

/// Feeds both, and compares what comes out with each record; at the end much silence passes, so that all is finalised.
fn compare<O>(
    mut driver: TestDriver<O>,
    kind: Kind,
    times: (Millis, Millis, Millis),
    steps: &[Step],
) -> Result<(), TestCaseError>
where
    O: Operator<Event = TestEvent, Row = Row>,
{
    let (a, b, horizon) = times;
    let mut model = Model::new(Settings { allowance: vec![("a", a), ("b", b)], horizon, kind });
    let mut read = 0;
    let end = [Step::Mark(1_500_000), Step::Mark(3_000_000)];
    for step in steps.iter().chain(&end) {
        match step {
            Step::Mark(append) => {
                driver.mark(*append);
                model.mark(*append);
            }
            Step::Record(input) => {
                read += 1;
                let fate = Fate::from(driver.append(input.key, input.append, input.into()));
                prop_assert_eq!(fate, model.record(input), "{:?}", input);
            }
        }
        let rows = driver.take();
        let found = by_key(rows.iter().map(Row::output).collect());
        prop_assert_eq!(found, by_key(model.take()), "{:?}", step);
        for row in &rows {
            if let Row::Window { meta, tally, .. } = row {
                prop_assert_eq!(meta.evidence.count, tally.count, "each record is evidence once (I8)");
            }
        }
        prop_assert_eq!(driver.task().next_wake(), model.next_wake(), "after {:?}", step);
    }
    let counts = driver.task().totals().records;
    let outcomes = counts.folded + counts.duplicate + counts.late + counts.dead_lettered;
    prop_assert_eq!((counts.read, outcomes), (read, read), "nothing vanishes (I7)");
    Ok(())
}

proptest! {
    #[test]
    fn i9_fixed_windows_agree_with_the_model(
        (size, advance) in prop_oneof![Just((20, 20)), Just((20, 5)), Just((30, 20)), Just((1, 1))],
        grace in prop_oneof![Just(0_i64), Just(7_i64), Just(100_i64)],
        times in times(),
        steps in log(Naming::Mixed, 60),
    ) {
        let driver = Plan::fixed(size, advance, grace).driver(family(times));
        compare(driver, Kind::Fixed { size, advance, grace }, times, &steps)?;
    }

    #[test]
    fn i9_sessions_agree_with_the_model_in_any_order_of_arrival(
        gap in prop_oneof![Just(0_i64), Just(5_i64), Just(25_i64)],
        grace in prop_oneof![Just(0_i64), Just(30_i64), Just(1000_i64)],
        times in times(),
        steps in log(Naming::Mixed, 60),
    ) {
        let driver = Plan::session(gap, None, grace).driver(family(times));
        compare(driver, Kind::Session { gap, grace }, times, &steps)?;
    }

    #[test]
    fn i3_watermarks_and_timers_agree_with_the_model(times in times(), steps in log(Naming::Mixed, 60)) {
        let driver = TestDriver::new(|| Alarms, family(times));
        compare(driver, Kind::Timers, times, &steps)?;
    }

    #[test]
    fn i3_producers_without_a_gap_are_in_order(times in times(), steps in log(Naming::Sequences, 60)) {
        let driver = TestDriver::new(|| Alarms, family(times));
        compare(driver, Kind::Timers, times, &steps)?;
    }

    #[test]
    fn i7_repeats_within_the_horizon_are_duplicates(times in times(), steps in log(Naming::Ids, 80)) {
        let driver = Plan::fixed(1_000_000, 1_000_000, 0).driver(family(times));
        compare(driver, Kind::Fixed { size: 1_000_000, advance: 1_000_000, grace: 0 }, times, &steps)?;
    }

    #[test]
    fn i9_sessions_do_not_depend_on_the_order_of_arrival(
        (events, order) in vec((-300_i64..0, 0_i64..50), 1..40).prop_flat_map(|events| {
            (Just(events.clone()), Just(events).prop_shuffle())
        }),
    ) {
        let last = |events: &[(Millis, i64)]| {
            let mut driver = Plan::session(10, None, 10_000).driver(FamilySettings::default());
            for (index, (time, value)) in events.iter().enumerate() {
                driver.append("a/x", 5000 + index as Millis, event(5000 + time, *value));
            }
            driver.take();
            driver.advance_to(100_000);
            driver.take().iter().map(|row| format!("{:?}", row.output())).collect::<std::collections::BTreeSet<_>>()
        };
        prop_assert_eq!(last(&events), last(&order));
    }

    #[test]
    fn i9_sessions_with_a_maximum_stay_within_it(
        gap in 1_i64..20,
        maximum in 0_i64..40,
        times in vec(-120_i64..0, 1..60),
    ) {
        let mut driver = Plan::session(gap, Some(maximum), 10_000).driver(FamilySettings::default());
        // The sessions that hold, by id.
        let mut held = std::collections::BTreeMap::new();
        let mut parted: Vec<(Millis, Millis)> = Vec::new();
        for (index, time) in times.iter().enumerate() {
            driver.append("a/x", 5000 + index as Millis, event(5000 + time, 1));
            for row in driver.take() {
                let Row::Window { meta, window, tally } = row else { unreachable!("nothing is late") };
                if meta.retracted {
                    held.remove(&meta.id);
                } else {
                    held.insert(meta.id, (window, tally.count));
                }
            }
            let mut sessions: Vec<_> = held.values().copied().collect();
            sessions.sort();
            let count: i64 = sessions.iter().map(|(_, count)| count).sum();
            prop_assert_eq!(count, index as i64 + 1, "each record is in one session");
            let mut members: Vec<Millis> = times[..=index].iter().map(|time| 5000 + time).collect();
            members.sort_unstable();
            for (window, count) in &sessions {
                prop_assert!(window.end - window.start <= maximum, "{:?}", window);
                let inside = members.iter().filter(|time| (window.start..=window.end).contains(*time));
                prop_assert_eq!(inside.count() as i64, *count, "its bounds are those of its members: {:?}", window);
            }
            for (left, right) in &parted {
                let is_joined = sessions.iter().any(|(window, _)| window.start <= *left && *right <= window.end);
                prop_assert!(!is_joined, "the cut between {} and {} has moved: {:?}", left, right, sessions);
            }
            for pair in sessions.windows(2) {
                let (left, right) = (pair[0].0.end, pair[1].0.start);
                prop_assert!(left < right, "disjoint");
                // Sessions no more than a gap apart are parted by a cut, and for good.
                if right - left <= gap {
                    parted.push((left, right));
                }
            }
        }
    }
}

fn event(time: Millis, value: i64) -> TestEvent {
    TestEvent { tenant: "a".into(), who: Who::Nobody, time, value, act: Act::Nothing, fault: None }
}

#[test]
fn i9_a_cut_never_moves() {
    // Gap 10, maximum 20: the session that began at 100 is cut at 120.
    let mut driver = Plan::session(10, Some(20), 10_000).driver(FamilySettings::default());
    let mut bounds = |time: Millis| {
        driver.append("a/x", 5000, event(time, 1));
        let rows = driver.take();
        let Some(Row::Window { window, .. }) = rows.last() else { unreachable!("it is emitted") };
        (window.start, window.end)
    };
    assert_eq!(bounds(100), (100, 100));
    assert_eq!(bounds(110), (100, 110));
    assert_eq!(bounds(118), (100, 118));
    assert_eq!(bounds(121), (121, 121), "past the maximum");
    assert_eq!(bounds(120), (100, 120), "the cut belongs to the left");
    assert_eq!(bounds(95), (95, 95), "the left can't grow to the left, and is cut off there too");
    assert_eq!(bounds(125), (121, 125), "the right grows away from the cut");
    assert_eq!(bounds(119), (100, 120));
}
