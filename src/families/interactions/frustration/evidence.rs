//! The records behind a session's row (I8): its events are kept under their offsets.

use std::sync::Arc;

use super::Frustration;
use super::entries::{base, events, head};
use super::normalized_event::NormalizedEvent;
use crate::engine::{Context, EvidenceState};

/// A record: its offset and its event id.
pub(super) type Record = (i64, Arc<str>);

/// The first and the last of the records, which are those that are kept and those whose events are not kept any more.
pub(super) fn records(context: &Context<'_, Frustration>, name: i64) -> Vec<Record> {
    let of = |event: &NormalizedEvent| (event.offset, Arc::clone(&event.name));
    let mut records: Vec<Record> = events(context, name).take(EvidenceState::FIRST).map(of).collect();
    let last = events(context, name).rev().take(EvidenceState::LAST);
    let known = records.last().map_or(i64::MIN, |(offset, _)| *offset);
    records.extend(last.take_while(|event| event.offset > known).map(of));
    records.extend(base(context, name).into_iter().flat_map(|base| base.records.iter().cloned()));
    ends(records)
}

/// Of some records in any order the first 8 and the last 24, in the order of the log.
pub(super) fn ends(mut records: Vec<Record>) -> Vec<Record> {
    records.sort_unstable();
    let beyond = records.len().saturating_sub(EvidenceState::FIRST + EvidenceState::LAST);
    records.drain(EvidenceState::FIRST.min(records.len())..EvidenceState::FIRST.min(records.len()) + beyond);
    records
}

/// The evidence of a session.
pub(super) fn of_session(context: &Context<'_, Frustration>, name: i64) -> EvidenceState {
    let records = records(context, name);
    let count = head(context, name).map_or(0, |head| head.events());
    let beyond = count.saturating_sub(records.len() as u64);
    EvidenceState::of(records.into_iter(), beyond)
}
