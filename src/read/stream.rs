//! `GET /v1/incidents/stream`: incidents as they are found, corrected and retracted, as server-sent events
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).
//!
//! An event's id is a position in the topic of incidents: the last record of each partition that the client has been told of,
//! also of those that are none of its own. A client that comes back with it as `Last-Event-ID` gets what it has missed from the
//! log itself, on whatever node, and then what comes: every version once, in the order of its partition.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{self, Sse};
use futures::Stream;
use rdkafka::message::Message;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;
use uuid::Uuid;

use super::incident_filter::{FilterParameters, IncidentFilter};
use super::incidents::IncidentAnswer;
use super::listed::RowFilter;
use super::live::{Events, INCIDENTS, Live};
use super::parameters::Parameters;
use super::rows::Place;
use crate::codec;
use crate::families::incident::Incident;
use crate::http::{ApiError, CanRead, Tenant};
use crate::log::replay::Replay;
use crate::log::{Log, LogPosition};

/// Clients that may read the log at once, to catch up: each has a Kafka client of its own.
const CATCHING_UP: usize = 4;
/// After so long without an event of its own the client is told where it stands.
const SILENCE: Duration = Duration::from_secs(15);
/// When a client may try again.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// How long a client that catches up may take to read on: meanwhile it keeps another one waiting.
const PATIENCE: Duration = Duration::from_secs(10);
/// Events on their way to a client that is slow to read.
const BUFFERED: usize = 64;

/// What an event says of its incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It was found or corrected.
    Incident,
    /// It no longer holds.
    Retraction {
        /// The incident that has absorbed it.
        merged_into: Option<Uuid>,
    },
}

/// A version of an incident, as it lies on the log.
#[derive(Debug)]
pub struct Event {
    tenant: Tenant,
    place: Place,
    kind: Kind,
    incident: Arc<IncidentAnswer>,
}

/// What is said of an incident that no longer holds.
#[derive(Debug, Serialize)]
struct Retraction<'a> {
    id: &'a str,
    version: String,
    merged_into: Option<Uuid>,
}

impl Event {
    /// A version of `incident`.
    pub fn new(tenant: Tenant, place: Place, kind: Kind, incident: Arc<IncidentAnswer>) -> Self {
        Self { tenant, place, kind, incident }
    }

    /// Partition and offset.
    pub fn place(&self) -> Place {
        self.place
    }

    fn of(incident: Incident, place: Place) -> Self {
        let tenant = Tenant::new(&incident.meta.tenant);
        let merged_into = incident.meta.merged_into;
        let kind = if incident.meta.retracted { Kind::Retraction { merged_into } } else { Kind::Incident };
        Self::new(tenant, place, kind, Arc::new(incident.into()))
    }

    fn name_and_data(&self) -> serde_json::Result<(&'static str, String)> {
        Ok(match self.kind {
            Kind::Incident => ("incident", serde_json::to_string(&self.incident)?),
            Kind::Retraction { merged_into } => {
                let (id, version) = (self.incident.id.as_str(), self.incident.version.to_string());
                ("retraction", serde_json::to_string(&Retraction { id, version, merged_into })?)
            }
        })
    }
}

/// What streams share: the log, and how many may read it at once.
#[derive(Clone)]
pub struct Streams {
    log: Log,
    catching_up: Arc<Semaphore>,
    shutdown: CancellationToken,
}

impl Streams {
    pub(super) fn new(log: Log, shutdown: CancellationToken) -> Self {
        Self { log, catching_up: Arc::new(Semaphore::new(CATCHING_UP)), shutdown }
    }
}

/// Where a stream begins that does not go on behind an event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "snake_case")]
pub(super) enum Begin {
    /// With what comes.
    #[default]
    Now,
    /// With what the tables do not hold yet.
    Stored,
}

impl Begin {
    fn take(parameters: &mut Parameters) -> Result<Self, ApiError> {
        let begin = |text: &str| match text {
            "now" => Some(Self::Now),
            "stored" => Some(Self::Stored),
            _ => None,
        };
        Ok(parameters.parsed("begin", "now or stored", begin)?.unwrap_or_default())
    }
}

