//! The records behind a session's row (I8): its events are kept under their offsets.

use std::sync::Arc;

use super::fact::Fact;
use super::{Frustration, fold, head};
use crate::engine::{Context, Trail};

/// A record: its offset and its event id.
pub(super) type Record = (i64, Arc<str>);

/// The first and the last of the records, which are those that are kept and those whose events are not kept any more.
pub(super) fn records(context: &Context<'_, Frustration>, name: i64) -> Vec<Record> {
    let of = |fact: &Fact| (fact.offset, Arc::clone(&fact.name));
    let mut records: Vec<Record> = fold::facts(context, name).take(Trail::FIRST).map(of).collect();
    let last = fold::facts(context, name).rev().take(Trail::LAST);
    let known = records.last().map_or(i64::MIN, |(offset, _)| *offset);
    records.extend(last.take_while(|fact| fact.offset > known).map(of));
    records.extend(fold::base(context, name).into_iter().flat_map(|base| base.records.iter().cloned()));
    ends(records)
}

/// Of some records in any order the first 8 and the last 24, in the order of the log.
pub(super) fn ends(mut records: Vec<Record>) -> Vec<Record> {
    records.sort_unstable();
    let beyond = records.len().saturating_sub(Trail::FIRST + Trail::LAST);
    records.drain(Trail::FIRST.min(records.len())..Trail::FIRST.min(records.len()) + beyond);
    records
}

/// The evidence of a session.
pub(super) fn trail(context: &Context<'_, Frustration>, name: i64) -> Trail {
    let records = records(context, name);
    let count = head(context, name).map_or(0, |head| head.events());
    let beyond = count.saturating_sub(records.len() as u64);
    Trail::of(records.into_iter(), beyond)
}
