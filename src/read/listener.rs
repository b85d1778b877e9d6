//! A client that listens to a stream: what it has missed, and then what comes.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse;
use rdkafka::message::Message;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::conditions::Conditions;
use super::event::{Event, Kind};
use super::live::Events;
use crate::http::Tenant;
use crate::log::replay::Replay;
use crate::log::{Log, LogPosition};
use crate::resource::Resource;

/// After so long without an event of its own the client is told where it stands.
const SILENCE: Duration = Duration::from_secs(15);
/// How long a client that catches up may take to read on: meanwhile it keeps another one waiting.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Clients that may read the log at once, to catch up: each has a Kafka client of its own.
const CATCHING_UP: usize = 4;
/// Events on their way to a client that is slow to read.
pub const BUFFERED: usize = 64;

/// What streams share: the log, and how many may read it at once.
#[derive(Clone)]
pub struct Streams {
    log: Log,
    catching_up: Arc<Semaphore>,
    /// The end of the process, and of every stream.
    pub shutdown: CancellationToken,
}

impl Streams {
    /// Over this log, until `shutdown`.
    pub fn new(log: Log, shutdown: CancellationToken) -> Self {
        Self { log, catching_up: Arc::new(Semaphore::new(CATCHING_UP)), shutdown }
    }
}

/// What is on its way to a client.
pub type Sent = Result<sse::Event, axum::Error>;

/// A client that listens.
pub struct Listener {
    resource: &'static Resource,
    tenant: Tenant,
    conditions: Conditions,
    /// The offset behind what the client has been told, by partition.
    next: BTreeMap<i32, i64>,
    sender: mpsc::Sender<Sent>,
    /// When it was last told something. What is told to others says nothing to it.
    sent_at: Instant,
    silence: Duration,
}

/// The client is gone, or has to come again.
struct Ended;

impl Listener {
    /// A client that has been told what lies before `next`.
    pub fn new(
        resource: &'static Resource,
        tenant: Tenant,
        conditions: Conditions,
        next: BTreeMap<i32, i64>,
        sender: mpsc::Sender<Sent>,
    ) -> Self {
        Self { resource, tenant, conditions, next, sender, sent_at: Instant::now(), silence: SILENCE }
    }

    /// Tells the client what it has missed up to `told`, and then what comes, until it is gone.
    pub async fn run(mut self, streams: Streams, mut receiver: Events, told: BTreeMap<i32, i64>) {
        // First where it stands: a client that loses the connection before the first event can come back.
        if self.next == told {
            if self.stand().await.is_err() {
                return;
            }
        } else {
            match self.catch_up(streams, told).await {
                Ok(caught_up) => self = caught_up,
                Err(Ended) => return,
            }
        }
        loop {
            let told = tokio::select! {
                event = receiver.recv() => event,
                () = self.sender.closed() => return,
                () = tokio::time::sleep_until(self.sent_at + self.silence) => match self.stand().await {
                    Ok(()) => continue,
                    Err(Ended) => return,
                },
            };
            let Ok(event) = told else {
                // One that lags too far behind comes again, and catches up from the log: from where it stands, not from its own
                // last event, or it might read the same again and again. It may be gone.
                let _ = self.stand().await;
                return;
            };
            if let Some(event) = self.pass(&event)
                && self.send(event).await.is_err()
            {
                return;
            }
        }
    }

    async fn stand(&mut self) -> Result<(), Ended> {
        let event = sse::Event::default().id(self.position());
        self.send(Ok(event)).await
    }

    async fn send(&mut self, event: Sent) -> Result<(), Ended> {
        self.sent_at = Instant::now();
        self.sender.send(event).await.map_err(|_| Ended)
    }

    /// As [`send`](Self::send), from a thread that may block.
    fn send_blocking(&mut self, event: Sent) -> Result<(), Missed> {
        self.sent_at = Instant::now();
        let sending = self.sender.send_timeout(event, READ_TIMEOUT);
        Handle::current().block_on(sending).map_err(|_| Missed::Client)
    }

