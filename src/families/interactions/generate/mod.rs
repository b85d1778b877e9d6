//! `tidewatch generate`: sessions of a shop that does not exist, to try, show and measure the family interactions with.
//!
//! A seed gives the same bytes everywhere. Every event says that it is generated ([`event::SDK`]). What the sessions hold is
//! known ([`Sign`]): each rule can be asked how much it finds and how much it makes up ([`evaluate`]).
//!
//! ```
//! use tidewatch::families::interactions::generate::{Generator, Plan};
//!
//! let mut generator = Generator::new(Plan { sessions: 2, ..Plan::default() });
//! let mut lines = Vec::new();
//! for batch in &mut generator {
//!     batch.write(&mut lines, false, b'\n').unwrap();
//! }
//! let signs = generator.take_signs();
//! # assert!(lines.len() > 1_000 && signs.len() < 10);
//! ```
//!
//! Nothing here knows the rules: what they are to find is told once more, from the documents (`frustration/`).

mod commands;
mod disorder;
pub mod evaluate;
pub mod event;
mod frustration;
mod human;
pub mod page;
#[cfg(feature = "local")]
pub mod send;
mod session;
#[cfg(test)]
mod tests;
mod truth;
mod walk;

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

pub use self::commands::commands;
use self::event::Batch;
use self::human::Human;
pub use self::truth::{Label, Rule, Sign};
use crate::engine::Millis;

/// Monday, 5 January 2026, 09:00 UTC.
pub const START: Millis = 1_767_603_600_000;

/// What is to be generated.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Chooses everything that is left to chance.
    pub seed: u64,
    /// How many events happen in a second, on the average while sessions begin: it says how many are under way at once. All
    /// of those are held in memory. At least 1.
    pub rate: u32,
    /// How many sessions.
    pub sessions: u64,
    /// When the first of them may begin.
    pub start: Millis,
    /// The share of batches that come between 20 s and 50 min late; 0 to 1.
    pub late: f64,
}

impl Default for Plan {
    fn default() -> Self {
        Self { seed: 1, rate: 500, sessions: 1_000, start: START, late: 0.0 }
    }
}

/// Batches in the order in which they arrive.
#[derive(Debug)]
pub struct Generator {
    plan: Plan,
    arrivals: Human,
    begun: u64,
    /// When the next session begins: microseconds after the start.
    next: f64,
    queue: BinaryHeap<Reverse<Queued>>,
    /// Batches queued so far: of those that arrive at once, the first queued comes first.
    queued: u64,
    signs: Vec<Sign>,
}

impl Generator {
    /// Begins.
    pub fn new(plan: Plan) -> Self {
        // Sessions are numbered from 0: no session has the last number.
        let arrivals = Human::new(plan.seed, u64::MAX);
        Self { plan, arrivals, begun: 0, next: 0.0, queue: BinaryHeap::new(), queued: 0, signs: Vec::new() }
    }

    /// What the sessions hold that have begun since it was last asked.
    pub fn take_signs(&mut self) -> Vec<Sign> {
        std::mem::take(&mut self.signs)
    }

    fn next_start(&self) -> Millis {
        self.plan.start + (self.next / 1_000.0) as Millis
    }

    fn begin(&mut self) {
        let mut session = session::session(self.plan.seed, self.begun, self.next_start());
        self.begun += 1;
        // A long one keeps the next away for longer: so the rate holds, however long they are.
        let events = session.events.len() as f64;
        self.next += self.arrivals.pause(events / f64::from(self.plan.rate.max(1)) * 1_000_000.0);
        self.signs.append(&mut session.signs);
        for batch in disorder::batches(session, self.plan.late) {
            self.queue.push(Reverse(Queued { order: (batch.arrived_at, self.queued), batch }));
            self.queued += 1;
        }
    }
}

impl Iterator for Generator {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let is_due = |first: Option<&Reverse<Queued>>, start| {
            first.is_none_or(|Reverse(first)| first.batch.arrived_at >= start)
        };
        while self.begun < self.plan.sessions && is_due(self.queue.peek(), self.next_start()) {
            self.begin();
        }
        self.queue.pop().map(|Reverse(Queued { batch, .. })| batch)
    }
}

#[derive(Debug)]
struct Queued {
    order: (Millis, u64),
    batch: Batch,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Queued {}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Queued {
    fn cmp(&self, other: &Self) -> Ordering {
        self.order.cmp(&other.order)
    }
}
