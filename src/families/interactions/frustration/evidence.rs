//! The records behind a session's row (I8): its events are kept under their offsets.

use super::Frustration;
use super::entries::{base, events, head};
use crate::engine::{Context, EvidenceState};

/// The offsets of the first and the last of the records, which are those that are kept and those whose events are not kept any
/// more.
pub(super) fn records(context: &Context<'_, Frustration>, name: i64) -> Vec<i64> {
    let first = events(context, name).take(EvidenceState::FIRST).map(|event| event.offset);
    let mut records: Vec<i64> = first.collect();
    let last = events(context, name).rev().take(EvidenceState::LAST).map(|event| event.offset);
    let known = records.last().copied().unwrap_or(i64::MIN);
    records.extend(last.take_while(|offset| *offset > known));
    records.extend(base(context, name).into_iter().flat_map(|base| &base.records));
    ends(records)
}

/// Of some records in any order the first 8 and the last 24, in the order of the log.
pub(super) fn ends(mut records: Vec<i64>) -> Vec<i64> {
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
