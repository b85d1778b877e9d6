//! Sends batches through the HTTP API: the present as it happens, or the past as fast as the API takes it.

use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};
use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::Value;

use super::event::Batch;

/// Events a request, of the past: the API takes 1,000, and 1 MiB.
const EVENTS: usize = 500;
/// Requests under way at once, of the present.
const REQUESTS: usize = 64;
/// How often a request is sent that the server could not take.
const TRIES: u32 = 30;
/// The pause between them.
const PAUSE: Duration = Duration::from_secs(1);

/// Why sending had to end.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No answer.
    #[error("no answer from the API: {0}")]
    Http(#[from] reqwest::Error),
    /// An answer that says no.
    #[error("the API answered {status}: {body}")]
    Refused {
        /// Its status.
        status: StatusCode,
        /// Its body, or the first item that was refused.
        body: String,
    },
    /// An event that can't be written.
    #[error("an event can't be written: {0}")]
    Json(#[from] serde_json::Error),
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    rejected: Vec<Value>,
}

/// A client of the API.
#[derive(Debug)]
pub struct Sender {
    http: reqwest::Client,
    url: String,
    key: String,
}

impl Sender {
    /// A client of the API at `url`, e.g. `http://127.0.0.1:8080`.
    pub fn new(url: &str, key: impl Into<String>) -> Self {
        let url = format!("{}/v1/interactions", url.trim_end_matches('/'));
        Self { http: reqwest::Client::new(), url, key: key.into() }
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

    /// A server that is away or busy is asked again: repeats are recognised by their numbers.
    async fn post(&self, body: Vec<u8>) -> Result<(), SendError> {
        let body = bytes::Bytes::from(body);
        let mut tries = 0;
        loop {
            tries += 1;
            let request = self.http.post(&self.url).bearer_auth(&self.key);
            let request = request.header(CONTENT_TYPE, "application/json").body(body.clone());
            let response = match request.send().await {
                Err(error) if error.is_connect() && tries < TRIES => {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                response => response?,
            };
            let status = response.status();
            if status == StatusCode::ACCEPTED {
                let answer: Answer = response.json().await?;
                return match answer.rejected.first() {
                    None => Ok(()),
                    Some(rejected) => Err(SendError::Refused { status, body: rejected.to_string() }),
                };
            }
            let is_busy = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS].contains(&status);
            if !is_busy || tries == TRIES {
                return Err(SendError::Refused { status, body: response.text().await? });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// The events, a comma behind each, as a request's body; they are taken.
fn body(events: &mut Vec<u8>) -> Vec<u8> {
    events.pop();
    let body = [b"{\"events\":[", &events[..], b"]}"].concat();
    events.clear();
    body
}
