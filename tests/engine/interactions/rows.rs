//! What the rows say: bounds that no order of arrival shows.

use tidewatch::families::interactions::frustration::rule::Matcher;

use super::*;

/// Appends events of one session as they happen: when, and what.
fn happen(driver: &mut Driver, bodies: impl IntoIterator<Item = (Millis, Body)>) {
    for (seq, (at, body)) in bodies.into_iter().enumerate() {
        driver.append("shop/s", BEGIN + at, numbered(seq as i64, at, body));
    }
}

fn numbered(seq: i64, at: Millis, body: Body) -> Interaction {
    event("shop/s", "one", seq, BEGIN + at, body)
}

fn fresh() -> Driver {
    driver(family(0, InteractionSettings::default()))
}

fn with(change: impl FnOnce(&mut InteractionSettings)) -> Driver {
    let mut settings = InteractionSettings::default();
    change(&mut settings);
    driver(family(0, settings))
}

fn sessions(rows: &[FrustrationRow]) -> Vec<&Session> {
    rows.iter()
        .filter_map(|row| if let FrustrationRow::Session(row) = row { Some(row) } else { None })
        .collect()
}

/// The last version of each session's row.
fn last(rows: &[FrustrationRow]) -> &Session {
    sessions(rows).pop().unwrap()
}

fn finished(mut driver: Driver) -> Vec<FrustrationRow> {
    driver.advance_to(BEGIN + 30 * DAY);
    driver.take()
}

fn rage(at: Millis) -> impl Iterator<Item = (Millis, Body)> {
    // On nothing that would be dead.
    (0..3).map(move |number| (at + number * 400, click(2, (5, 5), false)))
}

fn request(status: i32) -> Body {
    Body::Request(Request { method: "GET".into(), route: "/api".into(), status, duration_ms: 1 })
}

fn push() -> Body {
    Body::Navigation(Navigation { kind: NavigationKind::Push })
}

#[test]
fn a_session_counts_what_happened_in_it() {
    let mut driver = fresh();
    let pauses = [0, 5_000, 10_001, 10_501].map(|at| (at, click(2, (at as i32, 0), false)));
    happen(&mut driver, pauses);
    assert_eq!(last(&finished(driver)).active_ms, 5_500, "a pause of 5 s is activity, a longer one is none");

    let mut driver = fresh();
    happen(
        &mut driver,
        [200, 399, 400, 500, 0].map(request).into_iter().zip(0..).map(|(body, at)| (at, body)),
    );
    let row = last(&finished(driver)).clone();
    assert_eq!((row.errors, row.events, row.duration_ms, row.closed), (3, 5, 4, true));
}

#[test]
fn a_session_names_its_first_routes_and_pages_and_its_last_route() {
    let mut driver = fresh();
    for number in 0..60 {
        let mut event = numbered(number, number * 10, push());
        event.route = format!("/{number}").into();
        event.url = Some(format!("https://shop.example/{number}?page=1").into());
        driver.append("shop/s", BEGIN + number * 10, event);
        let mut event = numbered(number + 100, number * 10 + 5, push());
        event.route = format!("/{number}").into();
        event.url = Some(format!("https://shop.example/{number}?page=2").into());
        driver.append("shop/s", BEGIN + number * 10 + 5, event);
    }
    let row = last(&finished(driver)).clone();
    assert_eq!((row.routes.len(), row.pages.len()), (50, 50));
    assert_eq!((row.entry.as_str(), row.exit.as_str()), ("/0", "/59"));
    assert_eq!(
        row.pages[1], "https://shop.example/0?page=2",
        "another page of the same route is one of its own"
    );
}

/// One with the first event, one at the end of each second in which something came, and one when it is over.
#[test]
fn rows_of_an_open_session_are_a_second_apart() {
    let mut driver = fresh();
    for seq in 0..200 {
        let at = BEGIN + seq * 100;
        driver.advance_to(at);
        driver.append("shop/s", at, numbered(seq, seq * 100, mutation()));
    }
    let rows = driver.take();
    assert!((18..=21).contains(&sessions(&rows).len()), "{}", sessions(&rows).len());
    let mut driver = fresh();
    happen(&mut driver, [(0, mutation()), (1_000, mutation())]);
    assert_eq!(sessions(&driver.take()).len(), 2, "a second is enough");
    let rows = finished(driver);
    assert_eq!(
        sessions(&rows).iter().map(|row| (row.closed, row.meta.is_final)).collect::<Vec<_>>(),
        [(true, false), (true, true)]
    );
}