    fn position(&self) -> String {
        let mut position = LogPosition::default();
        for (partition, next) in &self.next {
            position.add(self.resource.topic(), *partition, next - 1);
        }
        position.to_string()
    }

    /// What the client is told of an event: nothing where it has been told, or where it is none of its own.
    fn pass(&mut self, event: &Event) -> Option<Sent> {
        let (partition, offset) = event.place;
        let next = self.next.get_mut(&partition)?;
        if offset < *next {
            return None;
        }
        *next = offset + 1;
        if event.tenant != self.tenant || !event.is_wanted(&self.conditions) {
            return None;
        }
        let said = event.name_and_data(self.resource.noun()).map_err(axum::Error::new);
        Some(said.map(|(name, data)| sse::Event::default().event(name).id(self.position()).data(data)))
    }

    /// Reads what the client has missed from the log.
    async fn catch_up(self, streams: Streams, told: BTreeMap<i32, i64>) -> Result<Self, Ended> {
        let permit = tokio::select! {
            permit = streams.catching_up.acquire_owned() => permit.map_err(|_| Ended)?,
            () = self.sender.closed() => return Err(Ended),
        };
        let work = move || {
            let _permit = permit;
            self.read_missed(&streams.log, &told)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok(listener)) => Ok(listener),
            Ok(Err(Missed::Client)) => Err(Ended),
            Ok(Err(Missed::Kafka(error))) => {
                tracing::warn!(%error, "a stream can't catch up; its client comes again");
                Err(Ended)
            }
            Err(error) => {
                tracing::error!(%error, "catching up");
                Err(Ended)
            }
        }
    }

    fn read_missed(mut self, log: &Log, told: &BTreeMap<i32, i64>) -> Result<Self, Missed> {
        let bounds = Replay::bounds(log, self.resource.topic())?;
        let is_known = |(partition, next): (&i32, &i64)| {
            bounds.get(partition).is_some_and(|bounds| (bounds.start..=bounds.end).contains(next))
        };
        if !self.next.iter().all(is_known) {
            // What lies there is gone, or is another log's.
            self.next = told.clone();
            let event = sse::Event::default().event("reset").id(self.position()).data("{}");
            self.send_blocking(Ok(event))?;
            return Ok(self);
        }
        let missed = |(partition, next): (&i32, &i64)| Some((*partition, *next..*told.get(partition)?));
        let missed: BTreeMap<i32, Range<i64>> = self.next.iter().filter_map(missed).collect();
        let mut replay = Replay::start(log, self.resource.topic(), missed)?;
        while let Some(message) = replay.read()? {
            let place = (message.partition(), message.offset());
            // What can't be read was never told either.
            let Ok(record) = self.resource.record(message.payload()) else { continue };
            let kind = Kind::of(record.retracted, record.merged_into);
            let event = Event::new(Tenant::new(&record.tenant), place, kind, Arc::new(record.row));
            if let Some(event) = self.pass(&event) {
                self.send_blocking(event)?;
            } else if self.sender.is_closed() {
                return Err(Missed::Client);
            } else if self.sent_at.elapsed() >= self.silence {
                self.send_blocking(Ok(sse::Event::default().id(self.position())))?;
            }
        }
        // All may have been others': what was read is not to be read again.
        self.send_blocking(Ok(sse::Event::default().id(self.position())))?;
        Ok(self)
    }
}

