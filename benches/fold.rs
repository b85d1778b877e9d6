//! What a record costs without Kafka: reading its Avro, folding it, keeping and restoring its state.
//! `cargo bench --bench fold`.

#[allow(dead_code, reason = "the other benchmarks use the rest")]
mod bids;

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use bids::Bid;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tidewatch::codec;
use tidewatch::engine::{FamilySettings, Payload, Record, Task, TestDriver};
use tidewatch::families::civic::demo::boston;
use tidewatch::families::civic::event::CivicEvent;
use tidewatch::families::civic::sla::Sla;

const DAY: i64 = 86_400_000;

/// The month of Boston, as it lies in the log.
fn events() -> Vec<CivicEvent> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/2011-07_requests.csv");
    let requests = boston::requests(&file).expect("the month is part of the sources");
    boston::steps(&requests).iter().map(|step| step.event("boston")).collect()
}

fn driver() -> TestDriver<Sla> {
    TestDriver::new(Sla::default, FamilySettings::new(0, 30 * DAY))
}

fn civic(criterion: &mut Criterion) {
    let events = events();
    let schema = codec::newest("civic").expect("the schema is pinned");
    let values: Vec<Vec<u8>> =
        events.iter().map(|event| schema.encode(event).expect("it follows the schema")).collect();
    let mut group = criterion.benchmark_group("civic");
    group.throughput(Throughput::Elements(events.len() as u64));
    group.bench_function("decode", |bencher| {
        bencher.iter(|| {
            for value in &values {
                black_box(codec::decode::<CivicEvent>("civic", Some(value)).expect("it was encoded"));
            }
        });
    });
    group.bench_function("fold", |bencher| {
        let fold = |events: Vec<(String, CivicEvent)>| {
            let mut driver = driver();
            for (index, (key, event)) in events.into_iter().enumerate() {
                driver.append(&key, 1_800_000_000_000 + index as i64 / 4, event);
            }
            driver.take()
        };
        let events: Vec<_> = events.iter().map(|event| (event.record_key(), event.clone())).collect();
        bencher.iter_batched(|| events.clone(), fold, BatchSize::LargeInput);
    });
    group.finish();
}

const BIDS: u64 = 1_000_000;
/// Records between two commits: what a worker folds in 100 ms.
const COMMIT: usize = 100_000;

fn bids(criterion: &mut Criterion) {
    let bids: Vec<(String, Bid)> = (0..BIDS).map(Bid::of).map(|bid| (bid.key(), bid)).collect();
    let mut group = criterion.benchmark_group("bids");
    group.sample_size(10).throughput(Throughput::Elements(BIDS));
    let task = || Task::new(bids::operator(), Arc::new(FamilySettings::default()), "bids", 0, 0);
    let fold = |mut task: Task<_>, is_committing: bool| {
        let (mut rows, mut block, mut written) = (Vec::new(), Vec::new(), 0);
        for (offset, (key, bid)) in bids.iter().enumerate() {
            let record = Record {
                offset: offset as i64,
                append_time: bid.at,
                first_append: None,
                raw_key: Some(key.as_bytes()),
                raw_value: None,
                payload: Payload::Event(*bid),
            };
            task.process(&record, usize::MAX, &mut rows);
            if offset % COMMIT == COMMIT - 1 {
                if is_committing {
                    block.clear();
                    task.delta(&mut block);
                    written += block.len();
                } else {
                    task.skip_delta();
                }
                rows.clear();
            }
        }
        (task, written)
    };
    group.bench_function("fold", |bencher| {
        bencher.iter_batched(task, |task| fold(task, false), BatchSize::PerIteration);
    });
    group.bench_function("fold and write the changelog down", |bencher| {
        bencher.iter_batched(task, |task| fold(task, true), BatchSize::PerIteration);
    });
    group.finish();
}

const KEYS: u64 = 1_000_000;

/// Reading the state of a million keys back: the part of a restore that is not Kafka's.
fn restore(criterion: &mut Criterion) {
    let new = || Task::new(bids::operator(), Arc::new(FamilySettings::default()), "bids", 0, 0);
    let mut task = new();
    let mut rows = Vec::new();
    let before = resident();
    for auction in 0..KEYS {
        let bid = Bid { auction, ..Bid::of(0) };
        let key = bid.key();
        let record = Record {
            offset: auction as i64,
            append_time: bid.at,
            first_append: None,
            raw_key: Some(key.as_bytes()),
            raw_value: None,
            payload: Payload::Event(bid),
        };
        task.process(&record, usize::MAX, &mut rows);
        if auction % 100_000 == 0 {
            task.skip_delta();
        }
    }
    task.skip_delta();
    println!("bytes of state a key: {}", (resident() - before) / KEYS);
    let mut blocks = Vec::new();
    let mut begin = Vec::new();
    let mut checkpoint = task.begin_checkpoint(&mut begin);
    blocks.push(begin);
    loop {
        let mut block = Vec::new();
        let is_complete = task.slice(&mut checkpoint, 4 << 20, &mut block);
        blocks.push(block);
        if is_complete {
            break;
        }
    }
    let mut group = criterion.benchmark_group("restore");
    group.sample_size(10).throughput(Throughput::Elements(KEYS));
    group.bench_function("a million keys", |bencher| {
        bencher.iter(|| {
            let mut restore = new().restore();
            for block in &blocks {
                restore.apply(block).expect("it was written down");
            }
            restore
                .finish(|version| Ok(Arc::new(FamilySettings { version, ..FamilySettings::default() })))
                .expect("it is whole")
                .keys()
        });
    });
    group.finish();
}

/// Bytes of memory that this process holds (Linux, pages of 4 KiB).
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}

criterion_group!(benches, civic, bids, restore);
criterion_main!(benches);
