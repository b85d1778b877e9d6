//! The records behind a session's row (I8): one entry of the state each, so that an event writes one of them.

use std::sync::Arc;

use super::fact::Fact;
use super::session::{Entry, Part};
use super::{Interactions, head};
use crate::stream::{Context, Trail};

/// Where the record lies that so many came before: the last ones take turns.
fn slot(before: u64) -> u8 {
    let (first, last) = (Trail::FIRST as u64, Trail::LAST as u64);
    (if before < first { before } else { first + (before - first) % last }) as u8
}

/// Adds the record of an event, which so many came before.
pub(super) fn push(context: &mut Context<'_, Interactions>, name: i64, before: u64, fact: &Fact) {
    context.put(&(name, Part::Record(slot(before))), Entry::Record(fact.offset, Arc::clone(&fact.name)));
}

/// The records that are kept, in the order of the log.
fn records(context: &Context<'_, Interactions>, name: i64) -> Vec<(i64, Arc<str>)> {
    let entries = context.range((name, Part::Record(0))..=(name, Part::Record(u8::MAX)));
    let record = |entry: &Entry| match entry {
        Entry::Record(offset, name) => Some((*offset, Arc::clone(name))),
        _ => None,
    };
    let mut records: Vec<_> = entries.filter_map(|(_, entry)| record(entry)).collect();
    records.sort_unstable();
    records
}

/// The evidence of a session.
pub(super) fn trail(context: &Context<'_, Interactions>, name: i64) -> Trail {
    let records = records(context, name);
    let count = head(context, name).map_or(0, |head| head.events());
    let beyond = count.saturating_sub(records.len() as u64);
    Trail::of(records.into_iter(), beyond)
}

/// Takes in the records of `other`; both together are `count`.
pub(super) fn merge(context: &mut Context<'_, Interactions>, name: i64, other: i64, count: u64) {
    let mut all = [records(context, name), records(context, other)].concat();
    all.sort_unstable();
    let rest = all.split_off(all.len().min(Trail::FIRST));
    // The last of all is the one that `count` - 1 came before.
    let last = rest.into_iter().rev().take(Trail::LAST).zip((0..count).rev());
    let first = all.into_iter().zip(0..);
    for ((offset, record), before) in first.chain(last) {
        context.put(&(name, Part::Record(slot(before))), Entry::Record(offset, record));
    }
}
