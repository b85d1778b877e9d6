//! Ways: of the pointer, back and forth; and of people, back or to the same page again.

use super::any_page;
use crate::engine::Millis;
use crate::families::interactions::generate::human::Spot;
use crate::families::interactions::generate::page::Page;
use crate::families::interactions::generate::truth::Label::{NearMiss, Planted};
use crate::families::interactions::generate::truth::Rule::{QuickBack, ReloadLoop, ThrashedCursor};
use crate::families::interactions::generate::walk::Walk;

/// The twelve directions of a clock's face, in hundredths; one turns into the next by 30°.
const CLOCK: [Spot; 12] = [
    (100, 0),
    (87, 50),
    (50, 87),
    (0, 100),
    (-50, 87),
    (-87, 50),
    (-100, 0),
    (-87, -50),
    (-50, -87),
    (0, -100),
    (50, -87),
    (87, -50),
];

fn with_the_pointer_somewhere(walk: &mut Walk) {
    let page = any_page(&mut walk.human);
    walk.enter(page);
    walk.rove();
    walk.settle();
}

/// Back and forth with so many reversals, each leg of so many ms; when it began.
fn zigzag(walk: &mut Walk, reversals: i32, millis: (i32, i32)) -> Millis {
    let ((x, y), length) = (walk.axis(), walk.human.within(60, 150));
    let steps: Vec<(i32, Spot)> = (0..=reversals)
        .map(|leg| {
            let (ahead, aside) = (if leg % 2 == 0 { length } else { -length }, walk.human.within(-4, 4));
            (walk.human.within(millis.0, millis.1), (x * ahead + y * aside, y * ahead + x * aside))
        })
        .collect();
    let started_at = walk.now;
    walk.trace(&steps, 3);
    started_at
}

/// Round and round, at no point by more than 30°; when it began.
fn circles(walk: &mut Walk) -> Millis {
    let (axis, rounds) = (walk.axis(), walk.human.within(2, 3));
    let first = CLOCK.iter().position(|(x, y)| (x / 100, y / 100) == axis).unwrap_or(0);
    let directions = CLOCK.iter().cycle().skip(first).take(CLOCK.len() * rounds.unsigned_abs() as usize);
    let steps: Vec<(i32, Spot)> = directions.map(|(x, y)| (35, (x * 30 / 100, y * 30 / 100))).collect();
    let started_at = walk.now;
    walk.trace(&steps, 1);
    started_at
}

/// Five to eight reversals, four of them in well under a second.
pub(super) fn thrashed(walk: &mut Walk) {
    with_the_pointer_somewhere(walk);
    let reversals = walk.human.within(5, 8);
    let started_at = zigzag(walk, reversals, (70, 140));
    let ended_at = walk.now;
    walk.sign(ThrashedCursor, Planted, started_at, ended_at);
    walk.leave();
}

/// Three reversals; more, but slow; circles.
pub(super) fn not_thrashed(walk: &mut Walk) {
    with_the_pointer_somewhere(walk);
    let started_at = match walk.human.within(0, 2) {
        0 => zigzag(walk, 3, (70, 140)),
        1 => zigzag(walk, 5, (400, 550)),
        _ => circles(walk),
    };
    let ended_at = walk.now;
    walk.sign(ThrashedCursor, NearMiss, started_at, ended_at);
    walk.leave();
}

/// Follows a link; back after so long: when it came and when it was left.
fn there_and_back(walk: &mut Walk, low: Millis, high: Millis) -> (Millis, Millis) {
    let page = any_page(&mut walk.human);
    walk.enter(page);
    walk.read();
    let came_at = walk.follow_any();
    walk.wait_since(came_at, low, high);
    let left_at = walk.now;
    // There is a way back: the link has just been followed.
    walk.back();
    (came_at, left_at)
}

/// Back within 1.5 to 4.2 s of a link.
pub(super) fn quick_back(walk: &mut Walk) {
    let (came_at, left_at) = there_and_back(walk, 1_500, 4_200);
    walk.sign(QuickBack, Planted, came_at, left_at);
    walk.leave();
}

/// Back after 5.7 to 9 s.
pub(super) fn slow_back(walk: &mut Walk) {
    let (came_at, left_at) = there_and_back(walk, 5_700, 9_000);
    walk.sign(QuickBack, NearMiss, came_at, left_at);
    walk.leave();
}

/// So many reloads, with pauses of so long between them; when the first and the last were.
fn reload(walk: &mut Walk, count: usize, low: Millis, high: Millis) -> (Millis, Millis) {
    let page: Page = any_page(&mut walk.human);
    walk.enter(page);
    let first = walk.reload();
    let mut last = first;
    for _ in 1..count {
        walk.wait(low, high);
        last = walk.reload();
    }
    (first, last)
}

/// Three or four in less than 25 s.
pub(super) fn reloads(walk: &mut Walk) {
    let count = if walk.human.chance(50) { 3 } else { 4 };
    let (first, last) = reload(walk, count, 2_000, 6_000);
    walk.sign(ReloadLoop, Planted, first, last);
    walk.leave();
}

/// Two; or three in more than 30 s.
pub(super) fn few_reloads(walk: &mut Walk) {
    let (first, last) =
        if walk.human.chance(50) { reload(walk, 2, 2_000, 10_000) } else { reload(walk, 3, 16_000, 20_000) };
    walk.sign(ReloadLoop, NearMiss, first, last);
    walk.leave();
}
