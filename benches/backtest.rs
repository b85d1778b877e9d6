//! A backtest on a real Kafka: records per CPU-second of its process, reading, decoding and both folds included.
//! `cargo bench --bench backtest`; `-- 50` for so many times the city's month (default 40: 760,000 records).

mod process;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::json;
use tidewatch::codec;
use tidewatch::config::Config;
use tidewatch::engine::id;
use tidewatch::families;
use tidewatch::families::civic::demo::boston;
use tidewatch::families::civic::event::{Body, CivicEvent, issue_id};
use tidewatch::log::{Log, topics};
use tidewatch::settings;
use tidewatch::tools::backtest;
use tidewatch::tools::backtest::{Progress, Question};
use tidewatch_local::parts::PartName;
use tidewatch_local::{Stack, StackOptions};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const TENANT: &str = "boston";

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["work", kafka, due] => work(&log(kafka)?, due),
        [months] => measure(months.parse()?),
        [] => measure(40),
        _ => Err(format!("unknown arguments: {arguments:?}").into()),
    }
}

fn log(kafka: &str) -> Result<Log, Failure> {
    Ok(Log::new(&Config::load(None, &[format!("kafka.brokers={kafka}")])?.kafka))
}

fn measure(months: u32) -> Result<(), Failure> {
    let options = StackOptions { parts: vec![PartName::Kafka], ..StackOptions::default() };
    let stack = Stack::start(env!("CARGO_BIN_EXE_tidewatch").as_ref(), &options)?;
    let kafka = stack.kafka()?;
    fill(&log(kafka)?, months)?;
    for due in ["72h", "24h"] {
        // Twice: the first fills the caches of the broker.
        for _ in 0..2 {
            let output = Command::new(std::env::current_exe()?).args(["work", kafka, due]).output()?;
            let text = String::from_utf8(output.stdout)?;
            if !output.status.success() {
                return Err(format!("{text}{}", String::from_utf8_lossy(&output.stderr)).into());
            }
            print!("{text}");
        }
    }
    Ok(())
}

/// Appends the city's month, again and again, each time with other ids.
fn fill(log: &Log, months: u32) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(topics::create(log))?;
    settings::create(log, &families::SETTINGS)?;
    let requests =
        boston::requests(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/2011-07_requests.csv"))?;
    let events: Vec<CivicEvent> = boston::steps(&requests).iter().map(|step| step.event(TENANT)).collect();
    let partitions = topics::named("civic").ok_or("there is no topic civic")?.partitions as u32;
    let schema = codec::newest("civic").ok_or("there is no schema of civic")?;
    let producer: BaseProducer = log.producer().create()?;
    let topic = log.name("civic");
    for month in 0..months {
        let opened = |id: &str| format!("{id}/{month}");
        for mut event in events.iter().cloned() {
            match &mut event.body {
                Body::ReportSubmitted(report) => {
                    event.event_id = opened(&event.event_id);
                    report.area = format!("{} {month}", report.area);
                }
                Body::IssueStatusChanged(change) => {
                    let report = event.event_id.split('/').next().unwrap_or_default();
                    let area =
                        requests.iter().find(|request| request.id == report).map(|request| &request.area);
                    let area = area.filter(|area| !area.is_empty()).map_or("unknown", String::as_str);
                    change.issue_id = issue_id(TENANT, &format!("{area} {month}"), &opened(report));
                    event.event_id = format!("{}/{month}", event.event_id);
                }
            }
            let (key, value) = (event.record_key(), schema.encode(&event)?);
            let partition = id::partition(event.route(), partitions);
            let record = BaseRecord::to(&topic).partition(partition).key(&key).payload(&value);
            producer.send(record).map_err(|(error, _)| error)?;
        }
        producer.flush(Duration::from_secs(60))?;
    }
    Ok(())
}

/// One backtest, in this process, by one thread.
fn work(log: &Log, due: &str) -> Result<(), Failure> {
    let began = Instant::now();
    let document = json!({"allowance": "0s", "default_due": due});
    let question = Question {
        family: families::settings("civic").ok_or("there is no family civic")?,
        tenant: None,
        document: document.as_object().cloned(),
        from: None,
        to: None,
        threads: 1,
    };
    let findings = backtest::run(log, &question, &Progress::default())?;
    let (cpu, wall) =
        (process::cpu_seconds().map_err(|error| error.to_string())?, began.elapsed().as_secs_f64());
    let (records, differences) = (findings.replayed.records, findings.differences.len());
    let rate = records as f64 / cpu;
    println!(
        "default due time {due:>4}: {records} records, {differences:>7} differences, {wall:.1} s, {rate:>7.0} records/CPU-s"
    );
    Ok(())
}
