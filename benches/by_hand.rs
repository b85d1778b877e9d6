//! The job of `bids.rs` without an engine: what somebody would write who needs just this. One thread consumes, folds into
//! a hash map, and commits outputs, changelog and offsets in one transaction. It knows no late data, no silence,
//! no restore, no evidence; it says what consuming and producing cost alone.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tidewatch::log::Log;
use tokio_util::sync::CancellationToken;

use crate::bids::{Bid, TENANT, Totals, WINDOW};

const TIMEOUT: Duration = Duration::from_secs(15);

struct Auction {
    start: i64,
    totals: Totals,
    is_dirty: bool,
}

/// Works until it is stopped.
pub fn run(
    log: &Log,
    group: &str,
    interval: Duration,
    shutdown: &CancellationToken,
) -> Result<(), KafkaError> {
    let consumer: BaseConsumer = log.consumer(group).create()?;
    consumer.subscribe(&[&log.name("bids")])?;
    let producer: BaseProducer =
        log.producer().set("transactional.id", "by-hand").set("transaction.timeout.ms", "15000").create()?;
    producer.init_transactions(TIMEOUT)?;
    let (outputs, changelog, bids) = (log.name("bid-totals"), log.name("changelog-bids"), log.name("bids"));
    let mut auctions: HashMap<(i32, u64), Auction, RandomState> = HashMap::default();
    let mut dirty: Vec<(i32, u64)> = Vec::new();
    let mut offsets: HashMap<i32, i64> = HashMap::new();
    let mut value = Vec::new();
    let mut is_open = false;
    let mut committed = Instant::now();
    while !shutdown.is_cancelled() {
        for _ in 0..1_000 {
            let Some(polled) = consumer.poll(Duration::from_millis(10)) else { break };
            let message = polled?;
            let Ok(bid) = Bid::decode("bids", message.payload()) else { continue };
            let partition = message.partition();
            offsets.insert(partition, message.offset() + 1);
            let start = bid.at.div_euclid(WINDOW) * WINDOW;
            let auction = auctions.entry((partition, bid.auction)).or_insert_with(|| Auction {
                start,
                totals: Totals::default(),
                is_dirty: false,
            });
            if start > auction.start {
                open(&producer, &mut is_open)?;
                value.clear();
                auction.totals.encode(auction.start, &mut value);
                send(&producer, BaseRecord::to(&outputs).key(key(bid.auction).as_bytes()).payload(&value))?;
                (auction.start, auction.totals) = (start, Totals::default());
            }
            auction.totals.add(&bid);
            if !auction.is_dirty {
                auction.is_dirty = true;
                dirty.push((partition, bid.auction));
            }
        }
        if committed.elapsed() < interval || offsets.is_empty() {
            continue;
        }
        open(&producer, &mut is_open)?;
        for place in dirty.drain(..) {
            let Some(auction) = auctions.get_mut(&place) else { continue };
            auction.is_dirty = false;
            value.clear();
            auction.totals.encode(auction.start, &mut value);
            let key = key(place.1);
            let record = BaseRecord::to(&changelog).partition(place.0).key(key.as_bytes());
            send(&producer, record.payload(&value))?;
        }
        while producer.in_flight_count() > 0 {
            producer.poll(Duration::from_millis(1));
        }
        let mut list = TopicPartitionList::new();
        for (partition, offset) in offsets.drain() {
            list.add_partition_offset(&bids, partition, Offset::Offset(offset))?;
        }
        if let Some(group) = consumer.group_metadata() {
            producer.send_offsets_to_transaction(&list, &group, TIMEOUT)?;
        }
        producer.commit_transaction(TIMEOUT)?;
        is_open = false;
        committed = Instant::now();
    }
    Ok(())
}

fn key(auction: u64) -> String {
    format!("{TENANT}/{auction}")
}

fn open(producer: &BaseProducer, is_open: &mut bool) -> Result<(), KafkaError> {
    if !*is_open {
        producer.begin_transaction()?;
        *is_open = true;
    }
    Ok(())
}

fn send(producer: &BaseProducer, mut record: BaseRecord<'_, [u8], [u8]>) -> Result<(), KafkaError> {
    while let Err((error, returned)) = producer.send(record) {
        let KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) = error else { return Err(error) };
        record = returned;
        producer.poll(Duration::from_millis(1));
    }
    Ok(())
}
