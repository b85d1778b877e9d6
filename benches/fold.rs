//! What a record costs, without Kafka: reading its Avro, and folding it. `cargo bench --bench fold`.

use std::hint::black_box;
use std::path::Path;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tidewatch::codec;
use tidewatch::demo::boston;
use tidewatch::event::civic::CivicEvent;
use tidewatch::operators::sla::Sla;
use tidewatch::stream::{FamilySettings, TestDriver};

const DAY: i64 = 86_400_000;

/// The month of Boston, as it lies in the log.
fn events() -> Vec<CivicEvent> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/2011-07_requests.csv");
    let requests = boston::requests(&file).expect("the month is part of the sources");
    boston::steps(&requests).iter().map(|step| step.event("boston")).collect()
}

fn driver() -> TestDriver<Sla> {
    TestDriver::new(Sla::default, FamilySettings { duplicate_horizon: 30 * DAY, ..FamilySettings::default() })
}

fn fold(criterion: &mut Criterion) {
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

criterion_group!(benches, fold);
criterion_main!(benches);
