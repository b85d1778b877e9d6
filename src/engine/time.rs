//! Time enters only through the log (I3).

use serde::{Deserialize, Serialize};

use crate::engine::Millis;

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

    /// How far the key's own records have brought it.
    pub fn reached(&self, allowance: Allowance) -> Millis {
        self.stream_time.saturating_sub(allowance.own)
    }

    /// The watermark: T − D + (clock − append time of the last record). It stands D behind the key's own records and moves on in
    /// real time while the key is silent; where those come in order, it stands at them, and silence shorter than D does not move it.
    pub fn watermark(&self, allowance: Allowance, clock: Millis) -> Millis {
        let silence = clock.saturating_sub(self.last_append);
        let silent = self.stream_time.saturating_sub(allowance.disorder).saturating_add(silence);
        silent.max(self.reached(allowance))
    }

    /// The first reading of the partition's clock at which, in silence, the watermark strictly passes `due`; the least of all where the
    /// key's own records have brought it so far.
    pub fn passes_at(&self, due: Millis, allowance: Allowance) -> Millis {
        if self.reached(allowance) > due {
            return Millis::MIN;
        }
        due.saturating_sub(self.stream_time)
            .saturating_add(allowance.disorder)
            .saturating_add(self.last_append)
            .saturating_add(1)
    }
}

/// How far a key's watermark stands behind its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// The disorder allowance D: so long a producer may keep to itself what it has, or a batch be on its way.
    pub disorder: Millis,
    /// D again, or 0 where the key's own records are known to come in order.
    pub own: Millis,
}

impl Allowance {
    /// That of a key whose records may come in any order.
    pub fn of(disorder: Millis) -> Self {
        Self { disorder, own: disorder }
    }

    /// That of a key whose records come in order.
    pub fn in_order(disorder: Millis) -> Self {
        Self { disorder, own: 0 }
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
        assert_eq!(time.watermark(Allowance::of(10), 1_000), 90);
        assert_eq!(time.watermark(Allowance::of(10), 1_500), 590);
    }

    #[test]
    fn i3_of_records_in_order_only_a_silence_longer_than_the_allowance_counts() {
        let time = KeyTime::first(100, 1_000);
        for (clock, expected) in [(1_000, 100), (1_010, 100), (1_011, 101)] {
            assert_eq!(time.watermark(Allowance::in_order(10), clock), expected);
        }
    }

    proptest! {
        #[test]
        fn i3_passes_at_is_the_first_clock_past_due(
            event in -1_000_i64..1_000, append in -1_000_i64..1_000, due in -1_000_i64..1_000,
            disorder in 0_i64..500, is_in_order: bool,
        ) {
            let time = KeyTime::first(event, append);
            let allowance = if is_in_order { Allowance::in_order(disorder) } else { Allowance::of(disorder) };
            let at = time.passes_at(due, allowance);
            prop_assert!(time.watermark(allowance, at) > due);
            let is_reached = time.reached(allowance) > due;
            let is_first = is_reached == (at == Millis::MIN) && (is_reached || time.watermark(allowance, at - 1) <= due);
            prop_assert!(is_first);
        }
    }
}
