//! What the workers have emitted: the rows of the derived topics, as far as the log has been folded.

use std::collections::BTreeMap;
use std::ops::Range;

use rdkafka::message::Message;

use super::BacktestError;
use super::finding::{Finding, Input};
use super::fold::{Job, Place, Rows};
use crate::event::id;
use crate::log::replay::Replay;
use crate::log::{Log, lag};
use crate::stream::Operator;
use crate::worker;

/// As much of the log as the workers have folded and committed. What follows from it lies in the derived topics.
pub(super) fn committed(
    log: &Log,
    topic: &str,
    mut bounds: BTreeMap<i32, Range<i64>>,
) -> Result<BTreeMap<i32, Range<i64>>, BacktestError> {
    let partitions = bounds.keys().copied();
    let committed = lag::committed(log, &worker::group(topic), topic, partitions);
    for (partition, offset) in committed.map_err(BacktestError::kafka(topic))? {
        if let Some(offsets) = bounds.get_mut(&partition) {
            offsets.end = offset.max(offsets.start);
        }
    }
    Ok(bounds)
}

/// Reads them, as the side before.
pub(super) fn read<O>(
    job: &Job<'_, O>,
    folded: &BTreeMap<i32, Range<i64>>,
    rows: &mut Rows<O::Row>,
) -> Result<(), BacktestError>
where
    O: Operator<Row: Finding>,
{
    for topic in O::Row::TOPICS {
        let kafka = BacktestError::kafka(topic);
        let bounds = Replay::stable_bounds(job.log, topic).map_err(&kafka)?;
        let mut replay = Replay::start(job.log, topic, bounds).map_err(&kafka)?;
        while let Some(message) = replay.read().map_err(&kafka)? {
            let row = O::Row::read(topic, message.payload()).map_err(|source| BacktestError::Row {
                topic: (*topic).to_owned(),
                partition: message.partition(),
                offset: message.offset(),
                source,
            })?;
            let (partition, offset) = match row.input() {
                Input::Key(key, offset) => {
                    (id::partition(id::murmur2(key.as_bytes()), folded.len() as u32), offset)
                }
                Input::Record(topic, partition, offset) if topic == job.family.topic => (partition, offset),
                Input::Record(..) => continue,
            };
            let is_ours = row.operator().is_none_or(|operator| operator == O::NAME);
            let is_folded = folded.get(&partition).is_some_and(|offsets| offsets.contains(&offset));
            if is_ours && is_folded {
                job.keep_row(rows, Place::Before, true, row)?;
            }
        }
    }
    Ok(())
}