/// What an event changes of the signals is in the session's row, though nothing else of it has changed since.
#[test]
fn a_sessions_row_follows_its_signals() {
    let mut driver = fresh();
    happen(&mut driver, [(0, click(0, (5, 5), false))]);
    driver.advance_to(BEGIN + MINUTE);
    let rows = driver.take();
    assert_eq!((last(&rows).signals, last(&rows).score, last(&rows).closed), (1, 35, false));
}

#[test]
fn i9_what_comes_after_the_grace_is_late_and_what_comes_before_opens_the_session_again() {
    let mut driver = fresh();
    happen(&mut driver, [(0, mutation())]);
    // Its end, and half an hour, and the grace of an hour: strictly passed.
    driver.advance_to(BEGIN + 90 * MINUTE);
    assert!(!last(&driver.take()).meta.is_final);
    driver.append("shop/s", BEGIN + 90 * MINUTE, numbered(2, 30 * MINUTE, mutation()));
    let rows = driver.take();
    assert_eq!((last(&rows).closed, last(&rows).events), (false, 2), "a gap of 30 min is none");
    driver.advance_to(BEGIN + 160 * MINUTE);
    assert!(!last(&driver.take()).meta.is_final, "its end is another one now");
    driver.advance_to(BEGIN + DAY);
    assert!(last(&driver.take()).meta.is_final);
    let outcome = driver.append("shop/s", BEGIN + DAY, numbered(1, 10 * MINUTE, mutation()));
    assert_eq!(outcome, Outcome::Late);
    let rows = driver.take();
    assert!(matches!(rows[..], [FrustrationRow::LateEvent(_)]), "{rows:?}");
    let outcome = driver.append("shop/s", BEGIN + DAY, numbered(3, DAY, mutation()));
    assert_eq!(outcome, Outcome::Folded, "a new one begins");
}

/// Of two that merge, the one that arrived first survives, and is over only when nothing follows the last event of both.
#[test]
fn i9_sessions_that_merge_are_one_from_then_on() {
    for later_first in [false, true] {
        let mut driver = fresh();
        let (one, other) = if later_first { (50, 0) } else { (0, 50) };
        let ahead = BEGIN + 50 * MINUTE;
        driver.append("shop/s", ahead, numbered(one, one * MINUTE, failure()));
        let first = last(&driver.take()).meta.id;
        driver.append("shop/s", ahead + SECOND, numbered(other, other * MINUTE, failure()));
        let second = last(&driver.take()).meta.id;
        // By now the earlier one is over.
        driver.advance_to(ahead + 2 * MINUTE);
        driver.take();
        driver.append("shop/s", ahead + 2 * MINUTE, numbered(25, 25 * MINUTE, failure()));
        let rows = driver.take();
        let told: Vec<_> = sessions(&rows)
            .iter()
            .map(|row| (row.meta.id, row.meta.retracted, row.meta.merged_into))
            .collect();
        assert_eq!(told, [(second, true, Some(first)), (first, false, None)]);
        let row = last(&rows);
        assert_eq!((row.closed, row.events, row.errors, row.duration_ms), (false, 3, 3, 50 * MINUTE));
        driver.advance_to(ahead + 33 * MINUTE);
        assert!(last(&driver.take()).closed);
        let rows = finished(driver);
        assert_eq!(sessions(&rows).len(), 1);
        assert!(last(&rows).meta.is_final && last(&rows).closed);
    }
}

