//! The sink beside ClickHouse's own `INSERT … SELECT` of the same rows, and beside bodies that were made before and need
//! only be sent: rows a second, and rows a CPU-second of client and server together. `cargo bench --bench sink`; `-- --rows
//! 2000000` for another length.
//!
//! Each writes the same incidents into an empty table of its own, in batches of 200,000, on one ClickHouse and in one run:
//! the ratios are what counts. The sink reads them from Kafka, and is a process of its own.

mod process;

use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use process::cpu_seconds;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{OwnedMessage, Timestamp};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tidewatch::codec;
use tidewatch::config::Config;
use tidewatch::engine::rows::{Evidence, RowMeta};
use tidewatch::families::incident::{Incident, Severity};
use tidewatch::http::Health;
use tidewatch::log::{Log, lag, topics};
use tidewatch::sink;
use tidewatch::sink::plan::{Plan, TableColumn};
use tidewatch::store;
use tidewatch_local::Stack;
use tidewatch_local::StackOptions;
use tidewatch_local::parts::PartName;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const BATCH: usize = 200_000;
const TOPIC: &str = "incidents";

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["work", kafka, clickhouse] => work(&settings(kafka, clickhouse)?).await,
        ["--rows", rows] => compare(rows.parse()?).await,
        [] => compare(1_000_000).await,
        _ => Err(format!("unknown arguments: {arguments:?}").into()),
    }
}

fn settings(kafka: &str, clickhouse: &str) -> Result<Config, Failure> {
    let set = |name: &str, value: &str| format!("{name}={value}");
    let database = set("clickhouse.database", "bench");
    Ok(Config::load(None, &[set("kafka.brokers", kafka), set("clickhouse.url", clickhouse), database])?)
}

/// The sink, until it has written and committed all; prints its CPU seconds.
async fn work(config: &Config) -> Result<(), Failure> {
    let (log, shutdown, health) = (Log::new(&config.kafka), CancellationToken::new(), Health::default());
    let watch = {
        let (log, shutdown) = (log.clone(), shutdown.clone());
        tokio::task::spawn_blocking(move || {
            let read = lag::wait_until_read(&log, sink::GROUP, TOPIC);
            shutdown.cancel();
            read
        })
    };
    sink::run(config, &log, health.part("sink"), shutdown).await?;
    watch.await??;
    println!("{}", cpu_seconds()?);
    Ok(())
}

/// What writing the rows has cost.
struct Cost {
    seconds: f64,
    /// Of the client and of ClickHouse.
    cpu: [f64; 2],
}

async fn compare(rows: u64) -> Result<(), Failure> {
    let stack = Stack::start(env!("CARGO_BIN_EXE_tidewatch").as_ref(), &StackOptions::default())?;
    let (kafka, clickhouse) = (stack.kafka()?, stack.clickhouse()?);
    let config = settings(kafka, clickhouse)?;
    let log = Log::new(&config.kafka);
    topics::create(&log).await?;
    sink::migrate(&config.clickhouse).await?;
    let server = stack.part_pid(PartName::ClickHouse)?;
    let client = store::client(&config.clickhouse);
    let columns: Vec<TableColumn> = client
        .query("SELECT ?fields FROM system.columns WHERE database = 'bench' AND table = 'incidents' ORDER BY position")
        .fetch_all()
        .await?;
    let schema = codec::newest(TOPIC).ok_or("no schema")?;
    let plan = Plan::new(schema, "by_hand", &columns)?;
    let (mut bodies, mut body) = (Vec::new(), Vec::new());
    let producer: BaseProducer = log.producer().create()?;
    let topic = log.name(TOPIC);
    for number in 0..rows {
        let value = schema.encode(&incident(number))?;
        let key = number.to_be_bytes();
        let mut record = BaseRecord::<[u8], [u8]>::to(&topic).key(&key).payload(&value);
        while let Err((error, returned)) = producer.send(record) {
            if !matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) {
                return Err(error.into());
            }
            record = returned;
            producer.poll(Duration::from_millis(10));
        }
        let message =
            OwnedMessage::new(Some(value), None, topic.clone(), Timestamp::NotAvailable, 0, 0, None);
        plan.write(&message, &mut body)?;
        if (number + 1).is_multiple_of(BATCH as u64) || number + 1 == rows {
            bodies.push(Bytes::from(std::mem::take(&mut body)));
        }
    }
    producer.flush(Duration::from_secs(60))?;
    for table in ["by_hand", "selected"] {
        client.query(&format!("CREATE TABLE {table} AS incidents")).execute().await?;
    }

    let (mut sinks, mut by_hands, mut selects) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..3 {
        for table in ["incidents", "by_hand", "selected"] {
            client.query(&format!("TRUNCATE TABLE {table}")).execute().await?;
        }
        reset(&log, rows)?;
        let (began, before) = (Instant::now(), server_cpu(server)?);
        let output = Command::new(std::env::current_exe()?).args(["work", kafka, clickhouse]).output()?;
        let seconds = began.elapsed().as_secs_f64();
        let text = String::from_utf8(output.stdout)?;
        let own = text.trim().parse().map_err(|_| String::from_utf8_lossy(&output.stderr).into_owned())?;
        sinks.push(Cost { seconds, cpu: [own, server_cpu(server)? - before] });
        assert_eq!(count(&client, "incidents").await?, rows);

        let (began, before, own) = (Instant::now(), server_cpu(server)?, cpu_seconds()?);
        for body in &bodies {
            let mut insert = client.insert_formatted_with(plan.insert());
            insert.send(body.clone()).await?;
            insert.end().await?;
        }
        let seconds = began.elapsed().as_secs_f64();
        by_hands.push(Cost { seconds, cpu: [cpu_seconds()? - own, server_cpu(server)? - before] });
        assert_eq!(count(&client, "by_hand").await?, rows);

        let (began, before) = (Instant::now(), server_cpu(server)?);
        client.query("INSERT INTO selected SELECT * FROM incidents").execute().await?;
        let seconds = began.elapsed().as_secs_f64();
        selects.push(Cost { seconds, cpu: [0.0, server_cpu(server)? - before] });
        assert_eq!(count(&client, "selected").await?, rows);
        for (who, costs) in [("sink", &sinks), ("by hand", &by_hands), ("INSERT … SELECT", &selects)] {
            let Cost { seconds, cpu: [client, server] } = &costs[round];
            let (by_wall, by_cpu) = (rows as f64 / seconds, rows as f64 / (client + server));
            println!(
                "{who:>16}: {by_wall:>9.0} rows/s, {by_cpu:>9.0} rows/CPU-s ({client:.1} s client, {server:.1} s ClickHouse)"
            );
        }
    }
    for (who, costs) in [("by hand", &by_hands), ("INSERT … SELECT", &selects)] {
        let ratio = |cost: fn(&Cost) -> f64| median(costs, cost) / median(&sinks, cost);
        println!(
            "sink / {who}: rows/s {:.2}, rows/CPU-s {:.2}",
            ratio(|cost| cost.seconds),
            ratio(|cost| cost.cpu.iter().sum())
        );
    }
    Ok(())
}

