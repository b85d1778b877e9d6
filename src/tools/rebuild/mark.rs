//! What a table says of itself between the exchange and the end of a swap.

use std::collections::BTreeMap;
use std::fmt::Write;

const OPENING: &str = " [unfinished swap, complete up to";

/// The offset of each partition up to which a table holds what follows from its topic. It is the end of the table's comment,
/// and so goes with the table where that is renamed: one that was swapped and not completed says itself what it lacks,
/// whatever became of the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    /// By partition.
    pub offsets: BTreeMap<i32, i64>,
}

impl Mark {
    /// The comment with the mark.
    pub fn append_to(&self, comment: &str) -> String {
        let mut text = format!("{comment}{OPENING}");
        for (partition, offset) in &self.offsets {
            // Writing to a string never fails.
            let _ = write!(text, " {partition}:{offset}");
        }
        text.push(']');
        text
    }

    /// The comment without the mark, and the mark.
    pub fn split(comment: &str) -> (&str, Option<Self>) {
        let read = || {
            let (before, rest) = comment.rsplit_once(OPENING)?;
            let offset = |pair: &str| {
                let (partition, offset) = pair.split_once(':')?;
                Some((partition.parse().ok()?, offset.parse().ok()?))
            };
            let offsets = rest.strip_suffix(']')?.split_whitespace().map(offset).collect::<Option<_>>()?;
            Some((before, Some(Self { offsets })))
        };
        read().unwrap_or((comment, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        for offsets in [BTreeMap::new(), BTreeMap::from([(0, 12), (11, 0)])] {
            let mark = Mark { offsets };
            let text = mark.append_to("What went wrong [of all]. It's so.");
            assert_eq!(Mark::split(&text), ("What went wrong [of all]. It's so.", Some(mark)));
        }
        assert_eq!(Mark::split("What [went] wrong."), ("What [went] wrong.", None));
    }
}
