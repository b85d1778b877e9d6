//! Time is a key's own (I3): nothing that happens to other keys of a partition changes a key's rows.

use std::collections::BTreeSet;

use tidewatch::engine::Millis;
use tidewatch::engine::{FamilySettings, Payload, Record, TestDriver, Windowed};

use crate::kit::{Plan, Row, Tallies, TestEvent};
use crate::model::{Act, Output, Who};

const MINUTE: Millis = 60_000;
const HOUR: Millis = 60 * MINUTE;
/// 2026-01-01.
const NOW: Millis = 1_767_225_600_000;
/// 2011-07-01.
const THEN: Millis = 1_309_478_400_000;

/// (append time, key, event time).
type Log = Vec<(Millis, &'static str, Millis)>;

/// What is watched: two keys that record once a minute for four hours, a little out of order, and one that falls silent.
fn watched() -> Log {
    let mut log = Log::new();
    for minute in 0..240 {
        let now = NOW + minute * MINUTE;
        log.push((now, "a/steady", now - minute % 7 * 1000));
        log.push((now + 20_000, "b/late", now - minute % 50 * MINUTE));
        if minute < 30 {
            log.push((now, "a/silent", now));
        }
    }
    log
}

/// A device whose clock is four minutes fast.
fn fast() -> Log {
    (0..240).map(|minute| NOW + minute * MINUTE).map(|now| (now, "a/fast", now + 4 * MINUTE)).collect()
}

/// A tenant that loads a month of 2011 within an hour.
fn import() -> Log {
    (0..720).map(|hour| (NOW + HOUR + hour * 5000, "c/import", THEN + hour * HOUR)).collect()
}

/// A producer that stalls for two hours and then flushes.
fn stalled() -> Log {
    let sent = |minute: Millis| if (30..150).contains(&minute) { 150 } else { minute };
    (0..240).map(|minute| (NOW + sent(minute) * MINUTE, "a/stalled", NOW + minute * MINUTE)).collect()
}

fn driver() -> TestDriver<Windowed<Tallies>> {
    Plan::fixed(10 * MINUTE, 10 * MINUTE, HOUR).driver(FamilySettings::new(10_000, 24 * HOUR))
}

/// Outputs of some keys, in the order of each key's.
fn run(logs: &[Log], keys: &[&str]) -> Vec<Output> {
    let mut log: Log = logs.concat();
    log.sort_by_key(|(append, ..)| *append);
    let mut driver = driver();
    for (append, key, time) in log {
        driver.advance_to(append);
        let tenant = key.split('/').next().unwrap().to_owned();
        let event = TestEvent { tenant, who: Who::Nobody, time, value: 1, act: Act::Nothing, fault: None };
        driver.append(key, append, event);
    }
    driver.advance_to(NOW + 24 * HOUR);
    let outputs =
        driver.take().iter().map(Row::output).filter(|output| keys.contains(&output.key())).collect();
    crate::kit::by_key(outputs)
}

#[test]
fn i3_others_change_nothing() {
    let keys = ["a/steady", "b/late", "a/silent"];
    let alone = run(&[watched()], &keys);
    assert!(alone.len() > 510, "{} outputs", alone.len());
    for others in [vec![fast()], vec![import()], vec![stalled()], vec![fast(), import(), stalled()]] {
        let logs = [vec![watched()], others].concat();
        assert!(run(&logs, &keys) == alone, "others have changed a key's rows");
    }
}

#[test]
fn i3_old_data_loads_in_its_own_time_and_a_flush_is_not_late() {
    let count = |outputs: &[Output]| {
        let last = |output: &Output| if let Output::Final { count, .. } = output { *count } else { 0 };
        let late = outputs.iter().filter(|output| matches!(output, Output::Late { .. })).count();
        (outputs.iter().map(last).sum::<i64>(), late)
    };
    let logs = [watched(), fast(), import(), stalled()];
    assert_eq!(count(&run(&logs, &["c/import"])), (720, 0), "each record of 2011 is in a window of 2011");
    assert_eq!(count(&run(&logs, &["a/fast"])), (240, 0));
    // What the stalled producer sends after two hours of silence: windows that its silence has finalised are dropped, and
    // what belongs to those alone is late. Counted, not lost.
    let (folded, late) = count(&run(&logs, &["a/stalled"]));
    assert_eq!(folded + late as i64, 240);
    assert_eq!(count(&run(&[stalled()], &["a/stalled"])), (folded, late), "whoever else is there");
}

#[test]
fn i3_timers_in_silence_fire_when_the_allowance_has_passed() {
    let mut driver = driver();
    let event = |time: Millis| TestEvent {
        tenant: "a".into(),
        who: Who::Nobody,
        time,
        value: 1,
        act: Act::Nothing,
        fault: None,
    };
    driver.append("a/x", NOW, event(NOW));
    driver.take();
    // The window's end and grace, strictly passed, and D.
    let due = NOW + 10 * MINUTE - 1 + HOUR;
    assert_eq!(driver.task().next_wake(), Some(due + 1 + 10_000));
    assert!(!driver.task().is_due(due + 10_000));
    assert!(driver.task().is_due(due + 10_001), "a worker then appends a mark (I4)");
    driver.mark(due + 10_000);
    assert!(driver.take().is_empty());
    driver.mark(due + 10_001);
    assert_eq!(driver.take().len(), 1);
    assert_eq!(driver.task().next_wake(), None);
}

/// A backlog of an intake topic that is copied at once: each key's silence counts from the copy, its stream time ends where its
/// record was when it was first appended, and nobody else's clock moves.
#[test]
fn i3_a_backlog_that_is_copied_at_once_shreds_nothing() {
    let mut driver = Plan::session(1_800_000, None, 0).driver(FamilySettings::new(10_000, 24 * HOUR));
    let copied_at = 10 * HOUR;
    // An event a minute for two hours, appended to the intake topic as it happened, copied hours later.
    for minute in 0..120 {
        let time = minute * 60_000;
        let event = TestEvent {
            tenant: "a".into(),
            who: Who::Id(minute.to_string()),
            time,
            value: 1,
            act: Act::Nothing,
            fault: None,
        };
        let record = Record {
            offset: minute,
            append_time: copied_at + minute,
            first_append: Some(time + 5),
            raw_key: Some(b"a/x"),
            raw_value: None,
            payload: Payload::Event(event),
        };
        driver.process(&record);
    }
    driver.advance_to(copied_at + 2 * HOUR);
    let ids: BTreeSet<_> = driver.take().iter().filter_map(|row| row.meta().map(|meta| meta.id)).collect();
    assert_eq!(ids.len(), 1, "one session");
}
