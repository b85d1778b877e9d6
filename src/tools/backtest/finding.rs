//! What a backtest has to know of a row.

use crate::engine::id;
use crate::engine::rows::{DeadLetter, LateEvent, OperatorRow, RowKind};

/// Where in the family's log a row was emitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input<'a> {
    /// At an offset of the partition of a key.
    Key(&'a str, i64),
    /// At a record that it names.
    Record(&'a str, i32, i64),
}

/// The tenant of a row, where it is known.
pub(super) fn tenant<R: OperatorRow>(row: &R) -> Option<&str> {
    match row.kind() {
        RowKind::Versioned(meta) => Some(&meta.tenant),
        RowKind::DeadLetter(letter) => letter.tenant.as_deref(),
        RowKind::LateEvent(event) => Some(&event.tenant),
    }
}

/// The operator from which a row comes; none for dead letters that name none.
pub(super) fn operator<R: OperatorRow>(row: &R) -> Option<&str> {
    match row.kind() {
        RowKind::Versioned(meta) => Some(&meta.operator),
        RowKind::DeadLetter(letter) => Some(letter.operator.as_str()).filter(|operator| !operator.is_empty()),
        RowKind::LateEvent(event) => Some(&event.operator),
    }
}

/// The record that emitted a row: its topic where the row names it, partition (or the key that leads to it), offset.
pub(super) fn input<R: OperatorRow>(row: &R) -> Input<'_> {
    match row.kind() {
        RowKind::Versioned(meta) => Input::Key(&meta.key, id::offset(meta.version)),
        RowKind::DeadLetter(DeadLetter { topic, partition, offset, .. })
        | RowKind::LateEvent(LateEvent { topic, partition, offset, .. }) => {
            Input::Record(topic, *partition, *offset)
        }
    }
}

/// Whether two are the same row and say the same, however they came about.
pub(super) fn say_the_same<R: OperatorRow>(one: &R, other: &R) -> bool {
    match (one.meta(), other.meta()) {
        (Some(meta), Some(others)) => {
            (meta.id, meta.retracted) == (others.id, others.retracted) && {
                let mut other = other.clone();
                if let Some(others) = other.meta_mut() {
                    others.clone_from(meta);
                }
                *one == other
            }
        }
        _ => one == other,
    }
}
