//! Clicks: in rage, on what does not answer, and on what fails.

use super::any_page;
use crate::engine::Millis;
use crate::families::interactions::generate::page::{Element, LONG_FORMS, Page};
use crate::families::interactions::generate::truth::Label::{NearMiss, Planted};
use crate::families::interactions::generate::truth::Rule::{DeadClick, ErrorClick, RageClick};
use crate::families::interactions::generate::walk::Walk;

/// How long a dead click waits for an answer.
const ANSWER_TIMEOUT: Millis = 7_000;

fn on_a_control(walk: &mut Walk) -> &'static Element {
    let page = any_page(&mut walk.human);
    walk.enter(page);
    walk.human.pick(page.controls())
}

fn on_something_plain(walk: &mut Walk) -> &'static Element {
    let page = any_page(&mut walk.human);
    walk.enter(page);
    walk.human.pick(page.plain())
}

/// Clicks once more where it has just clicked, soon.
fn again(walk: &mut Walk, target: &'static Element) {
    let (since, gap) = (walk.last_click, walk.human.lasting(240, 0.35, 120, 800));
    walk.wait_since(since, gap, gap);
    walk.tremble();
    walk.press(target, false);
}

/// Three to seven clicks in quick succession: on a picture, on a slow button, or on a dead one.
pub(super) fn rage(walk: &mut Walk) {
    let kind = walk.human.within(0, 2);
    let target = if kind == 0 { on_something_plain(walk) } else { on_a_control(walk) };
    let started_at = walk.click(target);
    for _ in 0..walk.human.within(2, 6) {
        if kind == 1 {
            walk.answer(20, 90);
        }
        again(walk, target);
    }
    let ended_at = walk.now;
    walk.sign(RageClick, Planted, started_at, ended_at);
    match kind {
        1 => walk.answer(20, 400),
        2 => {
            walk.sign(DeadClick, Planted, started_at, ended_at + ANSWER_TIMEOUT);
            walk.stare(8_000, 14_000);
        }
        _ => {}
    }
    walk.leave();
}

/// Two clicks; three a little too far apart, in place or in time; three that select text; three that scroll.
pub(super) fn no_rage(walk: &mut Walk) {
    let target = on_something_plain(walk);
    let started_at = walk.click(target);
    match walk.human.within(0, 4) {
        0 => again(walk, target),
        1 => {
            for _ in 0..2 {
                walk.wait(200, 700);
                let pixels = walk.human.within(31, 60);
                walk.shift(pixels);
                walk.press(target, false);
            }
        }
        2 => {
            for _ in 0..2 {
                walk.wait(1_040, 1_600);
                walk.tremble();
                walk.press(target, false);
            }
        }
        3 => {
            for _ in 0..2 {
                walk.wait(120, 300);
                walk.press(target, true);
            }
        }
        _ => {
            for _ in 0..3 {
                walk.scroll_a_step(20, 200);
                walk.wait(200, 500);
                walk.press(target, false);
            }
            walk.scroll_a_step(20, 200);
        }
    }
    let ended_at = walk.now;
    walk.sign(RageClick, NearMiss, started_at, ended_at);
    walk.leave();
}

/// A click on a button, perhaps another, and nothing happens.
pub(super) fn dead(walk: &mut Walk) {
    let target = on_a_control(walk);
    let started_at = walk.click(target);
    if walk.human.chance(30) {
        walk.wait(1_500, 5_000);
        walk.tremble();
        walk.press(target, false);
    }
    let ended_at = walk.last_click + ANSWER_TIMEOUT;
    walk.stare(8_000, 15_000);
    walk.sign(DeadClick, Planted, started_at, ended_at);
    walk.leave();
}

/// An answer at the last moment; a click on what promises nothing; one that scrolls, enters a field, or selects text.
pub(super) fn not_dead(walk: &mut Walk) {
    let started_at = match walk.human.within(0, 4) {
        0 => {
            let target = on_a_control(walk);
            let at = walk.click(target);
            walk.answer(6_000, 6_800);
            at
        }
        1 => {
            let target = on_something_plain(walk);
            let at = walk.click(target);
            walk.stare(8_000, 12_000);
            at
        }
        2 => {
            let target = on_a_control(walk);
            let at = walk.click(target);
            walk.wait(1_000, 5_000);
            walk.scroll();
            at
        }
        3 => {
            let (page, form) = *walk.human.pick(&LONG_FORMS);
            walk.enter(page);
            let target = walk.human.pick(form.fields);
            let at = walk.click(target);
            walk.look_into(form, target);
            at
        }
        _ => {
            let page = any_page(&mut walk.human);
            walk.enter(page);
            walk.rove();
            walk.press(Page::Help.link(), true);
            let at = walk.now;
            walk.stare(8_000, 12_000);
            at
        }
    };
    walk.sign(DeadClick, NearMiss, started_at, started_at + ANSWER_TIMEOUT);
    walk.leave();
}

/// A click, and something fails within the second: a script, or the server.
pub(super) fn error(walk: &mut Walk) {
    let target = on_a_control(walk);
    let started_at = walk.click(target);
    if walk.human.chance(50) {
        walk.wait(60, 800);
        walk.fail();
    } else {
        let duration = walk.human.between(120, 900);
        walk.now += duration;
        let status = *walk.human.pick(&[500, 502, 503, 0]);
        walk.request("POST", "/api/carts/:id/items", status, duration);
    }
    let ended_at = walk.now;
    walk.sign(ErrorClick, Planted, started_at, ended_at);
    walk.answer(20, 300);
    walk.leave();
}

/// An error a moment too late; a request that the server was right to refuse; an error before the click.
pub(super) fn no_error(walk: &mut Walk) {
    let target = on_a_control(walk);
    let started_at = match walk.human.within(0, 2) {
        0 => {
            let at = walk.click(target);
            walk.answer(100, 800);
            walk.wait_since(at, 1_150, 2_500);
            walk.fail();
            at
        }
        1 => {
            let at = walk.click(target);
            let duration = walk.human.between(120, 900);
            walk.now += duration;
            let status = *walk.human.pick(&[404, 409, 422]);
            walk.request("POST", "/api/carts/:id/items", status, duration);
            walk.answer(20, 300);
            at
        }
        _ => {
            walk.rove();
            let at = walk.now;
            walk.fail();
            walk.wait(150, 600);
            walk.press(target, false);
            walk.answer(100, 800);
            at
        }
    };
    let ended_at = walk.now;
    walk.sign(ErrorClick, NearMiss, started_at, ended_at);
    walk.leave();
}
