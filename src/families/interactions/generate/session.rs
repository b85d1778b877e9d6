//! A session: who comes, what they do of themselves, and which signs are planted on their way.

use std::sync::Arc;

use compact_str::format_compact;

use super::event::{Body, Device, Event, Viewport, Visitor};
use super::frustration;
use super::human::Human;
use super::page::Page;
use super::truth::{Label, Rule, Sign};
use super::walk::Walk;
use crate::engine::Millis;

static DEVICES: [Device; 5] = [
    device("desktop", "Chrome 142", "Windows 11", 1_920, 1_080),
    device("desktop", "Firefox 145", "Linux", 1_440, 900),
    device("desktop", "Safari 19", "macOS 16", 1_512, 860),
    device("mobile", "Chrome 142", "Android 16", 412, 840),
    device("tablet", "Safari 19", "iPadOS 19", 820, 1_106),
];

/// A clock that is wrong is so wrong: in ms, before or behind.
const SKEW: (Millis, Millis) = (180_000, 7_200_000);

const fn device(
    kind: &'static str,
    browser: &'static str,
    os: &'static str,
    width: i32,
    height: i32,
) -> Device {
    Device { kind, browser, os, viewport: Viewport { width, height } }
}

/// What a session has come to.
pub(super) struct Session {
    pub(super) visitor: Arc<Visitor>,
    /// Its events: in order of time, and in each tab numbered in it.
    pub(super) events: Vec<Event>,
    pub(super) signs: Vec<Sign>,
    /// What chooses how they arrive.
    pub(super) human: Human,
}

/// The `number`th session of that seed, which begins then.
pub(super) fn session(seed: u64, number: u64, start: Millis) -> Session {
    let mut human = Human::new(seed, number);
    let visitor = visitor(&mut human, seed, number);
    let landing = human.weighted(&[(60, Page::Home), (25, Page::Product), (15, Page::Search)]);
    let mut walk = Walk::new(human, Arc::new(visitor), start, landing);
    let mut planned = plan(&mut walk);
    let mut pages = walk.human.within(2, 10);
    while !walk.has_ended && (pages > 0 || !planned.is_empty()) {
        if pages > 0 {
            visit(&mut walk);
            pages -= 1;
        }
        if (pages == 0 || walk.human.chance(30))
            && let Some((rule, label)) = planned.pop()
        {
            frustration::plant(&mut walk, rule, label);
        }
    }
    if !walk.has_ended {
        end(&mut walk);
    }
    let Walk { human, visitor, mut events, signs, .. } = walk;
    number_events(&mut events);
    Session { visitor, events, signs, human }
}

fn visitor(human: &mut Human, seed: u64, number: u64) -> Visitor {
    let device = human.weighted(&[(25, 0), (15, 1), (15, 2), (35, 3), (10, 4)]);
    let skew = if human.chance(5) { human.between(SKEW.0, SKEW.1) } else { 0 };
    Visitor {
        session_id: format_compact!("generated-{seed:x}-{number}"),
        // Some come again.
        user: format_compact!("generated-user-{}", human.between(0, number as Millis / 2)),
        device: &DEVICES[device],
        skew: if human.chance(50) { -skew } else { skew },
    }
}

/// Which signs the session will hold: none of a rule twice.
fn plan(walk: &mut Walk) -> Vec<(Rule, Label)> {
    let count = walk.human.weighted(&[(40, 0), (30, 1), (20, 2), (10, 3)]);
    let mut planned: Vec<(Rule, Label)> = Vec::new();
    while planned.len() < count {
        let rule = *walk.human.pick(&Rule::ALL);
        let label = if walk.human.chance(50) { Label::Planted } else { Label::NearMiss };
        let can_be = rule != Rule::ThrashedCursor || walk.has_pointer();
        if can_be && planned.iter().all(|(other, _)| *other != rule) {
            planned.push((rule, label));
        }
    }
    planned
}

/// A page, as people use it when all is well; ends on the next.
fn visit(walk: &mut Walk) {
    walk.read();
    for _ in 0..walk.human.within(0, 2) {
        let target = walk.human.pick(walk.page().controls());
        walk.click(target);
        walk.answer(100, 800);
        walk.read();
    }
    let thing = walk.human.within(0, 99);
    match thing {
        0..10 => {
            let target = walk.human.pick(walk.page().plain());
            walk.select(target);
        }
        10..14 => {
            let target = walk.human.pick(walk.page().plain());
            walk.ask(target);
        }
        14..20 => walk.hide(),
        20..23 => walk.fail_by_itself(),
        23..33 => walk.note(),
        33..37 => walk.jump(),
        37..41 => walk.open_tab(),
        41..47 => walk.close_tab(),
        _ => {}
    }
    walk.read();
    let is_calm = !(20..23).contains(&thing);
    match walk.page().form() {
        Some(form) if walk.human.chance(35) => {
            for field in form.fields {
                let strokes = walk.human.within(3, 12);
                walk.fill(form, field, strokes);
                walk.wait(200, 900);
            }
            if is_calm && walk.is_patient() && walk.human.chance(12) {
                walk.send_in_vain(form, 1);
                walk.settle();
                walk.fill(form, &form.fields[0], 4);
            }
            walk.send(form);
        }
        _ => go_on(walk),
    }
}

fn go_on(walk: &mut Walk) {
    // Sooner, it would be a quick one.
    let from = walk.page();
    if walk.human.chance(15) && walk.dwelt() > 7_000 && walk.back() {
        if walk.human.chance(15) && walk.page() != from {
            walk.settle();
            walk.forward(from);
        }
    } else {
        walk.follow_any();
    }
}

fn end(walk: &mut Walk) {
    walk.read();
    match walk.human.within(0, 9) {
        // Just silence.
        0 | 1 => {}
        2..=4 => walk.emit(Body::PageHide),
        _ => walk.emit(Body::PageUnload),
    }
}

/// Puts the events in order and counts them by tab.
fn number_events(events: &mut [Event]) {
    events.sort_by_key(|event| event.occurred_at);
    let mut counts: Vec<u32> = Vec::new();
    for event in events {
        let tab = event.tab as usize;
        counts.resize(counts.len().max(tab + 1), 0);
        event.seq = counts[tab];
        counts[tab] += 1;
    }
}
