//! How far a backtest has come.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Counts what is read, for whoever watches; and stops it.
#[derive(Debug, Default)]
pub struct Progress {
    total: AtomicU64,
    done: AtomicU64,
    is_stopped: AtomicBool,
}

impl Progress {
    /// So many offsets more are to be read.
    pub(super) fn begin(&self, total: u64) {
        self.total.fetch_add(total, Ordering::Relaxed);
    }

    pub(super) fn add(&self, offsets: u64) {
        self.done.fetch_add(offsets, Ordering::Relaxed);
    }

    /// Offsets of the log that are behind, and all of them.
    pub fn of(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed))
    }

    /// Asks the backtest to end.
    pub fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }
}
