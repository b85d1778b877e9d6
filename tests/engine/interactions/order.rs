//! The same rows whatever the order of arrival, in pieces, and under settings that change.

use proptest::collection::vec;
use proptest::prelude::*;
use tidewatch::families::interactions::frustration::rule::Matcher;

use super::history::{arrivals, generated, histories, lateness};
use super::*;
use crate::determinism::{Entry, actions, compare, row_bytes};

/// What holds when all is final.
fn fold(arrivals: Vec<(Millis, Interaction)>) -> Vec<String> {
    let mut driver = driver(family(0, patient()));
    append(&mut driver, arrivals);
    driver.advance_to(BEGIN + 60 * DAY);
    let rows = driver.take();
    assert_eq!(driver.task().next_wake(), None, "all timers have fired");
    current(&rows, true)
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
        let mut log: Vec<Entry<Frustration>> = arrivals(&events, &lateness)
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
