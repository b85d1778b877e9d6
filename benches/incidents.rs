//! Browser interactions on a real Kafka, exactly once: events folded a CPU-second of the worker's process, and the time from a click
//! to its incident on the topic at 5,000 events a second. `cargo bench --bench incidents`; `-- --seconds 60` for a longer run.

mod committed;
mod process;
mod sessions;

use std::collections::HashMap;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use committed::wait_until_committed;
use process::cpu_seconds;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tidewatch::codec;
use tidewatch::config::Config;
use tidewatch::engine::id;
use tidewatch::families::interactions::event::{Body, Interaction, Pointer, PointerKind, Target};
use tidewatch::families::interactions::generate::Plan;
use tidewatch::families::{self, incident::Incident};
use tidewatch::http::Health;
use tidewatch::log::{Log, topics};
use tidewatch::{runtime, settings};
use tidewatch_local::parts::PartName;
use tidewatch_local::{Stack, StackOptions};
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const TOPIC: &str = "interactions";
/// Sessions that are folded for the throughput: about 145 events each.
const SESSIONS: u64 = 6_000;
/// Events a second while latency is measured.
const RATE: u32 = 5_000;
/// Sessions that rage, a second.
const PROBES: u64 = 20;
/// Seconds before it is measured.
const WARM_UP: u64 = 5;
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["work", kafka, prefix, end] => work(&config(kafka, prefix)?, *end == "end"),
        ["--seconds", seconds] => measure(seconds.parse()?),
        [] => measure(20),
        _ => Err(format!("unknown arguments: {arguments:?}").into()),
    }
}

fn config(kafka: &str, prefix: &str) -> Result<Config, Failure> {
    let set = |name: &str, value: &str| format!("{name}={value}");
    let commit = set("process.commit_interval", "100ms");
    Ok(Config::load(None, &[set("kafka.brokers", kafka), set("kafka.prefix", prefix), commit])?)
}

fn measure(seconds: u64) -> Result<(), Failure> {
    let options = StackOptions { parts: vec![PartName::Kafka], ..StackOptions::default() };
    let stack = Stack::start(env!("CARGO_BIN_EXE_tidewatch").as_ref(), &options)?;
    let kafka = stack.kafka()?;
    let events = sessions::events(Plan { seed: 4_712, sessions: SESSIONS, rate: RATE, ..Plan::default() });
    // Twice: the first fills the caches of the broker.
    for round in 0..2 {
        let prefix = format!("throughput-{round}.");
        throughput(kafka, &prefix, events.iter().map(|(_, event)| event))?;
    }
    latency(kafka, seconds)
}

/// A log with its topics, and a producer of events.
struct Producing {
    log: Log,
    topic: String,
    partitions: u32,
    producer: BaseProducer,
}

impl Producing {
    fn new(config: &Config) -> Result<Self, Failure> {
        let log = Log::new(&config.kafka);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(topics::create(&log))?;
        settings::create(&log, &families::SETTINGS)?;
        let partitions = topics::named(TOPIC).ok_or("there is no such topic")?.partitions as u32;
        let (topic, producer) = (log.name(TOPIC), log.producer().create()?);
        Ok(Self { log, topic, partitions, producer })
    }

    fn send(&self, event: &Interaction) -> Result<(), Failure> {
        let schema = codec::newest(TOPIC).ok_or("there is no schema")?;
        let (key, value) = (event.record_key(), schema.encode(event)?);
        let partition = id::partition(id::murmur2(key.as_bytes()), self.partitions);
        let record = BaseRecord::to(&self.topic).partition(partition).key(&key).payload(&value);
        Ok(self.producer.send(record).map_err(|(error, _)| error)?)
    }
}

fn throughput<'a>(
    kafka: &str,
    prefix: &str,
    events: impl Iterator<Item = &'a Interaction>,
) -> Result<(), Failure> {
    let producing = Producing::new(&config(kafka, prefix)?)?;
    let mut count = 0;
    for event in events {
        producing.send(event)?;
        count += 1;
        if count % 10_000 == 0 {
            producing.producer.flush(PATIENCE)?;
        }
    }
    producing.producer.flush(PATIENCE)?;
    let output = Command::new(std::env::current_exe()?).args(["work", kafka, prefix, "end"]).output()?;
    let text = String::from_utf8(output.stdout)?;
    let figures: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [cpu, wall] = figures[..] else {
        return Err(format!("{text}{}", String::from_utf8_lossy(&output.stderr)).into());
    };
    let (by_cpu, by_wall) = (f64::from(count) / cpu, f64::from(count) / wall);
    println!("{count} events: {by_cpu:.0} a CPU-second of the worker, {by_wall:.0} a second");
    Ok(())
}

