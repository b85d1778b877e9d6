//! Windows: which a record belongs to. Pure arithmetic over event times; [`super::Windowed`] keeps state by it.

use crate::engine::Millis;

/// A span of event time. A fixed window holds `start ≤ t < end`; a session's bounds are its first and last record, and
/// both belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Window {
    /// The beginning, inclusive.
    pub start: Millis,
    /// The end: exclusive in a fixed window, the last record in a session.
    pub end: Millis,
}

/// Tumbling and hopping windows, aligned to the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedWindows {
    size: Millis,
    advance: Millis,
}

impl FixedWindows {
    /// Windows of `size` ms that follow each other.
    ///
    /// # Panics
    /// If `size` is not positive: a fault of the operator's code.
    pub fn tumbling(size: Millis) -> Self {
        Self::hopping(size, size)
    }

    /// Windows of `size` ms, one beginning every `advance` ms.
    ///
    /// # Panics
    /// If not 0 < `advance` ≤ `size`: a fault of the operator's code.
    pub fn hopping(size: Millis, advance: Millis) -> Self {
        assert!(0 < advance && advance <= size, "a window of {size} ms can't advance by {advance} ms");
        Self { size, advance }
    }

    /// The windows that hold `time`, by their beginning.
    pub fn of(self, time: Millis) -> impl Iterator<Item = Window> {
        let last = time.div_euclid(self.advance).saturating_mul(self.advance);
        let before = (self.size - 1 - (time - last)).div_euclid(self.advance);
        (0..=before).rev().map(move |steps| {
            let start = last.saturating_sub(steps.saturating_mul(self.advance));
            Window { start, end: start.saturating_add(self.size) }
        })
    }
}

/// Sessions: records at most `gap` ms apart belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionWindows {
    /// Two records exactly so far apart still belong together.
    pub gap: Millis,
    /// The longest that a session may be, from its first to its last record.
    pub maximum: Option<Millis>,
}

/// Where a record belongs among a key's sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement<N> {
    /// The session with the record in it.
    pub session: Window,
    /// The sessions that it takes the place of, by their beginning: none, one that grows, or two that merge.
    pub absorbed: Vec<N>,
    /// Cuts that are made: no session reaches from such a time to a later one.
    pub cuts: Vec<Millis>,
}

impl SessionWindows {
    /// Places a record among the sessions of its key, which are given with their names in any order, and the cuts made so
    /// far.
    ///
    /// A session that would grow past the maximum is cut where it reaches it, `maximum` after its first record; a cut, once
    /// made, never moves, whatever arrives later.
    pub fn place<N: Copy>(
        self,
        sessions: impl Iterator<Item = (N, Window)>,
        cuts: &[Millis],
        time: Millis,
    ) -> Placement<N> {
        let is_cut = |from: Millis, to: Millis| cuts.iter().any(|cut| from <= *cut && *cut < to);
        let fits = |window: Window| self.maximum.is_none_or(|maximum| window.end - window.start <= maximum);
        let limit = |start: Millis| start.saturating_add(self.maximum.unwrap_or(Millis::MAX));
        let (mut left, mut right) = (None, None);
        for (name, window) in sessions {
            let Window { start, end } = window;
            if start <= time && time <= end {
                return Placement { session: window, absorbed: vec![name], cuts: Vec::new() };
            }
            if end < time && time.saturating_sub(end) <= self.gap && !is_cut(end, time) {
                left = Some((name, window));
            } else if time < start && start.saturating_sub(time) <= self.gap && !is_cut(time, start) {
                right = Some((name, window));
            }
        }
        let alone = Window { start: time, end: time };
        let with_left = left.map(|(_, window)| Window { end: time, ..window }).filter(|window| fits(*window));
        let with_right =
            right.map(|(_, window)| Window { start: time, ..window }).filter(|window| fits(*window));
        if let (Some((a, left)), Some((b, right))) = (left, right) {
            let whole = Window { start: left.start, end: right.end };
            if fits(whole) {
                return Placement { session: whole, absorbed: vec![a, b], cuts: Vec::new() };
            }
        }
        // Only one of them can take it, or none; what it stays apart from is behind a cut from now on.
        let (session, absorbed) = match (left, with_left, right, with_right) {
            (Some((name, _)), Some(session), ..) | (.., Some((name, _)), Some(session)) => {
                (session, vec![name])
            }
            _ => (alone, Vec::new()),
        };
        let mut made = Vec::new();
        if let (Some((_, left)), None) = (left, with_left) {
            made.push(limit(left.start));
        }
        if let Some((_, right)) = right.filter(|(_, right)| right.start > session.end) {
            made.push(limit(session.start).min(right.start - 1));
        }
        Placement { session, absorbed, cuts: made }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(windows: FixedWindows, time: Millis) -> Vec<Millis> {
        windows.of(time).map(|window| window.start).collect()
    }

    #[test]
    fn a_fixed_window_holds_its_beginning_and_not_its_end() {
        let tumbling = FixedWindows::tumbling(10);
        assert_eq!(starts(tumbling, 0), [0]);
        assert_eq!(starts(tumbling, 9), [0]);
        assert_eq!(starts(tumbling, 10), [10]);
        assert_eq!(starts(tumbling, -1), [-10]);
        let hopping = FixedWindows::hopping(10, 4);
        assert_eq!(starts(hopping, 8), [0, 4, 8]);
        assert_eq!(starts(hopping, 10), [4, 8]);
        assert_eq!(starts(hopping, -1), [-8, -4]);
        assert_eq!(starts(FixedWindows::hopping(10, 10), 19), [10]);
    }

    proptest::proptest! {
        #[test]
        fn the_windows_of_a_time_are_those_that_hold_it(size in 1_i64..40, advance in 1_i64..40, time in -500_i64..500) {
            proptest::prop_assume!(advance <= size);
            let expected: Vec<Millis> =
                (-1000..1000).map(|n| n * advance).filter(|start| *start <= time && time < start + size).collect();
            proptest::prop_assert_eq!(starts(FixedWindows::hopping(size, advance), time), expected);
        }
    }
}
