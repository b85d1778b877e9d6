//! Signs of frustration, planted on fresh pages: each sets off its own rule by the defaults of DESIGN section 6 and, where
//! one implies another, that too; and near-misses, each of which fails at one condition of its rule.
//!
//! Thresholds stand here once more, as the documents tell them: nothing is taken from the rules that are to find the signs.

mod clicks;
mod forms;
mod ways;

use super::human::Human;
use super::page;
use super::page::Page;
use super::truth::{Label, Rule};
use super::walk::Walk;
use crate::engine::Millis;

/// Plants a sign, or what only looks like it.
pub(super) fn plant(walk: &mut Walk, rule: Rule, label: Label) {
    use Label::{NearMiss, Planted};
    match (rule, label) {
        (Rule::RageClick, Planted) => clicks::rage(walk),
        (Rule::RageClick, NearMiss) => clicks::no_rage(walk),
        (Rule::DeadClick, Planted) => clicks::dead(walk),
        (Rule::DeadClick, NearMiss) => clicks::not_dead(walk),
        (Rule::ErrorClick, Planted) => clicks::error(walk),
        (Rule::ErrorClick, NearMiss) => clicks::no_error(walk),
        (Rule::FormLoop, Planted) => forms::repeated(walk),
        (Rule::FormLoop, NearMiss) => forms::not_repeated(walk),
        (Rule::AbandonedForm, Planted) => forms::abandoned(walk),
        (Rule::AbandonedForm, NearMiss) => forms::not_abandoned(walk),
        (Rule::Blocked, Planted) => forms::blocked(walk),
        (Rule::Blocked, NearMiss) => forms::not_blocked(walk),
        (Rule::ThrashedCursor, Planted) => ways::thrashed(walk),
        (Rule::ThrashedCursor, NearMiss) => ways::not_thrashed(walk),
        (Rule::QuickBack, Planted) => ways::quick_back(walk),
        (Rule::QuickBack, NearMiss) => ways::slow_back(walk),
        (Rule::ReloadLoop, Planted) => ways::reloads(walk),
        (Rule::ReloadLoop, NearMiss) => ways::few_reloads(walk),
    }
}

/// A page of any kind.
fn any_page(human: &mut Human) -> Page {
    *human.pick(&page::ALL)
}

impl Walk {
    /// Lets time pass in which nothing happens that could be an answer.
    fn stare(&mut self, low: Millis, high: Millis) {
        self.wait(low / 2, high / 2);
        self.rove();
        self.wait(low / 2, high / 2);
    }
}
