//! The engine on a real Kafka, exactly once, beside a loop that does the same job by hand: records per CPU-second of
//! the working process. `cargo bench --bench end_to_end`; `-- --records 5000000` for another length.
//!
//! The job is that of `bids.rs`. Both consume the same log, emit the same windows, write a changelog, and commit outputs,
//! changelog and offsets in one transaction; each run is a process of its own, so that its CPU time is its own.

#[allow(dead_code, reason = "the other benchmarks use the rest")]
mod bids;
mod by_hand;
mod committed;
mod process;

use std::process::Command;
use std::time::{Duration, Instant};

use bids::Bid;
use committed::wait_until_committed;
use process::cpu_seconds;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tidewatch::config::Config;
use tidewatch::engine::FamilySettings;
use tidewatch::http::Health;
use tidewatch::log::{Log, topics};
use tidewatch::runtime;
use tidewatch::runtime::Job;
use tidewatch_local::parts::PartName;
use tidewatch_local::{Stack, StackOptions};
use tokio_util::sync::CancellationToken;

const PARTITIONS: i32 = 2;
const PATIENCE: Duration = Duration::from_secs(30);

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["work", "restore", kafka, prefix, ..] => restore(&settings(kafka, prefix, "100ms")?),
        ["work", who, kafka, prefix, interval] => work(who, &settings(kafka, prefix, interval)?),
        ["--records", records] => compare(records.parse()?),
        [] => compare(3_000_000),
        _ => Err(format!("unknown arguments: {arguments:?}").into()),
    }
}

fn settings(kafka: &str, prefix: &str, interval: &str) -> Result<Config, Failure> {
    let set = |name: &str, value: &str| format!("{name}={value}");
    Ok(Config::load(
        None,
        &[
            set("kafka.brokers", kafka),
            set("kafka.prefix", prefix),
            set("process.commit_interval", interval),
            set("process.commit_outputs", "1000000"),
            set("process.commit_bytes", "1000000000"),
        ],
    )?)
}

/// Starts a worker on a log that is folded, and prints the CPU and wall seconds until its state is at hand.
fn restore(config: &Config) -> Result<(), Failure> {
    let (log, shutdown, health) = (Log::new(&config.kafka), CancellationToken::new(), Health::default());
    let (readiness, stop, process) = (health.part("process"), shutdown.clone(), config.process.clone());
    let began = Instant::now();
    let worker = std::thread::spawn(move || runtime::run(&job(), &log, &process, 0, &readiness, &stop));
    while !health.is_ready() {
        std::thread::sleep(Duration::from_millis(10));
    }
    println!("{} {}", cpu_seconds()?, began.elapsed().as_secs_f64());
    shutdown.cancel();
    worker.join().map_err(|_| "the worker panicked".into())
}

fn job() -> Job<tidewatch::engine::Windowed<bids::BidTotals>> {
    Job {
        topic: "bids",
        settings: |_, version| Ok(FamilySettings { version, ..FamilySettings::default() }),
        operator: bids::operator,
        decode: Bid::decode,
    }
}