/// The limit of kept events: what was found among those that are gone stays, and what comes late into them changes no signal.
#[test]
fn a_long_session_keeps_what_was_found_in_what_it_lets_go() {
    let mut driver = with(|settings| settings.events = 100);
    let filler =
        |from: Millis, count: i64| (0..count).map(move |number| (from + number * SECOND, request(200)));
    // The click that is far from them ends their streak.
    let far = (5_000, click(2, (500, 500), false));
    let events: Vec<_> = rage(SECOND).chain([far]).chain(filler(10_000, 96)).collect();
    happen(&mut driver, events);
    driver.advance_to(BEGIN + 3 * MINUTE);
    let rows = driver.take();
    assert_eq!(
        (last(&rows).truncated, last(&rows).events, last(&rows).signals),
        (false, 100, 1),
        "as many as are kept"
    );
    for seq in 100..200 {
        driver.append(
            "shop/s",
            BEGIN + (seq + 100) * SECOND,
            numbered(seq, (seq + 100) * SECOND, request(200)),
        );
    }
    for seq in 200..203 {
        let at = BEGIN + 300 * SECOND + seq;
        driver.append("shop/s", at, numbered(seq, 100 + seq, click(2, (500, 500), false)));
    }
    for (seq, (at, body)) in (203..).zip(rage(301 * SECOND)) {
        driver.append("shop/s", BEGIN + at, numbered(seq, at, body));
    }
    driver.advance_to(BEGIN + 25 * MINUTE);
    let rows = [rows, driver.take()].concat();
    let row = last(&rows);
    assert_eq!((row.truncated, row.events, row.signals), (true, 206, 2));
    assert!(signals(&rows, "rage_click").iter().all(|(_, is_retracted)| !is_retracted));
    let rows = finished(driver);
    assert_eq!(signals(&rows, "rage_click"), [(SECOND, false), (301 * SECOND, false)]);
}

#[test]
fn i8_a_signal_names_its_first_and_its_last_events() {
    let mut driver = fresh();
    happen(&mut driver, (0..50).map(|number| (number * 500, click(2, (5, 5), false))));
    let rows = finished(driver);
    let Some(FrustrationRow::Signal(signal)) =
        rows.iter().rfind(|row| matches!(row, FrustrationRow::Signal(_)))
    else {
        panic!("{rows:?}")
    };
    let evidence = &signal.meta.evidence;
    assert_eq!((signal.count, evidence.count), (50, 50));
    assert_eq!(evidence.offsets, (0..8).chain(26..50).collect::<Vec<_>>());
}

#[test]
fn an_error_up_to_a_second_after_a_signal_is_its_own() {
    for (at, expected) in [(999, "50"), (1_000, "60"), (1_900, "60"), (2_800, "60"), (2_801, "50")] {
        // The clicks lie at 1000, 1400 and 1800; no click is near enough for an error click.
        let settings =
            |settings: &mut InteractionSettings| settings.rules.retain(|rule| rule.name == "rage_click");
        for body in [failure(), request(500)] {
            let mut driver = with(settings);
            let mut events: Vec<_> = rage(SECOND).chain([(at, body)]).collect();
            events.sort_by_key(|(at, _)| *at);
            happen(&mut driver, events);
            let severity = if expected == "60" { Severity::High } else { Severity::Medium };
            assert_eq!(incidents(&finished(driver)).last(), Some(&(expected, severity, false)), "{at}");
        }
    }
    let mut driver = with(|settings| {
        settings.rules.retain(|rule| rule.name == "rage_click");
        settings.error_bonus = 60;
    });
    happen(&mut driver, rage(SECOND).chain([(2_000, failure())]));
    assert_eq!(
        incidents(&finished(driver)).last(),
        Some(&("100", Severity::Critical, false)),
        "no more than 100"
    );
}

#[test]
fn an_error_click_is_one_of_the_system_itself() {
    let mut driver = with(|settings| settings.rules.retain(|rule| rule.name == "error_click"));
    happen(&mut driver, [(0, click(2, (5, 5), false)), (1_000, failure())]);
    assert_eq!(incidents(&finished(driver)).last(), Some(&("55", Severity::Medium, false)));
}

