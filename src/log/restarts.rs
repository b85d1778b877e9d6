//! The rests of a loop that begins again after each failure: longer from one to the next, so that what can't be helped soon is
//! not tried without a pause.

use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio_util::sync::CancellationToken;

/// How late a shutdown is noticed.
const STEP: Duration = Duration::from_millis(50);

/// When a loop begins again.
#[derive(Debug)]
pub struct Restarts {
    builder: ExponentialBuilder,
    rests: ExponentialBackoff,
    most: Duration,
    began: Instant,
}

impl Restarts {
    /// The first rest is `least`, the longest `most`, each about twice the one before. After a life longer than `most` the next
    /// failure is a first one again.
    pub fn new(least: Duration, most: Duration) -> Self {
        let builder =
            ExponentialBuilder::default().with_min_delay(least).with_max_delay(most).without_max_times();
        Self { builder, rests: builder.build(), most, began: Instant::now() }
    }

    /// Rests, for at least `least`, or until the shutdown. Blocks its thread.
    pub fn rest(&mut self, least: Duration, shutdown: &CancellationToken) {
        if self.began.elapsed() > self.most {
            self.rests = self.builder.build();
        }
        let until = Instant::now() + self.rests.next().unwrap_or(self.most).max(least);
        while !shutdown.is_cancelled() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            std::thread::sleep(left.min(STEP));
        }
        self.began = Instant::now();
    }
}
