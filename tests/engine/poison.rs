//! Poison: a record or timer that fails is undone alone and dead-lettered with its cause; the rest is as if it had not
//! been (I7).

use proptest::collection::vec;
use proptest::prelude::*;
use tidewatch::engine::Millis;
use tidewatch::engine::rows::DeadLetter;
use tidewatch::engine::{FamilySettings, Outcome, TestDriver};

use crate::kit::{Alarms, Fault, Row, TestEvent, bytes, kind};
use crate::model::{Act, Who};

fn driver() -> TestDriver<Alarms> {
    TestDriver::new(|| Alarms, FamilySettings::new(10, 1_000_000))
}

fn event(id: &str, time: Millis, act: Act, fault: Option<Fault>) -> TestEvent {
    TestEvent { tenant: "a".into(), who: Who::Id(id.into()), time, value: 0, act, fault }
}

fn set(name: i64, due: Millis) -> Act {
    Act::Set { name, due, again: 0, shift: 0 }
}

fn letters(rows: &[Row]) -> Vec<&DeadLetter> {
    let mut letters = Vec::new();
    for row in rows {
        if let Row::DeadLetter(letter) = row {
            letters.push(letter);
        }
    }
    letters
}

#[test]
fn i7_a_fold_that_panics_is_dead_lettered_alone() {
    let (mut poisoned, mut clean) = (driver(), driver());
    for driver in [&mut poisoned, &mut clean] {
        driver.append("a/x", 100, event("1", 100, set(0, 500), None));
        driver.commit(None);
    }
    let outcome = poisoned.append("a/x", 200, event("2", 200, set(1, 300), Some(Fault::Record)));
    assert_eq!(outcome, Outcome::DeadLettered);
    let rows = poisoned.take();
    let [Row::DeadLetter(letter)] = &rows[..] else { panic!("one row alone: {rows:?}") };
    assert_eq!((letter.reason.as_str(), letter.message.as_str()), ("poison", "a fold that fails"));
    assert_eq!((letter.offset, letter.event_id.as_deref()), (1, Some("2")));
    // The record has been read, and its time counts: that of a record whose fold changes nothing does too.
    clean.append("a/x", 200, event("", 200, Act::Nothing, None));
    assert_eq!(keyed(&poisoned), keyed(&clean), "its entries and timers have not been");
    // It has not been seen: sent again without the fault it is folded.
    assert_eq!(poisoned.append("a/x", 210, event("2", 210, set(1, 300), None)), Outcome::Folded);
    poisoned.advance_to(2000);
    let fired: Vec<String> = poisoned.take().iter().map(|row| format!("{:?}", row.output())).collect();
    assert_eq!(fired.len(), 2, "the timers of the others, and of the repeat: {fired:?}");
}

/// The cells of keys, entries and timers; not those of ids, counts and position.
fn keyed(driver: &TestDriver<Alarms>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let is_keyed = |cell: &(Vec<u8>, Vec<u8>)| matches!(kind(&cell.0), b'h' | b'e' | b't');
    driver.snapshot().into_iter().filter(is_keyed).collect()
}

#[test]
fn i7_a_timer_that_panics_is_dead_lettered_alone_with_its_key() {
    let mut driver = driver();
    driver.append("a/x", 100, event("1", 100, set(0, 150), Some(Fault::Timer)));
    driver.append("a/x", 100, event("2", 100, set(1, 150), None));
    driver.append("a/y", 100, event("3", 100, set(0, 150), None));
    driver.commit(None);
    driver.advance_to(300);
    let rows = driver.take();
    let found: Vec<String> =
        rows.iter().filter_map(|row| row.meta().map(|meta| meta.key.to_string())).collect();
    assert_eq!(found, ["a/x", "a/y"], "the others fire");
    let letters = letters(&rows);
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].reason, "poison_timer");
    assert_eq!(letters[0].message, "timer 0, due 150, of key a/x: poison: a timer that fails");
    assert_eq!(letters[0].record_key.as_deref(), Some(b"a/x".as_slice()));
    assert_eq!(driver.task().totals().poisoned_timers, 1);
    let snapshot = driver.snapshot();
    let is_of = |wanted: u8| snapshot.keys().filter(|name| kind(name) == wanted).count();
    assert_eq!(is_of(b't'), 0, "the timer that it set is gone with it, and it does not fire again");
    assert_eq!(is_of(b'e'), 1, "the entry that it removed is back");
    driver.commit(None);
    driver.restore().unwrap();
    assert_eq!(driver.snapshot(), snapshot);
}

