//! A client of the HTTP API, as demonstrations and generators use it.

use std::time::Duration;

use backon::{ConstantBuilder, Retryable};
use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// How often a request is sent again that the server could not take.
const RETRIES: usize = 29;
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

impl SendError {
    /// The server is away or busy, and may take the same later.
    fn is_temporary(&self) -> bool {
        match self {
            Self::Http(error) => error.is_connect(),
            Self::Refused { status, .. } => {
                [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS].contains(status)
            }
            Self::Json(_) => false,
        }
    }
}

#[derive(Deserialize)]
#[serde(bound = "A: DeserializeOwned")]
struct Answer<A> {
    #[serde(default = "Vec::new")]
    accepted: Vec<A>,
    #[serde(default)]
    rejected: Vec<Value>,
}

/// A client that sends batches of one family's events.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    url: String,
    key: String,
}

impl Client {
    /// A client of the API at `url`, e.g. `http://127.0.0.1:8080`.
    pub fn new(url: &str, family: &str, key: impl Into<String>) -> Self {
        let url = format!("{}/v1/{family}", url.trim_end_matches('/'));
        Self { http: reqwest::Client::new(), url, key: key.into() }
    }

    /// Sends a batch, and has what the answer says of each item. A server that is away or busy is asked again: repeats are
    /// recognised by their ids.
    ///
    /// # Errors
    /// Where there is no answer after all retries, or one that refuses the batch or an item of it.
    pub async fn post<A: DeserializeOwned>(&self, body: Vec<u8>) -> Result<Vec<A>, SendError> {
        let body = Bytes::from(body);
        let attempt = || async {
            let request = self.http.post(&self.url).bearer_auth(&self.key);
            let request = request.header(CONTENT_TYPE, "application/json").body(body.clone());
            let response = request.send().await?;
            let status = response.status();
            if status != StatusCode::ACCEPTED {
                return Err(SendError::Refused { status, body: response.text().await? });
            }
            let Answer { accepted, rejected } = response.json().await?;
            match rejected.first() {
                None => Ok(accepted),
                Some(rejected) => Err(SendError::Refused { status, body: rejected.to_string() }),
            }
        };
        let retries = ConstantBuilder::default().with_delay(PAUSE).with_max_times(RETRIES);
        attempt.retry(retries).sleep(tokio::time::sleep).when(SendError::is_temporary).await
    }
}
