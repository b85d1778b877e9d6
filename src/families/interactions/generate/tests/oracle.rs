//! The nine rules by their defaults, restated from the documents as plainly as they can be: over all events of a session at
//! once, in order, without state, windows or watermarks. What the documents leave open is read both ways.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::engine::Millis;
use crate::families::interactions::generate::Rule;
use crate::families::interactions::generate::evaluate::Found;
use crate::families::interactions::generate::tests::time;

/// How what is left open is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// A click that does not count ends a streak; a failed submit is one; a short step of the pointer is passed over.
    Narrow,
    /// It does not; it is none; short steps add up.
    Wide,
}

/// An event, as far as rules look at it.
pub(super) struct Event {
    at: Millis,
    tab: String,
    route: String,
    kind: String,
    json: Value,
}

impl Event {
    fn is(&self, kinds: &str) -> bool {
        kinds.split(' ').any(|kind| kind == self.kind)
    }

    fn text(&self, field: &str) -> &str {
        self.json[field].as_str().unwrap_or_default()
    }

    fn navigates(&self, how: &str) -> bool {
        self.text("navigation") == how
    }

    fn failed(&self) -> Option<bool> {
        self.json["failed"].as_bool()
    }

    fn status(&self) -> Option<i64> {
        self.json["status"].as_i64()
    }

    fn spot(&self) -> (i64, i64) {
        (self.json["x"].as_i64().unwrap(), self.json["y"].as_i64().unwrap())
    }

    fn selects(&self) -> bool {
        self.json["selected_text"] == true
    }

    fn selector(&self) -> &str {
        self.json["target"]["selector"].as_str().unwrap()
    }

    fn is_on_a_field(&self) -> bool {
        ["input", "textarea", "select"].iter().any(|tag| self.json["target"]["tag"] == *tag)
    }

    fn is_interactive(&self) -> bool {
        let target = &self.json["target"];
        let tags = ["a", "button", "input", "select", "textarea", "summary", "label", "option"];
        let roles = ["button", "link", "menuitem", "tab"];
        let follows =
            tags.iter().any(|tag| target["tag"] == *tag) || roles.iter().any(|role| target["role"] == *role);
        target["interactive"].as_bool().unwrap_or(follows)
    }
}

/// The sessions, each with its events in order and once.
pub(super) type Sessions = BTreeMap<String, Vec<Event>>;

pub(super) fn events(values: &[Value]) -> Sessions {
    let mut sessions: BTreeMap<String, BTreeMap<(Millis, String, i64), Event>> = BTreeMap::new();
    for json in values {
        let text = |field: &str| json[field].as_str().unwrap().to_owned();
        let path = text("url").replace("https://shop.example/", "");
        let event = Event {
            at: time(&json["occurred_at"]),
            tab: text("tab_id"),
            route: path.split(['/', '?']).next().unwrap().to_owned(),
            kind: text("type"),
            json: json.clone(),
        };
        let place = (event.at, event.tab.clone(), json["seq"].as_i64().unwrap());
        sessions.entry(text("session_id")).or_default().insert(place, event);
    }
    sessions.into_iter().map(|(id, events)| (id, events.into_values().collect())).collect()
}

pub(super) fn signals(sessions: &Sessions, reading: Reading) -> Vec<Found> {
    let mut signals = Vec::new();
    for (session, events) in sessions {
        for (rule, spans) in [
            (Rule::RageClick, rage(events, reading)),
            (Rule::DeadClick, dead(events)),
            (Rule::ErrorClick, error(events)),
            (Rule::FormLoop, form_loop(events)),
            (Rule::AbandonedForm, abandoned(events, reading)),
            (Rule::ThrashedCursor, thrashed(events, reading)),
            (Rule::QuickBack, quick_back(events)),
            (Rule::ReloadLoop, reload_loop(events)),
            (Rule::Blocked, blocked(events)),
        ] {
            signals.extend(spans.into_iter().map(|(started_at, ended_at)| Found {
                session_id: session.as_str().into(),
                rule: rule.name().into(),
                started_at,
                ended_at,
            }));
        }
    }
    signals
}