#[test]
fn i7_what_was_poisoned_is_not_a_duplicate_and_its_number_no_gap() {
    let mut driver = driver();
    let numbered = |number: u64, time: Millis, act: Act, fault: Option<Fault>| TestEvent {
        who: Who::Sequence("p", number),
        ..event("", time, act, fault)
    };
    driver.append("a/x", 100, numbered(1, 100, Act::Nothing, None));
    driver.append("a/x", 110, numbered(2, 110, Act::Nothing, Some(Fault::Record)));
    // Still without a gap, so D is 0 and what is due at 119 fires with the record of 120.
    driver.append("a/x", 111, numbered(3, 111, set(0, 119), None));
    driver.take();
    driver.append("a/x", 120, numbered(4, 120, Act::Nothing, None));
    assert_eq!(driver.take().len(), 1);
}

proptest! {
    /// Faults in some records and timers change nothing for the rest: entries, timers and rows of the other names and
    /// keys are those of a log in which these records do nothing.
    #[test]
    fn i7_the_rest_is_as_if_the_poison_had_not_been(
        raws in vec((0_usize..2, 0_i64..4, 0_i64..30, 1_i64..80, 0_u8..10), 1..40),
        commit in 1_usize..7,
    ) {
        let (mut poisoned, mut clean) = (driver(), driver());
        let (mut append, mut read) = (1000, 0);
        let (mut rows, mut clean_rows) = (Vec::new(), Vec::new());
        for (index, (key, name, step, due, kind)) in raws.iter().enumerate() {
            append += step;
            read += 1;
            let (key, id) = (["a/x", "a/y"][*key], index.to_string());
            // Names of their own, so that the failing timers take the place of none.
            let (fault, name) = match kind {
                0 => (Some(Fault::Record), *name),
                1 => (Some(Fault::Timer), 10 + *name),
                _ => (None, *name),
            };
            let act = set(name, append + due);
            let clean_act = if fault.is_some() { Act::Nothing } else { act };
            poisoned.append(key, append, event(&id, append, act, fault));
            clean.append(key, append, event(&id, append, clean_act, None));
            if index % commit == 0 {
                let before = poisoned.snapshot();
                poisoned.commit((index % 2 == 0).then_some(20));
                rows.append(&mut poisoned.take());
                poisoned.restore().unwrap();
                prop_assert_eq!(poisoned.snapshot(), before);
            }
            rows.append(&mut poisoned.take());
            clean_rows.append(&mut clean.take());
        }
        poisoned.advance_to(append + 1000);
        clean.advance_to(append + 1000);
        rows.append(&mut poisoned.take());
        clean_rows.append(&mut clean.take());
        let counts = poisoned.task().totals().records;
        let outcomes = counts.folded + counts.duplicate + counts.late + counts.dead_lettered;
        prop_assert_eq!((counts.read, outcomes), (read, read), "nothing vanishes");
        let failed = rows.iter().filter(|row| matches!(row, Row::DeadLetter(_))).count() as u64;
        prop_assert_eq!(failed, counts.dead_lettered + poisoned.task().totals().poisoned_timers);
        // At which offset a timer fires depends on the marks, of which the poisoned log has more at the end.
        let fired = |rows: Vec<Row>| rows.iter().filter_map(fired).collect::<Vec<_>>();
        prop_assert_eq!(fired(rows), fired(clean_rows));
    }
}

fn fired(row: &Row) -> Option<String> {
    matches!(row, Row::Fired { .. }).then(|| bytes(&row.output_name()))
}

impl Row {
    /// Key, name and due time of a timer that fired.
    fn output_name(&self) -> Option<(&str, i64, Millis)> {
        let Self::Fired { meta, name, due, .. } = self else { return None };
        Some((&meta.key, *name, *due))
    }
}