/// Signals of a route no more than 30 s apart are one incident, which is over when more has passed.
#[test]
fn signals_that_lie_close_together_are_one_incident() {
    for (apart, expected) in [(30_000, 1), (30_001, 2)] {
        let mut driver = fresh();
        // The first ends at 800.
        happen(&mut driver, rage(0).chain(rage(800 + apart)));
        let rows = finished(driver);
        let ids: std::collections::BTreeSet<_> = rows
            .iter()
            .filter(|row| matches!(row, FrustrationRow::Incident(_)))
            .map(|row| meta(row).id)
            .collect();
        assert_eq!(ids.len(), expected, "{apart}");
    }
    let ended = |rows: &[FrustrationRow]| -> Vec<Option<Millis>> {
        let of = |row: &FrustrationRow| {
            if let FrustrationRow::Incident(row) = row {
                Some(row.ended_at.map(|at| at - BEGIN))
            } else {
                None
            }
        };
        rows.iter().filter_map(of).collect()
    };
    let mut driver = fresh();
    happen(&mut driver, rage(0).chain([(30_800, failure())]));
    assert_eq!(ended(&driver.take()), [None], "it may go on");
    driver.append("shop/s", BEGIN + 30_801, numbered(4, 30_801, mutation()));
    assert_eq!(ended(&driver.take()), [Some(800)], "it is over");
}

#[test]
fn the_severity_of_a_score_and_the_least_of_an_incident() {
    for (weight, severity) in [
        (349, Severity::Low),
        (350, Severity::Medium),
        (600, Severity::High),
        (599, Severity::Medium),
        (800, Severity::Critical),
        (799, Severity::High),
    ] {
        for opens_at in [Severity::Low, Severity::Medium, Severity::High, Severity::Critical] {
            let mut driver = with(|settings| {
                settings.rules.retain(|rule| rule.name == "rage_click");
                settings.rules[0].weight = weight;
                settings.opens_at = opens_at;
            });
            happen(&mut driver, rage(0));
            let rows = finished(driver);
            let found = incidents(&rows).last().map(|(_, severity, _)| *severity);
            // 34.9 is 35, 59.9 is 60, 79.9 is 80.
            let severity = match (weight, severity) {
                (349, _) => Severity::Medium,
                (599, _) => Severity::High,
                (799, _) => Severity::Critical,
                (_, severity) => severity,
            };
            assert_eq!(
                found,
                (severity as u8 >= opens_at as u8).then_some(severity),
                "{weight} {opens_at:?}"
            );
            assert_eq!(signals(&rows, "rage_click").len(), 2, "signals are kept whatever it is");
        }
    }
}

/// A signal that gives way to one of the same rule names it.
#[test]
fn i9_a_signal_that_is_retracted_names_its_heir() {
    let mut driver = fresh();
    happen(&mut driver, (0..4).map(|number| (10_000 + number * 400, click(2, (5, 5), false))));
    let found = driver.take();
    driver.append("shop/s", BEGIN + 20_000, numbered(9, 9_600, click(2, (5, 5), false)));
    let earlier = driver.take();
    assert_eq!(signals(&earlier, "rage_click"), [(9_600, false)]);
    let ids = |rows: &[FrustrationRow]| -> Vec<_> {
        let signals = rows.iter().filter(|row| matches!(row, FrustrationRow::Signal(_)));
        signals.map(|row| (meta(row).id, meta(row).merged_into)).collect()
    };
    assert_eq!(ids(&found).last(), ids(&earlier).last(), "named by the first to arrive, it is the same");
    // Far from the others, it parts the first two from the rest.
    driver.append("shop/s", BEGIN + 21_000, numbered(10, 10_100, click(2, (500, 500), false)));
    let parted = driver.take();
    assert_eq!(signals(&parted, "rage_click"), [(9_600, true), (10_400, false)]);
    let ids = ids(&parted);
    assert_eq!(ids[0].1, Some(ids[1].0));
}

#[test]
fn a_session_is_not_over_while_something_comes() {
    let mut driver = fresh();
    happen(&mut driver, (0..10).map(|number| (number * 20 * MINUTE, mutation())));
    let rows = driver.take();
    assert!(sessions(&rows).iter().all(|row| !row.closed), "{rows:?}");
}

