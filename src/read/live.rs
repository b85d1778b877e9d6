//! What this node knows of the log at this moment: how far everything has come, the rows that it has seen, and those who
//! listen. The node's tail and its look at the tables tell it; handlers ask.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use tokio::sync::{broadcast, watch};
use uuid::Uuid;

use super::event::Event;
use super::positions::{Job, Positions, Seen, Source};
use super::rows::{Arrival, Lookup, Rows};
use crate::http::Tenant;
use crate::log::{LogPosition, topics};
use crate::resource::{Resource, Row};

/// How long a read waits for a position.
const WAIT_TIMEOUT: Duration = Duration::from_secs(2);
/// Events that a listener may lag behind.
const LISTENERS_LAG: usize = 4096;

/// Shared by the handlers and the threads that read. Clones are the same.
#[derive(Clone)]
pub struct Live(Arc<Inner>);

struct Inner {
    positions: Mutex<Positions>,
    moved: watch::Sender<()>,
    /// The rows of each resource's topic that are known by their ids.
    rows: BTreeMap<&'static str, Rows<Row>>,
    /// Those who listen to a topic.
    listeners: BTreeMap<&'static str, Mutex<Listeners>>,
    log_answers: AtomicBool,
    store_answers: AtomicBool,
    waiting: AtomicUsize,
    watcher: OnceLock<Thread>,
}

/// What is told to one who listens.
pub type Events = broadcast::Receiver<Arc<Event>>;

/// Those who listen to a resource. One lock for both: between what was told and what will be told nothing gets lost.
struct Listeners {
    events: broadcast::Sender<Arc<Event>>,
    told: BTreeMap<i32, i64>,
}

impl Listeners {
    fn new() -> Self {
        Self { events: broadcast::Sender::new(LISTENERS_LAG), told: BTreeMap::new() }
    }
}

/// Up to where an answer holds what follows from the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freshness {
    /// Up to there, at least.
    pub as_of: LogPosition,
    /// It may be older than what was asked for, or than what there is.
    pub stale: bool,
}

impl Live {
    /// Nothing is known yet; rows will take `cache_bytes` at most, a share for each of `resources`, so that much of the one
    /// leaves something of the others.
    pub fn new(resources: &'static [Resource], jobs: Vec<Job>, cache_bytes: usize) -> Self {
        let share = cache_bytes / resources.len().max(1);
        let streams = resources.iter().filter(|resource| resource.declaration.stream);
        Self(Arc::new(Inner {
            positions: Mutex::new(Positions::new(jobs)),
            moved: watch::Sender::new(()),
            rows: resources.iter().map(|resource| (resource.topic(), Rows::new(share))).collect(),
            listeners: streams.map(|resource| (resource.topic(), Mutex::new(Listeners::new()))).collect(),
            log_answers: AtomicBool::new(false),
            store_answers: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            watcher: OnceLock::new(),
        }))
    }

    fn positions(&self) -> MutexGuard<'_, Positions> {
        self.0.positions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is known of positions, and wakes who waits for that.
    pub(super) fn change(&self, change: impl FnOnce(&mut Positions)) {
        change(&mut self.positions());
        self.0.moved.send_replace(());
    }

    /// How often the tables of a topic have changed since this node has started.
    pub fn generation(&self, topic: &str) -> u64 {
        self.positions().generation(topic)
    }

    /// How far this node has read a partition of a derived topic.
    pub fn seen(&self, topic: &str, partition: i32) -> Option<Seen> {
        self.positions().seen(topic, partition)
    }

    /// Waits, at most 2 s, until all of `sources` have come to `wanted`, and says how far they have come.
    pub async fn reached(&self, sources: &[Source], wanted: Option<&LogPosition>) -> Freshness {
        let look = || self.positions().as_of(sources);
        let Some(wanted) = wanted else {
            return Freshness { as_of: look(), stale: !self.answers() };
        };
        let _waiting = Waiting::begin(&self.0);
        let mut moved = self.0.moved.subscribe();
        let deadline = tokio::time::Instant::now() + WAIT_TIMEOUT;
        loop {
            moved.mark_unchanged();
            let as_of = look();
            if as_of.covers(wanted) {
                return Freshness { as_of, stale: !self.answers() };
            }
            // The sender lives as long as `self`, so an error is the deadline's.
            if !matches!(tokio::time::timeout_at(deadline, moved.changed()).await, Ok(Ok(()))) {
                return Freshness { as_of: look(), stale: true };
            }
        }
    }

