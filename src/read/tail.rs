//! Reads the derived topics as they are committed: each record is itself the cache's fill, and goes to those who listen.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::Offset;
use tokio_util::sync::CancellationToken;

use super::event::{Event, Kind};
use super::live::Live;
use super::positions::Seen;
use super::rows::{Arrival, Place};
use crate::codec;
use crate::engine::rows::Progress;
use crate::http::{Readiness, Tenant};
use crate::log::lag::Quiet;
use crate::log::{Log, topic_check, topics};
use crate::resource::{RecordError, Resource};

/// How many offsets of each partition are read from before the start: the newest rows are asked for most.
const BEFORE: i64 = 2_000;
/// How many of `progress`: a partition in which nothing happens says nothing.
const PROGRESS_BEFORE: i64 = 20_000;
/// The topic, and the subject of its values.
const PROGRESS: &str = "progress";
/// How long it waits for a record before it says how far it has come.
const POLL: Duration = Duration::from_millis(50);
/// How long Kafka may take to say where a partition ends.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Rest before the tail begins anew after a failure.
const RETRY: Duration = Duration::from_secs(1);
/// Records after which listeners' positions are brought up to date, if more keep coming.
const AT_ONCE: usize = 500;

/// Reads until `shutdown`, on a thread of its own. `readiness` is true once it has come to what was there at its start.
pub fn run(
    resources: &'static [Resource],
    log: &Log,
    live: &Live,
    readiness: &Readiness,
    shutdown: &CancellationToken,
) {
    let mut seen = BTreeMap::new();
    while !shutdown.is_cancelled() {
        let ended = topic_check::check_blocking(log).and_then(|()| {
            let mut tail = Tail::start(resources, log, live, &mut seen)?;
            Ok(tail.run(readiness, shutdown)?)
        });
        if let Err(error) = ended {
            readiness.set(false, format!("can't read the derived topics: {error}"));
            // A shutdown need not wait: this thread holds nothing.
            std::thread::sleep(RETRY);
        }
    }
}

struct Tail<'a> {
    resources: &'static [Resource],
    live: &'a Live,
    log: &'a Log,
    consumer: BaseConsumer<Quiet>,
    /// Where each partition is, by topic on the cluster. It outlives a failure: who listens misses nothing.
    seen: &'a mut BTreeMap<(String, i32), Seen>,
    /// Where each ended at the start, until it has been reached.
    behind: BTreeMap<(String, i32), i64>,
}

impl<'a> Tail<'a> {
    fn start(
        resources: &'static [Resource],
        log: &'a Log,
        live: &'a Live,
        seen: &'a mut BTreeMap<(String, i32), Seen>,
    ) -> KafkaResult<Self> {
        let consumer: BaseConsumer<Quiet> =
            log.consumer("tail").set("auto.offset.reset", "earliest").create_with_context(Quiet)?;
        let mut behind = BTreeMap::new();
        let mut list = TopicPartitionList::new();
        for topic in topics::all() {
            let before = match topic.name.as_str() {
                PROGRESS => PROGRESS_BEFORE,
                _ if topic.resource.is_some() => BEFORE,
                _ => continue,
            };
            let name = log.name(&topic.name);
            for partition in 0..topic.partitions {
                let (low, end) = consumer.fetch_watermarks(&name, partition, TIMEOUT)?;
                let start = low.max(end - before);
                let seen = seen.entry((name.clone(), partition));
                let seen = seen.or_insert(Seen { start, next: start, record_end: start });
                list.add_partition_offset(&name, partition, Offset::Offset(seen.next))?;
                behind.insert((name.clone(), partition), end);
            }
        }
        consumer.assign(&list)?;
        Ok(Self { resources, live, log, consumer, seen, behind })
    }

    fn run(&mut self, readiness: &Readiness, shutdown: &CancellationToken) -> KafkaResult<()> {
        while !shutdown.is_cancelled() {
            let mut wait = POLL;
            for _ in 0..AT_ONCE {
                match self.consumer.poll(wait) {
                    Some(Ok(message)) => {
                        let place = (message.topic().to_owned(), message.partition());
                        let end = message.offset() + 1;
                        if let Some(seen) = self.seen.get_mut(&place) {
                            // A record may come twice where the client has begun anew; what follows it has been told already.
                            if end <= seen.next {
                                continue;
                            }
                            (seen.next, seen.record_end) = (end, end);
                        }
                        self.take(&message);
                    }
                    Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => return Err(error),
                    // The client reconnects by itself.
                    Some(Err(error)) => tracing::warn!(%error, "reading the derived topics"),
                    None => break,
                }
                wait = Duration::ZERO;
            }
            self.come_so_far()?;
            if self.behind.is_empty() {
                readiness.set(true, "follows the derived topics");
            }
        }
        Ok(())
    }

    fn take(&self, message: &BorrowedMessage<'_>) {
        let topic = self.log.plain_name(message.topic());
        let place @ (partition, offset) = (message.partition(), message.offset());
        let value = message.payload();
        let taken = match self.resources.iter().find(|resource| resource.topic() == topic) {
            Some(resource) => self.row(resource, value, place),
            None => codec::decode::<Progress>(PROGRESS, value)
                .map(|progress| self.live.change(|positions| positions.add(progress)))
                .map_err(RecordError::from),
        };
        if let Err(error) = taken {
            // The sink makes a dead letter of it.
            tracing::warn!(topic, partition, offset, %error, "a derived record can't be read");
        }
    }

    fn row(&self, resource: &Resource, value: Option<&[u8]>, place: Place) -> Result<(), RecordError> {
        let record = resource.record(value)?;
        let (tenant, row) = (Tenant::new(&record.tenant), Arc::new(record.row));
        self.live.learn(
            resource.topic(),
            Arrival {
                id: row.id,
                tenant: tenant.clone(),
                version: row.version,
                row: (!record.retracted).then(|| row.clone()),
                bytes: row.json.len(),
                place: Some(place),
            },
        );
        if resource.declaration.stream {
            let kind = Kind::of(record.retracted, record.merged_into);
            self.live.tell(resource.topic(), Event::new(tenant, place, kind, row));
        }
        Ok(())
    }

    /// Says how far it has come, past the marks of transactions, too.
    fn come_so_far(&mut self) -> KafkaResult<()> {
        for element in self.consumer.position()?.elements() {
            let place = (element.topic().to_owned(), element.partition());
            if let (Offset::Offset(offset), Some(seen)) = (element.offset(), self.seen.get_mut(&place)) {
                seen.next = seen.next.max(offset);
            }
        }
        let seen = &*self.seen;
        self.behind.retain(|place, end| seen.get(place).is_some_and(|seen| seen.next < *end));
        self.live.change(|positions| {
            for ((topic, partition), seen) in seen {
                positions.see(self.log.plain_name(topic), *partition, *seen);
            }
        });
        Ok(())
    }
}