fn median(costs: &[Cost], of: fn(&Cost) -> f64) -> f64 {
    let mut values: Vec<f64> = costs.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Lets the sink begin at the first record again.
fn reset(log: &Log, rows: u64) -> Result<(), Failure> {
    use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
    use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
    let consumer: BaseConsumer = log.consumer(sink::GROUP).create()?;
    let mut list = TopicPartitionList::new();
    let partitions = topics::named(TOPIC).ok_or("no topic")?.partitions;
    for partition in 0..partitions {
        list.add_partition_offset(&log.name(TOPIC), partition, Offset::Offset(0))?;
    }
    assert!(rows > 0);
    // Until its last member is gone, a group takes no offset from outside.
    let deadline = Instant::now() + Duration::from_secs(60);
    while let Err(error) = consumer.commit(&list, CommitMode::Sync) {
        if Instant::now() > deadline {
            return Err(error.into());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

async fn count(client: &clickhouse::Client, table: &str) -> Result<u64, Failure> {
    Ok(client.query(&format!("SELECT count() FROM {table} FINAL WHERE retracted = 0")).fetch_one().await?)
}

/// User and system time of the server, in seconds.
fn server_cpu(pid: u32) -> Result<f64, Failure> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = text.rsplit_once(')').ok_or("no command")?.1.split_whitespace().collect();
    Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / 100.0)
}

/// An incident as the operators emit it: a breach, with three records behind it.
fn incident(number: u64) -> Incident {
    let evidence = Evidence {
        count: 3,
        topic: "civic".into(),
        partition: (number % 4) as i32,
        offsets: (0..3).map(|place| (number * 3 + place) as i64).collect(),
    };
    let id = Uuid::new_v8(
        (u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)).to_be_bytes(),
    );
    let at = 1_700_000_000_000 + number as i64 * 997;
    Incident {
        meta: RowMeta {
            id,
            version: number as i64 + 1,
            retracted: false,
            is_final: false,
            merged_into: None,
            tenant: "boston".into(),
            key: format!("boston/area {}", number % 40).into(),
            operator: "sla".into(),
            operator_version: 1,
            settings_version: 1,
            first_arrival: at,
            evidence,
        },
        family: "civic".into(),
        rule: "sla_breach".into(),
        severity: Severity::High,
        subject: id.to_string(),
        title: "Issue overdue".into(),
        started_at: at + 5_000,
        ended_at: number.is_multiple_of(3).then_some(at + 90_000),
        attributes: [("due_source", "reported"), ("department", "PARK")]
            .map(|(name, value)| (name.into(), value.into()))
            .into(),
    }
}
