//! A click is found dead by its own time alone, and no more when its answer comes late (I3, I9).

use super::*;

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
                assert!(!matches!(row, FrustrationRow::Signal(_) | FrustrationRow::Incident(_)), "{row:?}");
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
        assert!(
            matches!(rows.last(), Some(FrustrationRow::Session(Session { meta, .. })) if meta.is_final),
            "{name}"
        );
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
    let ids = |rows: &[FrustrationRow]| -> BTreeSet<_> { rows.iter().map(|row| meta(row).id).collect() };
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
    let id = |rows: &[FrustrationRow]| {
        rows.iter().rfind(|row| matches!(row, FrustrationRow::Incident(_))).map(|row| meta(row).id)
    };
    assert_eq!(id(&found), id(&anew), "it is the same incident");
    tell(
        &mut driver,
        vec![(31_000, "shop/s", "one", 5, 900, false), (31_001, "shop/s", "one", 4, 30_500, false)],
    );
    assert_eq!(signals(&driver.take(), "rage_click"), [], "what answers a click is nothing to its rage");
}