/// A worker of its own process; up to the end of the log, if it is to end, and then it prints its CPU and wall seconds.
fn work(config: &Config, is_to_end: bool) -> Result<(), Failure> {
    let (log, shutdown, began) = (Log::new(&config.kafka), CancellationToken::new(), Instant::now());
    let watch = is_to_end.then(|| {
        let (log, shutdown) = (log.clone(), shutdown.clone());
        std::thread::spawn(move || {
            let partitions = topics::named(TOPIC).map_or(0, |topic| topic.partitions);
            let read = wait_until_committed(&log, &runtime::group(TOPIC), TOPIC, partitions);
            shutdown.cancel();
            read.map_err(|error| error.to_string())
        })
    });
    let readiness = Health::default().part("process");
    runtime::run(&families::interactions::frustration_job(), &log, &config.process, 0, &readiness, &shutdown);
    if let Some(watch) = watch {
        watch.join().map_err(|_| "the watch panicked")??;
    }
    let cpu = cpu_seconds().map_err(|error| error.to_string())?;
    println!("{cpu} {}", began.elapsed().as_secs_f64());
    Ok(())
}

/// A process that is killed when dropped.
struct Worker(Child);

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended already, which the missing incidents tell.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn now() -> Result<i64, Failure> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64)
}

fn latency(kafka: &str, seconds: u64) -> Result<(), Failure> {
    let prefix = "latency.";
    let config = config(kafka, prefix)?;
    let producing = Producing::new(&config)?;
    let _worker = Worker(
        Command::new(std::env::current_exe()?)
            .args(["work", kafka, prefix, "on"])
            .stdout(Stdio::null())
            .spawn()?,
    );
    let sessions = u64::from(RATE) * (seconds + WARM_UP) / 100;
    let mut events =
        sessions::events(Plan { seed: 4_713, sessions, rate: RATE, ..Plan::default() }).into_iter();
    let consumer: BaseConsumer = producing.log.consumer("reader").create()?;
    let incidents = topics::named("incidents").ok_or("there is no topic of incidents")?.partitions;
    let mut list = TopicPartitionList::new();
    for partition in 0..incidents {
        list.add_partition_offset(&producing.log.name("incidents"), partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    let (sender, sent) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || read(&consumer, &sent));
    // Events of all these sessions, each at the moment at which it is sent.
    let began = Instant::now();
    let (warm_up, events_of_a_probe) = (WARM_UP * u64::from(RATE), u64::from(RATE) / PROBES);
    for number in 0..u64::from(RATE) * (seconds + WARM_UP) {
        let due = Duration::from_secs(number) / RATE;
        while began.elapsed() < due {
            producing.producer.poll(Duration::from_millis(1));
        }
        if number >= warm_up && number % events_of_a_probe == 0 {
            let session = format!("probe-{number}");
            for count in 0..3 {
                producing.send(&click(&session, count, now()?))?;
            }
            sender.send((session, Instant::now()))?;
        }
        let (_, event) = events.next().ok_or("there are too few events")?;
        producing.send(&Interaction { occurred_at: now()?, ..event })?;
    }
    drop(sender);
    producing.producer.flush(PATIENCE)?;
    let mut latencies = reader.join().map_err(|_| "the reader panicked")??;
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() as f64 * share) as usize).min(latencies.len() - 1)];
    println!(
        "click → incident on the topic, commit 100 ms, {RATE} events a second: p50 {:?}, p99 {:?}, most {:?}, of {}",
        at(0.5),
        at(0.99),
        at(1.0),
        latencies.len()
    );
    Ok(())
}

/// One of three clicks in one place: the third is a rage click, and that an incident.
fn click(session: &str, number: i64, time: i64) -> Interaction {
    let pointer = Pointer {
        kind: PointerKind::Click,
        x: 100,
        y: 100,
        viewport_width: None,
        viewport_height: None,
        target: Target { tag: "div".into(), ..Target::default() },
        selected_text: false,
    };
    Interaction {
        tenant: "shop".into(),
        session_id: session.into(),
        tab_id: "tab".into(),
        window_id: None,
        page_view_id: None,
        event_id: None,
        seq: Some(number),
        occurred_at: time + number,
        device_time: None,
        url: None,
        route: "/checkout".into(),
        user: None,
        device: None,
        browser: None,
        os: None,
        sdk: None,
        body: Body::Pointer(pointer),
    }
}

/// How long each probe's incident took from its last click.
fn read(
    consumer: &BaseConsumer,
    sent: &std::sync::mpsc::Receiver<(String, Instant)>,
) -> Result<Vec<Duration>, Failure> {
    let (mut seen, mut waiting, mut latencies) = (HashMap::new(), Vec::new(), Vec::new());
    let (mut is_over, mut last) = (false, Instant::now());
    while !is_over || !waiting.is_empty() {
        if let Some(message) = consumer.poll(Duration::from_millis(1)) {
            let incident: Incident = codec::decode("incidents", message?.payload())?;
            seen.entry(incident.subject).or_insert_with(Instant::now);
        }
        loop {
            match sent.try_recv() {
                Ok(probe) => waiting.push(probe),
                Err(std::sync::mpsc::TryRecvError::Empty) => break,
                Err(std::sync::mpsc::TryRecvError::Disconnected) => {
                    is_over = true;
                    break;
                }
            }
        }
        waiting.retain(|(session, since)| match seen.get(session.as_str()) {
            Some(at) => {
                latencies.push(at.saturating_duration_since(*since));
                last = Instant::now();
                false
            }
            None => true,
        });
        if last.elapsed() > PATIENCE && is_over {
            return Err(format!("{} incidents never came", waiting.len()).into());
        }
    }
    Ok(latencies)
}
