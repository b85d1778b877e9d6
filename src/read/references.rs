//! The records behind a row, as the tables name them.

use std::sync::Arc;

use serde::{Deserialize, Deserializer};

use crate::engine::rows::RecordReference;

/// Reads them from ClickHouse, whose tuples come as tuples.
pub fn of_tuples<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<RecordReference>, D::Error> {
    let tuples = Vec::<(Arc<str>, i32, i64, Arc<str>)>::deserialize(deserializer)?;
    let reference =
        |(topic, partition, offset, event_id)| RecordReference { topic, partition, offset, event_id };
    Ok(tuples.into_iter().map(reference).collect())
}

/// What they take in memory, about.
pub fn bytes(references: &[RecordReference]) -> usize {
    references.iter().map(|reference| size_of::<RecordReference>() + reference.event_id.len() + 16).sum()
}