/// Runs this program as a worker: its CPU and wall seconds.
fn measure(who: &str, kafka: &str, prefix: &str, interval: &str) -> Result<(f64, f64), Failure> {
    let arguments = ["work", who, kafka, prefix, interval];
    let output = Command::new(std::env::current_exe()?).args(arguments).output()?;
    let text = String::from_utf8(output.stdout)?;
    let figures: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match figures[..] {
        [cpu, wall] => Ok((cpu, wall)),
        _ => Err(format!("{who} failed: {text}{}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}

const KEYS: u64 = 1_000_000;

/// Fills a log and lets each worker work through it, each commit interval in turn; then one restores a million keys.
fn compare(records: u64) -> Result<(), Failure> {
    let options = StackOptions { parts: vec![PartName::Kafka], ..StackOptions::default() };
    let stack = Stack::start(env!("CARGO_BIN_EXE_tidewatch").as_ref(), &options)?;
    let kafka = stack.kafka()?;
    let mut rates = Vec::new();
    for interval in ["100ms", "1s"] {
        // Twice: the first fills the caches of the broker.
        for round in 0..2 {
            for who in ["by-hand", "engine"] {
                let prefix = format!("{who}-{interval}-{round}.");
                fill(&Log::new(&settings(kafka, &prefix, interval)?.kafka), (0..records).map(Bid::of))?;
                let (cpu, wall) = measure(who, kafka, &prefix, interval)?;
                let (by_cpu, by_wall) = (records as f64 / cpu, records as f64 / wall);
                println!("{interval:>5} {who:>8}: {by_cpu:>9.0} records/CPU-s, {by_wall:>9.0} records/s");
                rates.push((interval, who, round, by_cpu, windows(kafka, &prefix, records)?));
            }
        }
    }
    for interval in ["100ms", "1s"] {
        let of = |wanted: &str| {
            rates.iter().find(|(i, who, round, ..)| (*i, *who, *round) == (interval, wanted, 1))
        };
        if let (Some(engine), Some(by_hand)) = (of("engine"), of("by-hand")) {
            println!("commit {interval}: engine / by hand = {:.2}", engine.3 / by_hand.3);
            assert_eq!(engine.4, by_hand.4, "both emit the same windows");
        }
    }
    let log = Log::new(&settings(kafka, "restore.", "1s")?.kafka);
    fill(&log, (0..KEYS).map(|auction| Bid { auction, ..Bid::of(0) }))?;
    measure("engine", kafka, "restore.", "1s")?;
    let (cpu, wall) = measure("restore", kafka, "restore.", "1s")?;
    println!("a million keys restored from the changelog in {wall:.1} s, {cpu:.1} CPU-s");
    Ok(())
}

/// Creates the topics and appends the bids.
fn fill(log: &Log, bids: impl Iterator<Item = Bid>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(topics::create(log))?;
    let admin: AdminClient<DefaultClientContext> = log.client().create()?;
    let names = ["bids", "bid-totals", "changelog-bids"].map(|topic| log.name(topic));
    let own: Vec<NewTopic<'_>> = names
        .iter()
        .map(|name| {
            let topic = NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1));
            topic.set("message.timestamp.type", "LogAppendTime").set("retention.ms", "-1")
        })
        .collect();
    runtime.block_on(admin.create_topics(&own, &AdminOptions::new()))?;
    let producer: BaseProducer = log.producer().create()?;
    for bid in bids {
        let (key, value) = (bid.key(), bid.encode());
        let mut record = BaseRecord::<[u8], [u8]>::to(&names[0]).key(key.as_bytes()).payload(&value);
        while let Err((error, returned)) = producer.send(record) {
            let KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) = error else {
                return Err(error.into());
            };
            record = returned;
            producer.poll(Duration::from_millis(10));
        }
    }
    Ok(producer.flush(PATIENCE)?)
}

/// A worker of its own process: works until all of the log is committed, and prints its CPU and wall seconds.
fn work(who: &str, config: &Config) -> Result<(), Failure> {
    let (log, shutdown, began) = (Log::new(&config.kafka), CancellationToken::new(), Instant::now());
    let group = runtime::group("bids");
    let watch = {
        let (log, shutdown, group) = (log.clone(), shutdown.clone(), group.clone());
        std::thread::spawn(move || {
            let committed = wait_until_committed(&log, &group, "bids", PARTITIONS);
            shutdown.cancel();
            committed.map_err(|error| error.to_string())
        })
    };
    if who == "engine" {
        let readiness = Health::default().part("process");
        runtime::run(&job(), &log, &config.process, 0, &readiness, &shutdown);
    } else {
        by_hand::run(&log, &group, config.process.commit_interval, &shutdown)?;
    }
    watch.join().map_err(|_| "the watch panicked")??;
    println!("{} {}", cpu_seconds()?, began.elapsed().as_secs_f64());
    Ok(())
}

/// How many windows were emitted, and the sum of their counts; without the last, which silence may have closed or not.
fn windows(kafka: &str, prefix: &str, records: u64) -> Result<(usize, u64), Failure> {
    let last = Bid::of(records - 1).at.div_euclid(bids::WINDOW) * bids::WINDOW;
    let log = Log::new(&settings(kafka, prefix, "1s")?.kafka);
    let consumer: BaseConsumer = log.consumer("reader").set("enable.partition.eof", "true").create()?;
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        list.add_partition_offset(&log.name("bid-totals"), partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    let (mut windows, mut bids, mut ended) = (0, 0, 0);
    while ended < PARTITIONS {
        match consumer.poll(PATIENCE) {
            Some(Ok(message)) => {
                let value = message.payload().ok_or("a window without a value")?;
                if i64::from_le_bytes(value[..8].try_into()?) == last {
                    continue;
                }
                windows += 1;
                bids += u64::from_le_bytes(value[8..16].try_into()?);
            }
            Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
            Some(Err(error)) => return Err(error.into()),
            None => {}
        }
    }
    Ok((windows, bids))
}