/// Why a client could not be told what it has missed.
#[derive(Debug, thiserror::Error)]
enum Missed {
    #[error("the client is gone, or does not read")]
    Client,
    #[error(transparent)]
    Kafka(#[from] rdkafka::error::KafkaError),
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::read::live::Live;
    use crate::resource::{self, Row};

    fn event(tenant: &str, offset: i64) -> Arc<Event> {
        let row = Row { json: r#"{"id":"x"}"#.into(), id: Uuid::nil(), version: 1, sort: 0 };
        Arc::new(Event::new(Tenant::new(tenant), (0, offset), Kind::Row, Arc::new(row)))
    }

    fn listener(silence: Duration) -> (Listener, mpsc::Receiver<Sent>) {
        let (sender, receiver) = mpsc::channel(BUFFERED);
        let (incidents, next) = (resource::named("incidents").unwrap(), BTreeMap::from([(0, 0)]));
        let listener = Listener::new(incidents, Tenant::new("a"), Conditions::default(), next, sender);
        (Listener { silence, ..listener }, receiver)
    }

    #[test]
    fn anothers_event_is_passed_over_and_none_is_told_twice() {
        let (mut listener, _receiver) = listener(SILENCE);
        assert!(listener.pass(&event("b", 4)).is_none());
        assert_eq!(listener.position(), "incidents:0@4");
        assert!(listener.pass(&event("a", 4)).is_none(), "before where it stands");
        assert!(listener.pass(&event("a", 5)).is_some());
        assert!(listener.pass(&event("a", 5)).is_none());
    }

    /// The tail tells of a record before it says how far it has come: who begins to listen in between has not missed it.
    #[test]
    fn who_listens_knows_what_was_told_before() {
        let live = Live::new(resource::all().unwrap(), Vec::new(), 0);
        assert!(live.listen("incidents").is_none(), "it does not follow the log yet");
        let seen = crate::read::positions::Seen { start: 0, next: 3, record_end: 3 };
        live.change(|positions| (0..4).for_each(|partition| positions.see("incidents", partition, seen)));
        live.tell("incidents", Arc::into_inner(event("a", 5)).unwrap());
        let (_, told) = live.listen("incidents").unwrap();
        assert_eq!(told, BTreeMap::from([(0, 6), (1, 3), (2, 3), (3, 3)]));

        // A stream that begins with what the tables lack.
        assert_eq!(live.stored("incidents", &told), None, "nobody has looked at them yet");
        live.change(|positions| {
            for (partition, stored) in [(0, 4), (1, 3), (2, 0), (3, 9)] {
                positions.store("incidents", partition, stored);
            }
        });
        assert_eq!(
            live.stored("incidents", &told).unwrap(),
            BTreeMap::from([(0, 4), (1, 3), (2, 0), (3, 3)])
        );
    }

    /// What others are told keeps nobody from being told where he stands, nor does it end him unawares.
    #[tokio::test]
    async fn a_client_among_strangers_is_told_where_it_stands() {
        let (listener, mut receiver) = listener(Duration::from_millis(200));
        let (events, all) = tokio::sync::broadcast::channel(4);
        let log = Log::new(&crate::config::Config::load(None, &[]).unwrap().kafka);
        let streams = Streams::new(log, CancellationToken::new());
        tokio::spawn(listener.run(streams, all, BTreeMap::from([(0, 0)])));
        let mut next = async |patience| {
            let told = tokio::time::timeout(patience, receiver.recv()).await;
            told.ok().map(|told| told.map(|event| format!("{:?}", event.unwrap())))
        };
        let soon = Duration::from_secs(20);
        assert!(next(soon).await.flatten().unwrap().contains("incidents:0@-1"));
        let mut told = None;
        for offset in 0..1_000 {
            events.send(event("b", offset)).unwrap();
            told = next(Duration::from_millis(20)).await.flatten();
            if told.is_some() {
                break;
            }
        }
        assert!(told.unwrap().contains("incidents:0@"));
        // One after the other, without a pause in which it could read: it lags behind.
        for offset in 1_000..1_020 {
            events.send(event("b", offset)).unwrap();
        }
        let mut count = 0;
        while let Some(told) = next(soon).await.unwrap() {
            assert!(told.contains("incidents:0@"), "{told}");
            count += 1;
        }
        assert!(count > 0, "it has to come again, and from where it stands");
    }
}
