//! What is committed in a topic, read once: from offset to offset, or here and there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message, OwnedMessage};
use rdkafka::topic_partition_list::Offset;
use rdkafka::{ClientConfig, TopicPartitionList};

use super::Log;
use super::lag::Quiet;
use crate::engine::Millis;

/// How long the broker may take to answer a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a broker may be silent.
const BROKER_TIMEOUT: Duration = Duration::from_secs(30);
/// Between offsets that are no further apart, reading on costs less than beginning anew.
const NEAR: i64 = 1_000;

/// Reads a topic, as a group of its own that commits nothing. The records of each partition come in their order.
pub struct Replay {
    consumer: BaseConsumer<Quiet>,
    topic: String,
    /// The offsets that are still to be read, by partition.
    left: BTreeMap<i32, Range<i64>>,
}

impl Replay {
    /// What there is: the offsets of each partition, from the first that retention has left to the end of what is committed.
    pub fn bounds(log: &Log, topic: &str) -> KafkaResult<BTreeMap<i32, Range<i64>>> {
        bounds_by(&consumer(log)?, &log.name(topic))
    }

    /// As the [bounds](Self::bounds), once all that lies there now is committed or aborted: somebody's open transaction hides
    /// what others have committed behind it.
    pub fn stable_bounds(log: &Log, topic: &str) -> KafkaResult<BTreeMap<i32, Range<i64>>> {
        let all: BaseConsumer<Quiet> =
            settings(log).set("isolation.level", "read_uncommitted").create_with_context(Quiet)?;
        let (committed, name) = (consumer(log)?, log.name(topic));
        let all = bounds_by(&all, &name)?;
        let deadline = Instant::now() + BROKER_TIMEOUT;
        loop {
            let bounds = bounds_by(&committed, &name)?;
            let is_stable = |(partition, all): (&i32, &Range<i64>)| {
                bounds.get(partition).is_some_and(|bounds| bounds.end >= all.end)
            };
            if all.iter().all(is_stable) {
                return Ok(bounds);
            }
            if Instant::now() > deadline {
                return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// As much of `offsets` as was appended up to `time`, in ms since the epoch.
    pub fn until(
        log: &Log,
        topic: &str,
        mut offsets: BTreeMap<i32, Range<i64>>,
        time: Millis,
    ) -> KafkaResult<BTreeMap<i32, Range<i64>>> {
        let name = log.name(topic);
        let mut list = TopicPartitionList::new();
        for partition in offsets.keys() {
            list.add_partition_offset(&name, *partition, Offset::Offset(time.saturating_add(1)))?;
        }
        for element in consumer(log)?.offsets_for_times(list, REQUEST_TIMEOUT)?.elements() {
            if let (Offset::Offset(later), Some(offsets)) =
                (element.offset(), offsets.get_mut(&element.partition()))
            {
                offsets.end = later.clamp(offsets.start, offsets.end);
            }
        }
        Ok(offsets)
    }

    /// As the [bounds](Self::bounds) of some partitions, from the first record on that was appended at a time or later; and
    /// the first offset that retention has left.
    pub fn since(
        log: &Log,
        topic: &str,
        times: &BTreeMap<i32, Millis>,
    ) -> KafkaResult<BTreeMap<i32, (Range<i64>, i64)>> {
        let (consumer, name) = (consumer(log)?, log.name(topic));
        let mut list = TopicPartitionList::new();
        for (partition, time) in times {
            list.add_partition_offset(&name, *partition, Offset::Offset((*time).max(0)))?;
        }
        let found = consumer.offsets_for_times(list, REQUEST_TIMEOUT)?;
        let bounds = found.elements().into_iter().map(|element| {
            element.error()?;
            let (low, end) = consumer.fetch_watermarks(&name, element.partition(), REQUEST_TIMEOUT)?;
            let begin =
                if let Offset::Offset(offset) = element.offset() { offset.clamp(low, end) } else { end };
            Ok((element.partition(), (begin..end, low)))
        });
        bounds.collect()
    }

    /// Begins to read `offsets`, which lie within the [bounds](Self::bounds).
    pub fn start(log: &Log, topic: &str, offsets: BTreeMap<i32, Range<i64>>) -> KafkaResult<Self> {
        let mut replay = Self { consumer: consumer(log)?, topic: log.name(topic), left: BTreeMap::new() };
        // A client that does not know the leader yet waits for half a second before it asks again.
        replay.consumer.fetch_metadata(Some(&replay.topic), REQUEST_TIMEOUT)?;
        replay.assign(offsets)?;
        Ok(replay)
    }

    fn assign(&mut self, mut offsets: BTreeMap<i32, Range<i64>>) -> KafkaResult<()> {
        offsets.retain(|_, offsets| !offsets.is_empty());
        let mut list = TopicPartitionList::new();
        for (partition, offsets) in &offsets {
            list.add_partition_offset(&self.topic, *partition, Offset::Offset(offsets.start))?;
        }
        // What was paused would stay so.
        self.consumer.resume(&self.consumer.assignment()?)?;
        self.consumer.assign(&list)?;
        self.left = offsets;
        Ok(())
    }

    /// How many offsets are left; not each of them is a record.
    pub fn left(&self) -> u64 {
        self.left.values().map(|offsets| offsets.end.abs_diff(offsets.start)).sum()
    }

    /// The next record; `None`: all have been read.
    pub fn read(&mut self) -> KafkaResult<Option<BorrowedMessage<'_>>> {
        let deadline = Instant::now() + BROKER_TIMEOUT;
        while !self.left.is_empty() {
            match self.consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    let partition = message.partition();
                    let Some(left) = self.left.get_mut(&partition) else { continue };
                    let is_wanted = message.offset() < left.end;
                    left.start = message.offset() + 1;
                    if left.is_empty() {
                        self.left.remove(&partition);
                        let mut list = TopicPartitionList::new();
                        list.add_partition(&self.topic, partition);
                        self.consumer.pause(&list)?;
                    }
                    if is_wanted {
                        return Ok(Some(message));
                    }
                }
                // What is left of it are the marks of transactions.
                Some(Err(KafkaError::PartitionEOF(partition))) => drop(self.left.remove(&partition)),
                Some(Err(error)) => return Err(error),
                None if Instant::now() > deadline => {
                    return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut));
                }
                None => {}
            }
        }
        Ok(None)
    }
}

