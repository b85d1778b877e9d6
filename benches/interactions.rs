//! The family interactions without Kafka: what a record costs, and what an open session takes.
//! `cargo bench --bench interactions`.

mod sessions;

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use sessions::Appended;
use tidewatch::codec;
use tidewatch::engine::{FamilySettings, Payload, Record, Task, cells};
use tidewatch::families::interactions::event::Interaction;
use tidewatch::families::interactions::frustration::Frustration;
use tidewatch::families::interactions::generate::Plan;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// From here on the parts of a session are lists: `Part::Tail`, serialised.
const LISTS: u8 = 2;
const DAY: i64 = 86_400_000;
const SESSIONS: u64 = 2_000;
/// Records between two commits.
const COMMIT: usize = 50_000;

fn task() -> Task<Frustration> {
    let settings = FamilySettings { duplicate_horizon: DAY, ..FamilySettings::new(10_000, DAY) };
    Task::new(Frustration, Arc::new(settings), "interactions", 0, 0)
}

/// Folds all events; with the state, how many rows came of it and how many bytes went to the changelog.
fn fold(
    mut task: Task<Frustration>,
    events: Vec<(String, Appended)>,
    is_committing: bool,
) -> (Task<Frustration>, usize, usize) {
    let (mut rows, mut block, mut emitted, mut written) = (Vec::new(), Vec::new(), 0, 0);
    for (offset, (key, (append_time, event))) in events.into_iter().enumerate() {
        let record = Record {
            offset: offset as i64,
            append_time,
            first_append: None,
            raw_key: Some(key.as_bytes()),
            raw_value: None,
            payload: Payload::Event(event),
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
            emitted += rows.len();
            rows.clear();
        }
    }
    (task, emitted + rows.len(), written)
}

fn records(criterion: &mut Criterion) {
    let events = sessions::events(Plan { seed: 4_711, sessions: SESSIONS, rate: 5_000, ..Plan::default() });
    let schema = codec::newest("interactions").expect("the schema is pinned");
    let values: Vec<Vec<u8>> =
        events.iter().map(|(_, event)| schema.encode(event).expect("it follows the schema")).collect();
    let mut group = criterion.benchmark_group("interactions");
    group.sample_size(10).throughput(Throughput::Elements(events.len() as u64));
    group.bench_function("decode", |bencher| {
        bencher.iter(|| {
            for value in &values {
                black_box(codec::decode::<Interaction>("interactions", Some(value)).expect("it was encoded"));
            }
        });
    });
    let keyed: Vec<_> = events.into_iter().map(|appended| (appended.1.record_key(), appended)).collect();
    let (folded, rows, written) = fold(task(), keyed.clone(), true);
    println!("{} events: {rows} rows, {written} bytes of changelog", keyed.len());
    state(&folded);
    for (name, is_committing) in [("fold", false), ("fold and write the changelog down", true)] {
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || keyed.clone(),
                |events| fold(task(), events, is_committing),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

/// What the open sessions take, serialised: all of it, and without the lists that are bounded: events kept, what the matchers
/// remember of them, routes and pages, signals.
fn state(task: &Task<Frustration>) {
    let mut sessions: HashMap<Vec<u8>, (usize, usize)> = HashMap::new();
    let mut block = Vec::new();
    let mut checkpoint = task.begin_checkpoint(&mut block);
    block.clear();
    task.slice(&mut checkpoint, usize::MAX, &mut block);
    for (cell, value) in cells(&block) {
        // Key and kind; an entry's is followed by its session's name and the kind of the entry (postcard).
        let Some((key, [kind, rest @ ..])) = cell[1..].split_at_checked(usize::from(cell[0])) else {
            continue;
        };
        if b"hets".contains(kind) {
            let part = rest.iter().skip_while(|byte| **byte >= 0x80).nth(1);
            let is_list = *kind == b'e' && part.is_some_and(|part| *part >= LISTS);
            let size = rest.len() + value.len();
            let (all, besides) = sessions.entry(key.to_vec()).or_default();
            *all += size;
            *besides += if is_list { 0 } else { size };
        }
    }
    let (mut all, mut besides): (Vec<usize>, Vec<usize>) = sessions.into_values().unzip();
    for (what, sizes) in [("all", &mut all), ("besides bounded lists", &mut besides)] {
        sizes.sort_unstable();
        let at = |share: f64| sizes[((sizes.len() as f64 * share) as usize).min(sizes.len() - 1)];
        println!(
            "bytes of state an open session, {what}: p50 {}, p99 {}, of {}",
            at(0.5),
            at(0.99),
            sizes.len()
        );
    }
}

criterion_group!(benches, records);
criterion_main!(benches);
