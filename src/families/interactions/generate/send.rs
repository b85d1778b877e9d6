//! Sends batches through the HTTP API: the present as it happens, or the past as fast as the API takes it.

use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};
use jiff::Timestamp;
use serde::de::IgnoredAny;

use super::event::Batch;
use crate::families::client::{Client, SendError};

/// Events a request, of the past: the API takes 1,000, and 1 MiB.
const EVENTS: usize = 500;
/// Requests under way at once, of the present.
const REQUESTS: usize = 64;

/// Sends batches through the API.
#[derive(Debug)]
pub struct Sender(Client);

impl Sender {
    /// A sender to the API at `url`, e.g. `http://127.0.0.1:8080`.
    pub fn new(url: &str, key: impl Into<String>) -> Self {
        Self(Client::new(url, "interactions", key))
    }

    /// Sends each batch when it is to arrive, with the device's own time as `sent_at`.
    pub async fn as_it_happens(&self, batches: impl Iterator<Item = Batch>) -> Result<(), SendError> {
        stream::iter(batches)
            .then(async |batch| {
                let ahead = batch.arrived_at - Timestamp::now().as_millisecond();
                // In the past: at once.
                tokio::time::sleep(Duration::from_millis(u64::try_from(ahead).unwrap_or(0))).await;
                batch
            })
            .map(async |batch| {
                let sent_at = Timestamp::now().as_millisecond();
                self.post(serde_json::to_vec(&batch.request(sent_at))?).await
            })
            .buffer_unordered(REQUESTS)
            .try_collect()
            .await
    }

    /// Sends all batches at once, in their order, with the true times.
    pub async fn as_history(&self, batches: impl Iterator<Item = Batch>) -> Result<(), SendError> {
        let (mut events, mut count) = (Vec::new(), 0);
        for batch in batches {
            if count + batch.events.len() > EVENTS {
                self.post(body(&mut events)).await?;
                count = 0;
            }
            count += batch.events.len();
            batch.write(&mut events, true, b',')?;
        }
        if count > 0 { self.post(body(&mut events)).await } else { Ok(()) }
    }

    async fn post(&self, body: Vec<u8>) -> Result<(), SendError> {
        self.0.post::<IgnoredAny>(body).await?;
        Ok(())
    }
}

/// The events, a comma behind each, as a request's body; they are taken.
fn body(events: &mut Vec<u8>) -> Vec<u8> {
    events.pop();
    let body = [b"{\"events\":[", &events[..], b"]}"].concat();
    events.clear();
    body
}