/// What lies at some offsets of a partition.
#[derive(Debug)]
pub struct Records {
    /// What there is of the partition: from the first offset that retention has left to the end of what is committed.
    pub bounds: Range<i64>,
    /// The records, by offset. Where one is missing, retention has taken it, or no record was ever committed there.
    pub records: BTreeMap<i64, OwnedMessage>,
}

/// Reads the records at some offsets of a topic, by partition, however far they lie apart.
pub fn records_at(
    log: &Log,
    topic: &str,
    offsets: &BTreeMap<i32, BTreeSet<i64>>,
) -> KafkaResult<BTreeMap<i32, Records>> {
    let mut settings = settings(log);
    // Of what lies behind a record, little is fetched in vain.
    settings.set("fetch.message.max.bytes", "262144").set("queued.min.messages", "1000");
    let consumer: BaseConsumer<Quiet> = settings.create_with_context(Quiet)?;
    let mut replay = Replay { consumer, topic: log.name(topic), left: BTreeMap::new() };
    let (mut found, mut runs) = (BTreeMap::new(), BTreeMap::new());
    for (partition, offsets) in offsets {
        let (low, end) = replay.consumer.fetch_watermarks(&replay.topic, *partition, REQUEST_TIMEOUT)?;
        runs.insert(
            *partition,
            runs_of(offsets.iter().copied().filter(|offset| (low..end).contains(offset))),
        );
        found.insert(*partition, Records { bounds: low..end, records: BTreeMap::new() });
    }
    loop {
        let next = runs.iter_mut().filter_map(|(partition, runs)| Some((*partition, runs.pop_front()?)));
        let next: BTreeMap<i32, Range<i64>> = next.collect();
        if next.is_empty() {
            return Ok(found);
        }
        replay.assign(next)?;
        while let Some(message) = replay.read()? {
            let (partition, offset) = (message.partition(), message.offset());
            let is_wanted = offsets.get(&partition).is_some_and(|offsets| offsets.contains(&offset));
            if let Some(found) = found.get_mut(&partition).filter(|_| is_wanted) {
                found.records.insert(offset, message.detach());
            }
        }
    }
}

/// Rising offsets as ranges that are each read through.
fn runs_of(offsets: impl Iterator<Item = i64>) -> VecDeque<Range<i64>> {
    let mut runs = VecDeque::<Range<i64>>::new();
    for offset in offsets {
        match runs.back_mut() {
            Some(run) if offset - run.end <= NEAR => run.end = offset + 1,
            _ => runs.push_back(offset..offset + 1),
        }
    }
    runs
}

fn bounds_by(consumer: &BaseConsumer<Quiet>, name: &str) -> KafkaResult<BTreeMap<i32, Range<i64>>> {
    let metadata = consumer.fetch_metadata(Some(name), REQUEST_TIMEOUT)?;
    let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
    let bounds = partitions.map(|partition| {
        let (low, end) = consumer.fetch_watermarks(name, partition.id(), REQUEST_TIMEOUT)?;
        Ok((partition.id(), low..end))
    });
    bounds.collect()
}

fn consumer(log: &Log) -> KafkaResult<BaseConsumer<Quiet>> {
    settings(log).create_with_context(Quiet)
}

fn settings(log: &Log) -> ClientConfig {
    let mut settings = log.consumer("replay");
    settings.set("enable.partition.eof", "true").set("auto.offset.reset", "error");
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_near_is_read_in_one_run() {
        let runs = |offsets: &[i64]| Vec::from(runs_of(offsets.iter().copied()));
        assert_eq!(runs(&[]), []);
        assert_eq!(runs(&[7, 8, 8 + NEAR, 10 + 2 * NEAR]), [7..9 + NEAR, 10 + 2 * NEAR..11 + 2 * NEAR]);
    }
}
