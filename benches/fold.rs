//! What a record costs, without Kafka: reading its Avro, and folding it. `cargo bench --bench fold`.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tidewatch::codec;
use tidewatch::demo::boston;
use tidewatch::event::civic::CivicEvent;
use tidewatch::operators::sla::Sla;
use tidewatch::stream::{FamilySettings, Payload, Record, Task};

const DAY: i64 = 86_400_000;

/// The month of Boston, as it lies in the log.
fn events() -> Vec<CivicEvent> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/2011-07_requests.csv");
    let requests = boston::requests(&file).expect("the month is part of the sources");
    boston::steps(&requests).iter().map(|step| step.event("boston")).collect()
}

fn task() -> Task<Sla> {
    let settings =
        FamilySettings { allowance: 0, tenant_allowance: BTreeMap::new(), duplicate_horizon: 30 * DAY };
    Task::new(Sla { default_due: 3 * DAY }, settings, "civic", 0, 0)
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
        let fold = |events: Vec<CivicEvent>| {
            let (mut task, mut rows) = (task(), Vec::new());
            for (offset, event) in events.into_iter().enumerate() {
                let append_time = 1_800_000_000_000 + offset as i64 / 4;
                let payload = Payload::Event(event);
                let record =
                    Record { offset: offset as i64, append_time, raw_key: None, raw_value: None, payload };
                task.process(record, &mut rows);
            }
            rows
        };
        bencher.iter_batched(|| events.clone(), fold, BatchSize::LargeInput);
    });
    group.finish();
}

criterion_group!(benches, fold);
criterion_main!(benches);