type Span = (Millis, Millis);

fn rage(events: &[Event], reading: Reading) -> Vec<Span> {
    let counts = |index: usize| {
        let click = &events[index];
        let soon = events[index..].iter().take_while(|event| event.at <= click.at + 300);
        !click.selects() && !soon.into_iter().any(|event| event.is("scroll"))
    };
    let mut streaks: Vec<Vec<&Event>> = vec![Vec::new()];
    for (index, click) in events.iter().enumerate().filter(|(_, event)| event.is("click")) {
        if !counts(index) {
            if reading == Reading::Narrow {
                streaks.push(Vec::new());
            }
            continue;
        }
        let streak = streaks.last_mut().unwrap();
        let goes_on = streak.last().is_none_or(|last| {
            let (from, to) = (last.spot(), click.spot());
            click.at - last.at < 1_000 && (from.0 - to.0).abs() + (from.1 - to.1).abs() < 30
        });
        if goes_on { streak.push(click) } else { streaks.push(vec![click]) }
    }
    let spans = streaks.iter().filter(|streak| streak.len() >= 3);
    spans.map(|streak| (streak[0].at, streak.last().unwrap().at)).collect()
}

fn dead(events: &[Event]) -> Vec<Span> {
    let mut dead: Vec<(&str, Span)> = Vec::new();
    for (index, click) in events.iter().enumerate() {
        if !click.is("click") || !click.is_interactive() || click.selects() {
            continue;
        }
        let answers = |event: &Event| {
            event.is("mutation navigation scroll input change page_hide page_unload")
                || event.is("click") && event.selects()
                || event.is("focus") && click.is_on_a_field()
        };
        let after = events[index + 1..].iter().take_while(|event| event.at <= click.at + 7_000);
        if after.into_iter().any(answers) {
            continue;
        }
        match dead.last_mut() {
            Some((selector, (_, end))) if *selector == click.selector() && click.at - *end <= 7_000 => {
                *end = click.at;
            }
            _ => dead.push((click.selector(), (click.at, click.at))),
        }
    }
    dead.into_iter().map(|(_, span)| span).collect()
}

fn error(events: &[Event]) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let is_failure = |event: &&Event| {
        event.is("error") || event.status().is_some_and(|status| status >= 500 || status == 0)
    };
    for failure in events.iter().filter(is_failure) {
        let mut clicks = events.iter().filter(|event| event.is("click"));
        let before = clicks.rfind(|click| (0..=1_000).contains(&(failure.at - click.at)));
        if let Some(click) = before
            && spans.last().is_none_or(|(start, _)| *start != click.at)
        {
            spans.push((click.at, failure.at));
        }
    }
    spans
}

/// Three within 30 s; those that go on like this belong to it.
fn three_in_30_s(times: &[Millis]) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for three in times.windows(3).filter(|three| three[2] - three[0] <= 30_000) {
        match spans.last_mut() {
            Some((_, end)) if three[0] <= *end => *end = three[2],
            _ => spans.push((three[0], three[2])),
        }
    }
    spans
}

fn form_loop(events: &[Event]) -> Vec<Span> {
    let mut attempts: BTreeMap<&str, Vec<Millis>> = BTreeMap::new();
    for event in events {
        if event.is("validation_error") || event.failed() == Some(true) {
            let times = attempts.entry(event.text("form")).or_default();
            if times.last().is_none_or(|last| event.at - last > 500) {
                times.push(event.at);
            }
        }
    }
    attempts.values().flat_map(|times| three_in_30_s(times)).collect()
}

fn reload_loop(events: &[Event]) -> Vec<Span> {
    let mut reloads: BTreeMap<&str, Vec<Millis>> = BTreeMap::new();
    for event in events.iter().filter(|event| event.navigates("reload")) {
        reloads.entry(&event.route).or_default().push(event.at);
    }
    reloads.values().flat_map(|times| three_in_30_s(times)).collect()
}

