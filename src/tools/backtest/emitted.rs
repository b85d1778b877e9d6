//! What the workers have emitted: the rows of the derived topics, as far as the log has been folded.

use std::collections::BTreeMap;
use std::ops::Range;

use rdkafka::message::Message;

use super::BacktestError;
use super::finding::{Input, input, operator};
use super::fold::{Comparison, Place, Rows};
use crate::engine::Operator;
use crate::engine::id;
use crate::engine::rows::OperatorRow;
use crate::log::replay::Replay;
use crate::log::{Log, lag};
use crate::runtime::{Job, Value};

/// As much of the log as the workers have folded and committed. What follows from it lies in the derived topics.
pub(super) fn committed<O: Operator>(
    log: &Log,
    job: &Job<O>,
    mut bounds: BTreeMap<i32, Range<i64>>,
) -> Result<BTreeMap<i32, Range<i64>>, BacktestError> {
    let partitions = bounds.keys().copied();
    let committed = lag::committed(log, &job.group(), job.topic, partitions);
    for (partition, offset) in committed.map_err(BacktestError::kafka(job.topic))? {
        if let Some(offsets) = bounds.get_mut(&partition) {
            offsets.end = offset.max(offsets.start);
        }
    }
    Ok(bounds)
}

/// Reads them, as the side before.
pub(super) fn read<O>(
    comparison: &Comparison<'_, O>,
    folded: &BTreeMap<i32, Range<i64>>,
    rows: &mut Rows<O::Row>,
) -> Result<(), BacktestError>
where
    O: Operator<Row: OperatorRow>,
{
    for topic in O::Row::TOPICS {
        let kafka = BacktestError::kafka(topic);
        let bounds = Replay::stable_bounds(comparison.log, topic).map_err(&kafka)?;
        let mut replay = Replay::start(comparison.log, topic, bounds).map_err(&kafka)?;
        while let Some(message) = replay.read().map_err(&kafka)? {
            let Some(row) = O::Row::read(topic, Value(message.payload())) else { break };
            let row = row.map_err(|source| BacktestError::Row {
                topic: (*topic).to_owned(),
                partition: message.partition(),
                offset: message.offset(),
                source,
            })?;
            let (partition, offset) = match input(&row) {
                Input::Key(key, offset) => {
                    (id::partition(id::murmur2(key.as_bytes()), folded.len() as u32), offset)
                }
                Input::Record(topic, partition, offset) if topic == comparison.job.topic => {
                    (partition, offset)
                }
                Input::Record(..) => continue,
            };
            let is_ours = operator(&row).is_none_or(|operator| operator == O::NAME);
            let is_folded = folded.get(&partition).is_some_and(|offsets| offsets.contains(&offset));
            if is_ours && is_folded {
                comparison.keep_row(rows, Place::Before, true, row)?;
            }
        }
    }
    Ok(())
}