/// Incidents as they are found, corrected and retracted, as server-sent events: `incident` with what `/v1/incidents/{id}`
/// answers, `retraction` with `id`, `version` and `merged_into`, `reset` where what was missed is gone from the log. The id
/// of an event is where to go on.
#[utoipa::path(
    get,
    path = "/v1/incidents/stream",
    tag = "read",
    security(("bearer" = ["read"]), ("api_key" = ["read"])),
    params(
        FilterParameters,
        ("begin" = inline(Option<Begin>), Query, description = "Where to begin without a `Last-Event-ID`: `now`, or `stored`, with what the tables do not hold yet. A list that is read once such a stream has begun and the stream have everything between them, some of it both; the higher version holds."),
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was seen: what came since is told first."),
    ),
    responses((status = 200, description = "Events, for as long as the client listens.", body = String, content_type = "text/event-stream"))
)]
pub async fn incidents(
    CanRead(tenant): CanRead,
    State(live): State<Live>,
    State(streams): State<Streams>,
    headers: HeaderMap,
    mut parameters: Parameters,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, axum::Error>>>, ApiError> {
    let filter = IncidentFilter::take(&mut parameters)?;
    let begin = Begin::take(&mut parameters)?;
    parameters.finish()?;
    let last = last_event_id(&headers)?;
    let too_early = || ApiError::unavailable("this node does not follow the log yet", RETRY_AFTER);
    let (receiver, told) = live.listen().ok_or_else(too_early)?;
    let next = match (last, begin) {
        (Some(last), _) => {
            let next = |partition| last.offset(INCIDENTS, partition).map(|offset| offset + 1);
            told.iter().map(|(partition, told)| (*partition, next(*partition).unwrap_or(*told))).collect()
        }
        (None, Begin::Stored) => live.stored(&told).ok_or_else(too_early)?,
        (None, Begin::Now) => told.clone(),
    };
    let (sender, mut receiving) = mpsc::channel(BUFFERED);
    let listener = Listener { tenant, filter, next, sender, sent_at: Instant::now(), silence: SILENCE };
    tokio::spawn(async move {
        let shutdown = streams.shutdown.clone();
        tokio::select! {
            () = listener.run(streams, receiver, told) => {}
            // A stream would never end by itself, and the process waits for it.
            () = shutdown.cancelled() => {}
        }
    });
    Ok(Sse::new(futures::stream::poll_fn(move |context| receiving.poll_recv(context))))
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<LogPosition>, ApiError> {
    const NAME: &str = "Last-Event-ID";
    let Some(value) = headers.get(NAME).filter(|value| !value.is_empty()) else { return Ok(None) };
    let position = value.to_str().ok().and_then(|text| text.parse::<LogPosition>().ok());
    let position = position.filter(|position| {
        position.iter().all(|(topic, _, offset)| topic == INCIDENTS && (-1..i64::MAX).contains(&offset))
    });
    position.map(Some).ok_or_else(|| ApiError::invalid(NAME, "is no id of an event of this stream"))
}

type Sent = Result<sse::Event, axum::Error>;

/// A client that listens.
struct Listener {
    tenant: Tenant,
    filter: IncidentFilter,
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
    async fn run(mut self, streams: Streams, mut receiver: Events, told: BTreeMap<i32, i64>) {
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
        let sending = self.sender.send_timeout(event, PATIENCE);
        Handle::current().block_on(sending).map_err(|_| Missed::Client)
    }

    fn position(&self) -> String {
        let mut position = LogPosition::default();
        for (partition, next) in &self.next {
            position.add(INCIDENTS, *partition, next - 1);
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
        let is_wanted = match event.kind {
            Kind::Incident => self.filter.matches(&event.incident),
            Kind::Retraction { .. } => self.filter.may_have_matched(&event.incident),
        };
        if event.tenant != self.tenant || !is_wanted {
            return None;
        }
        let said = event.name_and_data().map_err(axum::Error::new);
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
        let bounds = Replay::bounds(log, INCIDENTS)?;
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
        let mut replay = Replay::start(log, INCIDENTS, missed)?;
        while let Some(message) = replay.read()? {
            let place = (message.partition(), message.offset());
            // What can't be read was never told either.
            let Ok(incident) = codec::decode::<Incident>(INCIDENTS, message.payload()) else { continue };
            if let Some(event) = self.pass(&Event::of(incident, place)) {
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
    use serde_json::json;

    use super::*;

    #[test]
    fn only_positions_of_this_stream_are_event_ids() {
        let parse = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("last-event-id", text.parse().unwrap());
            last_event_id(&headers)
        };
        assert_eq!(parse("").unwrap(), None);
        assert_eq!(parse("incidents:0@5,1@-1").unwrap().unwrap().to_string(), "incidents:0@5,1@-1");
        for text in ["5", "civic:0@5", "incidents:0@-2", "incidents:0@9223372036854775807"] {
            assert_eq!(parse(text).unwrap_err().status(), 422, "{text}");
        }
    }

    fn incident(tenant: &str) -> IncidentAnswer {
        let row = json!({
            "id": Uuid::nil(), "version": 1, "operator": "sla", "operator_version": 1, "settings_version": 0, "family": "civic",
            "rule": "sla_breach", "severity": "high", "subject": tenant, "title": "x", "started_at": 0, "ended_at": null,
            "first_arrival": 0, "final": false, "attributes": {}, "evidence_count": 0, "evidence_first": [],
            "evidence_last": [],
        });
        serde_json::from_value(row).unwrap()
    }

    fn event(tenant: &str, offset: i64) -> Arc<Event> {
        let incident = Arc::new(incident(tenant));
        Arc::new(Event::new(Tenant::new(tenant), (0, offset), Kind::Incident, incident))
    }

    fn listener(silence: Duration) -> (Listener, mpsc::Receiver<Sent>) {
        let (sender, receiver) = mpsc::channel(BUFFERED);
        let (tenant, filter) = (Tenant::new("a"), IncidentFilter::default());
        let next = BTreeMap::from([(0, 0)]);
        (Listener { tenant, filter, next, sender, sent_at: Instant::now(), silence }, receiver)
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
        let live = Live::new(0);
        assert!(live.listen().is_none(), "it does not follow the log yet");
        let seen = crate::read::positions::Seen { start: 0, next: 3, record_end: 3 };
        live.change(|positions| (0..4).for_each(|partition| positions.see(INCIDENTS, partition, seen)));
        live.tell(Arc::into_inner(event("a", 5)).unwrap());
        let (_, told) = live.listen().unwrap();
        assert_eq!(told, BTreeMap::from([(0, 6), (1, 3), (2, 3), (3, 3)]));

        // A stream that begins with what the tables lack.
        assert_eq!(live.stored(&told), None, "nobody has looked at them yet");
        live.change(|positions| {
            for (partition, stored) in [(0, 4), (1, 3), (2, 0), (3, 9)] {
                positions.store(INCIDENTS, partition, stored);
            }
        });
        assert_eq!(live.stored(&told).unwrap(), BTreeMap::from([(0, 4), (1, 3), (2, 0), (3, 3)]));
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
