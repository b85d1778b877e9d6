//! What became of the records: for each operator and partition, each record read has exactly one outcome (I7).

use serde::{Deserialize, Serialize};

use crate::engine::Millis;

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// Folded into the state.
    Folded,
    /// Seen before.
    Duplicate,
    /// Everything that it would change has been finalised and dropped; it went to the late events.
    Late,
    /// Not foldable; it went to the dead letters.
    DeadLettered,
    /// A mark: no data, counted apart.
    Mark,
}

impl Outcome {
    /// As metrics spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Folded => "folded",
            Self::Duplicate => "duplicate",
            Self::Late => "late",
            Self::DeadLettered => "dead_lettered",
            Self::Mark => "mark",
        }
    }
}

/// Counts of outcomes. They are state, committed with the rest.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Data records read.
    pub read: u64,
    /// Of them, folded.
    pub folded: u64,
    /// Of them, seen before.
    pub duplicate: u64,
    /// Of them, late: what they would change had been finalised and dropped.
    pub late: u64,
    /// Of them, not foldable.
    pub dead_lettered: u64,
    /// Offsets that were passed over by a person's decision: not read.
    pub skipped: u64,
}

impl Counts {
    /// Counts a record; marks are not data.
    pub fn add(&mut self, outcome: Outcome) {
        let counter = match outcome {
            Outcome::Folded => &mut self.folded,
            Outcome::Duplicate => &mut self.duplicate,
            Outcome::Late => &mut self.late,
            Outcome::DeadLettered => &mut self.dead_lettered,
            Outcome::Mark => return,
        };
        *counter += 1;
        self.read += 1;
    }
}

/// The hour of a reading of the clock, by its beginning.
pub(super) fn hour(clock: Millis) -> Millis {
    const HOUR: Millis = 3_600_000;
    clock.div_euclid(HOUR).saturating_mul(HOUR)
}
