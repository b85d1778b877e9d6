//! How far a task has come: all of it but its keyed state.

use serde::{Deserialize, Serialize};

use super::accounting::{Counts, Outcome};
use super::event::Millis;

/// Where the task stands with the record at its offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Phase {
    /// It has not begun: the offset is that of the next record.
    Idle,
    /// The clock has moved; timers fire that come before the record.
    Before,
    /// A mark has brought other settings into force; key by key, what they change is emitted.
    Sweeping,
    /// The record is folded; timers fire that it made due.
    After(Outcome),
}

/// How far a task has come, and what it met on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    pub phase: Phase,
    pub totals: Totals,
}

/// What a task has met since its partition began.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Outcomes of data records.
    pub records: Counts,
    /// Marks.
    pub marks: u64,
    /// Timers that failed and went to the dead letters.
    pub poisoned_timers: u64,
}

/// How far the keys have followed settings that came into force, where they have not all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SweepCursor {
    /// Version of the former settings.
    pub former: i64,
    /// The last key that has followed.
    pub through: Option<String>,
}

/// The part of a task that is not its keyed state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    pub epoch: u8,
    pub offset: i64,
    pub append_time: Millis,
    pub clock: Millis,
    pub settings_version: i64,
    pub sweep: Option<SweepCursor>,
    pub progress: Progress,
}

impl Cursor {
    /// The next record has not begun.
    pub fn is_between_records(&self) -> bool {
        self.progress.phase == Phase::Idle
    }
}
