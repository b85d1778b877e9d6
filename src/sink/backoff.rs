//! How long the sink waits before it asks a store again.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

/// Delays without end: 100 ms at first, doubling up to 5 s, each lengthened by a random part of itself.
pub fn backoff() -> impl Iterator<Item = Duration> + Send {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(5))
        .with_jitter()
        .without_max_times()
        .build()
}
