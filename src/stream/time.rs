//! Time enters only through the log (I3).

use serde::{Deserialize, Serialize};

use crate::event::Millis;

/// How far an event's time may lie ahead of its append time, in ms.
pub const FUTURE_LIMIT: Millis = 5 * 60 * 1000;

/// The time of one key: how far its own records have brought it, and how long it has been silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyTime {
    /// T: the highest min(event time, append time) of the key's records.
    pub stream_time: Millis,
    /// Append time of its last record.
    pub last_append: Millis,
}

impl KeyTime {
    /// The time of a key whose first record this is.
    pub fn first(event_time: Millis, append_time: Millis) -> Self {
        Self { stream_time: event_time.min(append_time), last_append: append_time }
    }

    /// A further record of the key.
    pub fn advance(&mut self, event_time: Millis, append_time: Millis) {
        self.stream_time = self.stream_time.max(event_time.min(append_time));
        self.last_append = append_time;
    }

    /// The watermark: T − D + (clock − append time of the last record). It stands D behind the
    /// key's own records and moves on in real time while the key is silent.
    pub fn watermark(&self, allowance: Millis, clock: Millis) -> Millis {
        let silence = clock.saturating_sub(self.last_append);
        self.stream_time.saturating_sub(allowance).saturating_add(silence)
    }

    /// The first reading of the partition's clock at which, in silence, the watermark strictly passes `due`.
    pub fn passes_at(&self, due: Millis, allowance: Millis) -> Millis {
        due.saturating_sub(self.stream_time)
            .saturating_add(allowance)
            .saturating_add(self.last_append)
            .saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn i3_a_device_ahead_of_time_does_not_move_its_key_past_the_append_time() {
        assert_eq!(KeyTime::first(1_000, 400).stream_time, 400);
    }

    #[test]
    fn i3_silence_passes_in_real_time() {
        let time = KeyTime::first(100, 1_000);
        assert_eq!(time.watermark(10, 1_000), 90);
        assert_eq!(time.watermark(10, 1_500), 590);
    }

    proptest! {
        #[test]
        fn i3_passes_at_is_the_first_clock_past_due(
            event in -1_000_i64..1_000, append in -1_000_i64..1_000, due in -1_000_i64..1_000, allowance in 0_i64..500,
        ) {
            let time = KeyTime::first(event, append);
            let at = time.passes_at(due, allowance);
            prop_assert!(time.watermark(allowance, at) > due);
            prop_assert!(time.watermark(allowance, at - 1) <= due);
        }
    }
}