/// What was found because the session was over is not found any more when it goes on.
#[test]
fn i9_a_session_that_goes_on_takes_back_what_its_end_has_shown() {
    let mut driver = fresh();
    let field = Field { kind: FieldKind::Input, target: super::target(0), form: Some("login".into()) };
    happen(&mut driver, [(0, Body::Field(field))]);
    driver.advance_to(BEGIN + 31 * MINUTE);
    let rows = driver.take();
    assert_eq!(signals(&rows, "abandoned_form"), [(0, false)]);
    driver.append("shop/s", BEGIN + 31 * MINUTE, numbered(1, 20 * MINUTE, mutation()));
    let rows = driver.take();
    assert_eq!((signals(&rows, "abandoned_form"), last(&rows).closed), (vec![(0, true)], false));
    driver.advance_to(BEGIN + 3 * HOUR);
    assert_eq!(signals(&driver.take(), "abandoned_form").first(), Some(&(0, false)));
}

/// What waits for its answer waits once, whatever else happens meanwhile.
#[test]
fn i3_a_click_of_the_past_waits_for_its_answer_once() {
    let mut driver = fresh();
    let events = [(59, 5, 59, failure()), (60, 1, 0, click(0, (5, 5), false))];
    let failures = (6..12).map(|seq| (40 + 4 * seq, seq, 40 + 4 * seq, failure()));
    for (appended, seq, at, body) in events.into_iter().chain(failures) {
        driver.append("shop/s", BEGIN + appended * SECOND, numbered(seq, at * SECOND, body));
    }
    assert_eq!(signals(&driver.take(), "dead_click").first(), Some(&(0, false)), "10 s after it came");
}

#[test]
fn of_signals_of_one_weight_the_first_names_the_incident() {
    let mut driver = with(|settings| {
        settings.rules.retain(|rule| matches!(rule.name.as_str(), "error_click" | "reload_loop"));
    });
    let reload = |at| (at, Body::Navigation(Navigation { kind: NavigationKind::Reload }));
    happen(
        &mut driver,
        [(0, click(2, (5, 5), false)), (500, failure()), reload(5_000), reload(6_000), reload(7_000)],
    );
    let rows = finished(driver);
    let title = rows
        .iter()
        .rev()
        .find_map(|row| if let FrustrationRow::Incident(row) = row { Some(&*row.title) } else { None });
    assert_eq!(title, Some("Error click and 1 more on /a"));
}

/// Under new rules a long session is passed over to its end, also where nothing was waited for.
#[test]
fn i4_new_rules_judge_the_whole_of_a_session() {
    let mut driver = fresh();
    let filler = |from: Millis| (0..70).map(move |number| (from + number * 100, request(200)));
    happen(
        &mut driver,
        filler(0).chain(rage(10_000)).chain([(15_000, click(2, (500, 500), false))]).chain(filler(20_000)),
    );
    assert_eq!(signals(&driver.take(), "rage_click").last(), Some(&(10_000, false)));
    let mut settings = InteractionSettings::default();
    for rule in &mut settings.rules {
        if let Matcher::Count(count) = &mut rule.matcher {
            count.at_least = 4;
        }
    }
    driver.change_settings(BEGIN + MINUTE, family(1, settings));
    assert_eq!(signals(&driver.take(), "rage_click"), [(10_000, true)]);
}

#[test]
fn i9_a_session_that_goes_on_for_long_is_not_final_by_its_first_end() {
    let mut driver = fresh();
    happen(&mut driver, [(0, mutation())]);
    driver.advance_to(BEGIN + 31 * MINUTE);
    for seq in 1..12 {
        let at = seq * 20 * MINUTE;
        driver.advance_to(BEGIN + at.max(31 * MINUTE));
        driver.append("shop/s", BEGIN + at.max(31 * MINUTE), numbered(seq, at, mutation()));
    }
    let rows = finished(driver);
    let finals = sessions(&rows).into_iter().filter(|row| row.meta.is_final).map(|row| row.events);
    assert_eq!(finals.collect::<Vec<_>>(), [12]);
}
