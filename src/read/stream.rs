//! `GET /v1/{path}/stream`: rows of a resource as they are found, corrected and retracted, as server-sent events
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).
//!
//! An event's id is a position in the resource's topic: the last record of each partition that the client has been told of,
//! also of those that are none of its own. A client that comes back with it as `Last-Event-ID` gets what it has missed from the
//! log itself, on whatever node, and then what comes: every version once, in the order of its partition.

use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{self, Sse};
use axum::routing::{MethodRouter, get};
use futures::Stream;
use tokio::sync::mpsc;

use super::Shared;
use super::conditions::Conditions;
use super::listener;
use super::listener::Listener;
use super::parameters::Parameters;
use crate::http::{ApiError, CanRead, Tenant};
use crate::log::LogPosition;
use crate::resource::Resource;

/// When a client may try again.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// Where a stream begins that does not go on behind an event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Begin {
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

/// The route of a resource's stream.
pub fn of(resource: &'static Resource) -> MethodRouter<Shared> {
    let handler =
        async move |CanRead(tenant): CanRead,
                    State(shared): State<Shared>,
                    headers: HeaderMap,
                    parameters: Parameters| { begin(resource, tenant, shared, &headers, parameters) };
    get(handler)
}

fn begin(
    resource: &'static Resource,
    tenant: Tenant,
    shared: Shared,
    headers: &HeaderMap,
    mut parameters: Parameters,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, axum::Error>> + use<>>, ApiError> {
    let (topic, Shared { live, streams, .. }) = (resource.topic(), shared);
    let conditions = Conditions::take(resource, &mut parameters)?;
    let begin = Begin::take(&mut parameters)?;
    parameters.finish()?;
    let last = last_event_id(topic, headers)?;
    let too_early = || ApiError::unavailable("this node does not follow the log yet", RETRY_AFTER);
    let (receiver, told) = live.listen(topic).ok_or_else(too_early)?;
    let next = match (last, begin) {
        (Some(last), _) => {
            let next = |partition| last.offset(topic, partition).map(|offset| offset + 1);
            told.iter().map(|(partition, told)| (*partition, next(*partition).unwrap_or(*told))).collect()
        }
        (None, Begin::Stored) => live.stored(topic, &told).ok_or_else(too_early)?,
        (None, Begin::Now) => told.clone(),
    };
    let (sender, mut receiving) = mpsc::channel(listener::BUFFERED);
    let listener = Listener::new(resource, tenant, conditions, next, sender);
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

fn last_event_id(topic: &str, headers: &HeaderMap) -> Result<Option<LogPosition>, ApiError> {
    const NAME: &str = "Last-Event-ID";
    let Some(value) = headers.get(NAME).filter(|value| !value.is_empty()) else { return Ok(None) };
    let position = value.to_str().ok().and_then(|text| text.parse::<LogPosition>().ok());
    let position = position.filter(|position| {
        position.iter().all(|(of, _, offset)| of == topic && (-1..i64::MAX).contains(&offset))
    });
    position.map(Some).ok_or_else(|| ApiError::invalid(NAME, "is no id of an event of this stream"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_positions_of_this_stream_are_event_ids() {
        let parse = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("last-event-id", text.parse().unwrap());
            last_event_id("incidents", &headers)
        };
        assert_eq!(parse("").unwrap(), None);
        assert_eq!(parse("incidents:0@5,1@-1").unwrap().unwrap().to_string(), "incidents:0@5,1@-1");
        for text in ["5", "civic:0@5", "incidents:0@-2", "incidents:0@9223372036854775807"] {
            assert_eq!(parse(text).unwrap_err().status(), 422, "{text}");
        }
    }
}
