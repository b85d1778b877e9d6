//! Forms that refuse, forms that are given up, and pages on which there is no way on.

use crate::engine::Millis;
use crate::families::interactions::generate::page::{Form, LONG_FORMS};
use crate::families::interactions::generate::truth::Label::{NearMiss, Planted};
use crate::families::interactions::generate::truth::Rule::{AbandonedForm, Blocked, FormLoop};
use crate::families::interactions::generate::walk::Walk;

/// Attempts without progress are a blockade when they go on for 30 s: here a little longer.
const BLOCKADE: Millis = 33_000;

fn on_a_form(walk: &mut Walk) -> &'static Form {
    let (page, form) = *walk.human.pick(&LONG_FORMS);
    while !walk.is_patient() {
        walk.read();
    }
    walk.enter(page);
    form
}

/// Changes something in the form.
fn correct(walk: &mut Walk, form: &'static Form) {
    let field = walk.human.pick(form.fields);
    let strokes = walk.human.within(1, 6);
    walk.fill(form, field, strokes);
}

/// So many attempts, each so long after the one before; when the first and the last were.
fn attempts(walk: &mut Walk, form: &'static Form, count: usize, gap: (Millis, Millis)) -> (Millis, Millis) {
    let first = walk.send_in_vain(form, 2);
    let mut last = first;
    for _ in 1..count {
        walk.wait_since(last, gap.0, gap.1);
        last = walk.send_in_vain(form, 1);
    }
    (first, last)
}

/// Three or four failed submits in 30 s, with corrections between them; then it works.
pub(super) fn repeated(walk: &mut Walk) {
    let form = on_a_form(walk);
    correct(walk, form);
    let first = walk.send_in_vain(form, 2);
    let mut last = first;
    for attempt in 1..4 {
        // A fourth only where all of them stay well below what would be a blockade.
        if attempt == 3 && last - first > 14_000 {
            break;
        }
        walk.wait(500, 2_000);
        correct(walk, form);
        last = walk.send_in_vain(form, 1);
    }
    walk.sign(FormLoop, Planted, first, last);
    walk.settle();
    walk.send(form);
}

/// Two failures; one that names every field; or three in more than 30 s, which is a blockade.
pub(super) fn not_repeated(walk: &mut Walk) {
    let form = on_a_form(walk);
    let (first, last) = match walk.human.within(0, 2) {
        0 => attempts(walk, form, 2, (3_000, 8_000)),
        1 => {
            let at = walk.send_in_vain(form, 4);
            (at, at)
        }
        _ => {
            let (first, last) = attempts(walk, form, 3, (16_000, 20_000));
            walk.sign(Blocked, Planted, first, last);
            (first, last)
        }
    };
    walk.sign(FormLoop, NearMiss, first, last);
    walk.settle();
    correct(walk, form);
    walk.send(form);
}

/// Begins a form; when the first field was changed.
fn begin(walk: &mut Walk, form: &'static Form) -> Millis {
    let strokes = walk.human.within(3, 8);
    walk.fill(form, &form.fields[0], strokes)
}

fn read_until(walk: &mut Walk, at: Millis) {
    while walk.now < at {
        walk.read();
    }
}

/// Begins a form, loses interest, and leaves more than a minute later: by a link, by closing the page, or by doing nothing
/// any more.
pub(super) fn abandoned(walk: &mut Walk) {
    let form = on_a_form(walk);
    let started_at = begin(walk, form);
    if walk.human.chance(50) {
        correct(walk, form);
    }
    let until = started_at + walk.human.between(63_000, 110_000);
    read_until(walk, until);
    let ended_at = match walk.human.within(0, 3) {
        0 => {
            walk.close();
            walk.now
        }
        1 => {
            walk.scroll();
            walk.has_ended = true;
            walk.now
        }
        _ => walk.follow_any(),
    };
    walk.sign(AbandonedForm, Planted, started_at, ended_at);
}

/// Begins a form, and leaves it in less than a minute; or sends it in the end.
pub(super) fn not_abandoned(walk: &mut Walk) {
    let form = on_a_form(walk);
    let started_at = begin(walk, form);
    let ended_at = if walk.human.chance(50) {
        walk.wait_since(started_at, 28_000, 40_000);
        walk.follow_any()
    } else {
        let until = started_at + walk.human.between(65_000, 100_000);
        read_until(walk, until);
        walk.send(form);
        walk.now
    };
    walk.sign(AbandonedForm, NearMiss, started_at, ended_at);
}

/// Presses a button that asks the server, which refuses; when that was.
fn refused(walk: &mut Walk) -> Millis {
    let target = walk.human.pick(walk.page().controls());
    let clicked_at = walk.click(target);
    walk.answer(50, 250);
    // A failure of the server's own comes so late that it is nobody's click.
    let status = *walk.human.pick(&[402, 409, 422, 429, 503, 504, 0]);
    let (low, high) = if (400..500).contains(&status) { (300, 900) } else { (1_200, 3_000) };
    walk.wait_since(clicked_at, low, high);
    let at = walk.now;
    walk.request("POST", "/api/orders", status, at - clicked_at);
    walk.answer(10, 80);
    at
}

/// Presses a button whose script breaks, late enough to be nobody's click; when that was.
fn broken(walk: &mut Walk) -> Millis {
    let target = walk.human.pick(walk.page().controls());
    let clicked_at = walk.click(target);
    walk.answer(50, 250);
    walk.wait_since(clicked_at, 1_200, 2_200);
    walk.fail();
    walk.now
}

/// For more than 30 s every attempt fails: requests, a script, or a form, which is a loop as well.
pub(super) fn blocked(walk: &mut Walk) {
    let form = on_a_form(walk);
    match walk.human.within(0, 2) {
        0 => {
            let (first, last) = attempts(walk, form, 4, (10_500, 12_000));
            walk.sign(FormLoop, Planted, first, last);
            walk.sign(Blocked, Planted, first, last);
        }
        kind => {
            let attempt = if kind == 1 { refused } else { broken };
            let first = attempt(walk);
            let mut last = first;
            while last - first < BLOCKADE {
                walk.wait_since(last, 5_000, 13_000);
                last = attempt(walk);
            }
            walk.sign(Blocked, Planted, first, last);
        }
    }
    walk.settle();
    walk.leave();
}

/// 20 s of failures; 40 s with a success among them; failures too far apart.
pub(super) fn not_blocked(walk: &mut Walk) {
    on_a_form(walk);
    let first = refused(walk);
    let mut last = first;
    match walk.human.within(0, 2) {
        0 => {
            for _ in 0..2 {
                walk.wait_since(last, 5_000, 7_500);
                last = refused(walk);
            }
        }
        1 => {
            for attempt in 0..4 {
                walk.wait_since(last, 6_000, 9_000);
                if attempt == 1 {
                    let target = walk.human.pick(walk.page().controls());
                    walk.click(target);
                    walk.answer(100, 500);
                    walk.request("POST", "/api/orders", 201, 400);
                    last = walk.now;
                } else {
                    last = refused(walk);
                }
            }
        }
        _ => {
            for _ in 0..2 {
                walk.wait_since(last, 31_000, 40_000);
                last = refused(walk);
            }
        }
    }
    walk.sign(Blocked, NearMiss, first, last);
    walk.settle();
    walk.leave();
}
