//! Unfolded records as a table: the newest, and how many there are by reason and tenant.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::filter::shown;
use super::unfolded::{Kind, Unfolded};

/// What is printed of the records that match.
pub(super) struct Summary {
    kind: Kind,
    /// How many of them are shown.
    limit: usize,
    /// The newest, without their values.
    newest: BTreeSet<Unfolded>,
    /// How many there are, by reason and tenant.
    counts: BTreeMap<(String, String), u64>,
}

impl Summary {
    pub fn new(kind: Kind, limit: usize) -> Self {
        Self { kind, limit, newest: BTreeSet::new(), counts: BTreeMap::new() }
    }

    /// A record that matches.
    pub fn add(&mut self, unfolded: Unfolded) {
        *self.counts.entry((unfolded.reason.clone(), unfolded.tenant.clone())).or_default() += 1;
        self.newest.insert(Unfolded { key: None, value: None, ..unfolded });
        if self.newest.len() > self.limit {
            self.newest.pop_first();
        }
    }

    /// The newest records, the last of them at the bottom; empty where there is none.
    pub fn newest(&self) -> String {
        let head = ["position", "appended", "reason", "tenant", "event id", "message"].map(str::to_owned);
        let row = |unfolded: &Unfolded| {
            [
                unfolded.position.to_string(),
                shown(unfolded.append_time),
                unfolded.reason.clone(),
                unfolded.tenant.clone(),
                unfolded.event_id.clone(),
                unfolded.message.clone(),
            ]
        };
        if self.newest.is_empty() {
            return String::new();
        }
        columns(std::iter::once(head).chain(self.newest.iter().map(row)))
    }

    /// How many match, by reason and tenant, the most first.
    pub fn counts(&self) -> String {
        let total = self.counts.values().sum();
        let mut text = self.kind.count(total);
        let newest = self.newest.len();
        if (newest as u64) < total && newest > 0 {
            // Writing to a string never fails.
            let _ = write!(text, ", above the newest {newest}");
        }
        let mut counts: Vec<_> = self.counts.iter().collect();
        counts.sort_by_key(|(_, count)| Reverse(**count));
        text.push('\n');
        text += &columns(
            counts
                .into_iter()
                .map(|((reason, tenant), count)| [format!("{count:>7}"), reason.clone(), tenant.clone()]),
        );
        text
    }
}

/// Lines of columns, each as wide as its widest cell.
fn columns<const WIDTH: usize>(rows: impl Iterator<Item = [String; WIDTH]>) -> String {
    let cell = |text: String| if text.is_empty() { "-".to_owned() } else { printable(&text) };
    let rows: Vec<[String; WIDTH]> = rows.map(|row| row.map(cell)).collect();
    let mut widths = [0; WIDTH];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text += cells.join("  ").trim_end();
        text.push('\n');
    }
    text
}

/// A text on one line. What others have sent must not steer a terminal.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::dead_letters::unfolded::tests::unfolded;

    #[test]
    fn the_newest_are_shown_and_all_are_counted() {
        let mut summary = Summary::new(Kind::DeadLetters, 2);
        for (offset, reason, tenant) in [(3, "poison", "a"), (1, "unknown_id", ""), (2, "poison", "a")] {
            let message = if offset == 2 { "a panic\n\u{1b}[2J" } else { "" };
            summary.add(Unfolded { message: message.into(), ..unfolded(offset, reason, tenant) });
        }
        let expected = "\
position   appended                  reason  tenant  event id  message
civic/0/2  1970-01-01T00:00:00.002Z  poison  a       -         a panic\\n\\u{1b}[2J
civic/0/3  1970-01-01T00:00:00.003Z  poison  a       -         -
";
        assert_eq!(summary.newest(), expected);
        let expected = "\
3 dead letters, above the newest 2
      2  poison      a
      1  unknown_id  -
";
        assert_eq!(summary.counts(), expected);
    }

    #[test]
    fn where_there_is_none_that_is_said() {
        let summary = Summary::new(Kind::LateEvents, 20);
        assert_eq!((summary.newest(), summary.counts()), (String::new(), "no late event\n".into()));
    }
}