    /// Whether Kafka and ClickHouse answer: else what is known may be old without a sign.
    fn answers(&self) -> bool {
        self.0.log_answers.load(Ordering::Relaxed) && self.0.store_answers.load(Ordering::Relaxed)
    }

    /// Kafka answers, or does not.
    pub(super) fn log_answers(&self, answers: bool) {
        self.0.log_answers.store(answers, Ordering::Relaxed);
    }

    /// ClickHouse answers, or does not.
    pub(super) fn store_answers(&self, answers: bool) {
        self.0.store_answers.store(answers, Ordering::Relaxed);
    }

    /// Takes in a row of a topic that was seen on the log, or read from its table.
    pub fn learn(&self, topic: &'static str, arrival: Arrival<Row>) {
        let Some(rows) = self.0.rows.get(topic) else { return };
        let is_stored = |(partition, offset)| self.positions().is_stored(topic, partition, offset + 1);
        rows.put(arrival, is_stored);
        metrics::gauge!("tidewatch_cache_bytes", "topic" => topic).set(rows.bytes() as f64);
    }

    /// Whether a row that is read from its table from now on may be kept: a newer version would be seen on the log.
    pub fn may_keep(&self, topic: &str) -> bool {
        topics::named(topic).is_some_and(|found| self.positions().is_whole(topic, found.partitions))
    }

    /// What is known of a tenant's row.
    pub fn known(&self, topic: &str, tenant: &Tenant, id: Uuid) -> Lookup<Row> {
        self.0.rows.get(topic).map_or(Lookup::Unknown, |rows| rows.get(tenant, id))
    }

    /// Tells those who listen to a topic.
    pub(super) fn tell(&self, topic: &str, event: Event) {
        let Some(mut listeners) = self.listeners(topic) else { return };
        let (partition, offset) = event.place;
        listeners.told.insert(partition, offset + 1);
        // Nobody may be listening.
        let _ = listeners.events.send(Arc::new(event));
    }

    /// Listens to what is told of a topic from now on; and what was told before, as the offset in each partition behind it.
    /// `None` as long as this node does not follow the log yet.
    pub fn listen(&self, topic: &str) -> Option<(Events, BTreeMap<i32, i64>)> {
        let partitions = 0..topics::named(topic)?.partitions;
        let listeners = self.listeners(topic)?;
        let receiver = listeners.events.subscribe();
        let told = partitions.map(|partition| {
            let told = listeners.told.get(&partition).copied();
            Some((partition, told.or_else(|| Some(self.seen(topic, partition)?.next))?))
        });
        Some((receiver, told.collect::<Option<_>>()?))
    }

    /// Up to where the tables hold the rows that were told, as the offset in each partition behind it: what a list that is
    /// read from now on may lack comes after it. `None` before the first look at the tables.
    pub fn stored(&self, topic: &str, told: &BTreeMap<i32, i64>) -> Option<BTreeMap<i32, i64>> {
        let positions = self.positions();
        let stored = told.iter().map(|(partition, told)| {
            let stored = positions.stored(topic, *partition)?;
            // Where only the marks of transactions lie between, nothing is missing.
            let has_all = positions.is_stored(topic, *partition, *told);
            Some((*partition, if has_all { *told } else { stored.min(*told) }))
        });
        stored.collect()
    }

    fn listeners(&self, topic: &str) -> Option<MutexGuard<'_, Listeners>> {
        Some(self.0.listeners.get(topic)?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The thread that looks how far the tables have come; it is woken when somebody waits for them.
    pub(super) fn watched_by(&self, thread: Thread) {
        // Set once, by the only thread of its kind.
        let _ = self.0.watcher.set(thread);
    }

    /// Whether somebody waits for a position.
    pub(super) fn is_waited_for(&self) -> bool {
        self.0.waiting.load(Ordering::Relaxed) > 0
    }
}

/// Somebody waits, for as long as this lives.
struct Waiting<'a>(&'a Inner);

impl<'a> Waiting<'a> {
    fn begin(inner: &'a Inner) -> Self {
        inner.waiting.fetch_add(1, Ordering::Relaxed);
        if let Some(watcher) = inner.watcher.get() {
            watcher.unpark();
        }
        Self(inner)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