/// Each event, and whether it leads to another route than its tab was at.
fn with_departures(events: &[Event]) -> impl Iterator<Item = (&Event, bool)> {
    let mut routes: BTreeMap<&str, &str> = BTreeMap::new();
    events.iter().map(move |event| {
        let before = routes.insert(&event.tab, &event.route);
        (event, event.is("navigation") && before.is_some_and(|before| before != event.route))
    })
}

fn abandoned(events: &[Event], reading: Reading) -> Vec<Span> {
    let (mut begun, mut spans) = (BTreeMap::new(), Vec::new());
    let mut leave = |begun: &mut BTreeMap<&str, Millis>, at| {
        for start in std::mem::take(begun).into_values().filter(|start| at - start >= 60_000) {
            spans.push((start, at));
        }
    };
    for (event, departs) in with_departures(events) {
        let form = event.text("form");
        if event.is("input change") && !form.is_empty() {
            begun.entry(form).or_insert(event.at);
        } else if event.failed() == Some(false) || event.failed() == Some(true) && reading == Reading::Narrow
        {
            begun.remove(form);
        } else if departs || event.is("page_unload") {
            leave(&mut begun, event.at);
        }
    }
    leave(&mut begun, events.last().unwrap().at + 1_800_000);
    spans
}

fn thrashed(events: &[Event], reading: Reading) -> Vec<Span> {
    let mut points: Vec<(Millis, i64, i64)> = Vec::new();
    for event in events.iter().filter(|event| event.is("move")) {
        for [after, x, y] in <Vec<[i64; 3]>>::deserialize(&event.json["points"]).unwrap() {
            points.push((event.at + after, x, y));
        }
    }
    let (mut reversals, mut heading, mut from) = (Vec::new(), (0, 0), points.first().copied());
    for (at, x, y) in points {
        let Some((_, x0, y0)) = from else { break };
        let (dx, dy) = (x - x0, y - y0);
        if dx * dx + dy * dy >= 100 {
            if dx * heading.0 + dy * heading.1 < 0 {
                reversals.push(at);
            }
            heading = (dx, dy);
        } else if reading == Reading::Wide {
            continue;
        }
        from = Some((at, x, y));
    }
    let mut spans: Vec<Span> = Vec::new();
    for four in reversals.windows(4).filter(|four| four[3] - four[0] <= 1_000) {
        match spans.last_mut() {
            Some((_, end)) if four[0] <= *end => *end = four[3],
            _ => spans.push((four[0], four[3])),
        }
    }
    spans
}

fn quick_back(events: &[Event]) -> Vec<Span> {
    let mut pushed: BTreeMap<&str, Millis> = BTreeMap::new();
    let mut spans = Vec::new();
    for event in events {
        if event.navigates("push") {
            pushed.insert(&event.tab, event.at);
        } else if event.navigates("back")
            && let Some(at) = pushed.get(event.tab.as_str())
            && event.at - at <= 5_000
        {
            spans.push((*at, event.at));
        }
    }
    spans
}

fn blocked(events: &[Event]) -> Vec<Span> {
    let (mut chains, mut attempts): (Vec<Vec<Millis>>, BTreeMap<&str, Vec<Millis>>) = Default::default();
    for (event, departs) in with_departures(events) {
        let is_success = |status| (200..400).contains(&status) && event.text("method") != "GET";
        if departs || event.failed() == Some(false) || event.status().is_some_and(is_success) {
            chains.extend(std::mem::take(&mut attempts).into_values());
        }
        let is_refusal = |status| status >= 400 || status == 0;
        if event.is("validation_error error")
            || event.failed() == Some(true)
            || event.status().is_some_and(is_refusal)
        {
            let chain = attempts.entry(&event.route).or_default();
            if chain.last().is_some_and(|last| event.at - last >= 30_000) {
                chains.push(std::mem::take(chain));
            }
            chain.push(event.at);
        }
    }
    chains.extend(attempts.into_values());
    let spans = chains.iter().filter(|chain| chain.len() >= 3 && chain[chain.len() - 1] - chain[0] >= 30_000);
    spans.map(|chain| (chain[0], chain[chain.len() - 1])).collect()
}
