//! Sends the requests through the HTTP API as a client would: in order, in batches, a closing only once the answer has
//! named the issue that its report opened.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::boston::{Request, Step};
use crate::engine::Millis;

/// Events a batch: the API takes 1,000.
const BATCH: usize = 500;
/// How often a batch is sent again that the server could not take.
const TRIES: u32 = 30;

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
        /// Its body.
        body: String,
    },
    /// An answer that lacks an issue.
    #[error("the API named no issue for request {0}")]
    NoIssue(String),
}

#[derive(Deserialize)]
struct Answer {
    accepted: Vec<Accepted>,
    rejected: Vec<Value>,
}

#[derive(Deserialize)]
struct Accepted {
    index: usize,
    issue_id: Option<String>,
}

/// A client of the API.
pub struct Sender {
    http: reqwest::Client,
    url: String,
    key: String,
    /// Request id to issue id, as the API answered.
    issues: HashMap<String, String>,
    events: Vec<Value>,
    /// The request of each event of the batch that is a report.
    reports: HashMap<usize, String>,
    unanswered: HashSet<String>,
}

impl Sender {
    /// A client of the API at `url`, e.g. `http://127.0.0.1:8080`.
    pub fn new(url: impl Into<String>, key: impl Into<String>) -> Self {
        Self {
            http: reqwest::Client::new(),
            url: url.into(),
            key: key.into(),
            issues: HashMap::new(),
            events: Vec::new(),
            reports: HashMap::new(),
            unanswered: HashSet::new(),
        }
    }

    /// Adds a step to the batch; sends it when it is full, or when the step needs an answer to it.
    pub async fn push(&mut self, step: &Step<'_>) -> Result<(), SendError> {
        let event = match *step {
            Step::Opened(request) => {
                self.reports.insert(self.events.len(), request.id.clone());
                self.unanswered.insert(request.id.clone());
                json!({ "report": report(request) })
            }
            Step::Closed(request, at) => {
                if self.unanswered.contains(&request.id) {
                    self.flush().await?;
                }
                let issue =
                    self.issues.get(&request.id).ok_or_else(|| SendError::NoIssue(request.id.clone()))?;
                json!({ "status": closing(request, at, issue) })
            }
        };
        self.events.push(event);
        if self.events.len() == BATCH { self.flush().await } else { Ok(()) }
    }

    /// Sends what has gathered. A server that is away is asked again: repeats are recognised by their ids.
    pub async fn flush(&mut self) -> Result<(), SendError> {
        if self.events.is_empty() {
            return Ok(());
        }
        let body = json!({ "events": self.events });
        let mut tries = 0;
        let answer: Answer = loop {
            tries += 1;
            let request = self.http.post(format!("{}/v1/civic", self.url)).bearer_auth(&self.key).json(&body);
            let response = match request.send().await {
                Err(error) if error.is_connect() && tries < TRIES => {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    continue;
                }
                response => response?,
            };
            let status = response.status();
            if status == StatusCode::ACCEPTED {
                break response.json().await?;
            }
            if status != StatusCode::SERVICE_UNAVAILABLE || tries == TRIES {
                return Err(SendError::Refused { status, body: response.text().await? });
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        };
        if let Some(rejected) = answer.rejected.first() {
            return Err(SendError::Refused { status: StatusCode::ACCEPTED, body: rejected.to_string() });
        }
        for accepted in answer.accepted {
            if let (Some(request), Some(issue)) = (self.reports.remove(&accepted.index), accepted.issue_id) {
                self.issues.insert(request, issue);
            }
        }
        self.events.clear();
        self.reports.clear();
        self.unanswered.clear();
        Ok(())
    }
}

/// The report that opens a request, as the API takes it.
pub fn report(request: &Request) -> Value {
    json!({
        "id": request.id,
        "occurred_at": time(request.opened_at),
        "due_at": request.due_at.map(time),
        "area": request.area,
        "department": request.department,
        "description": request.title,
        "address": request.address,
        "latitude": request.latitude,
        "longitude": request.longitude,
        "source": request.source,
    })
}

/// The change of status that closes it; `issue` is what the answer to its report named.
pub fn closing(request: &Request, at: Millis, issue: &str) -> Value {
    json!({
        "id": format!("{}/closed", request.id),
        "issue_id": issue,
        "occurred_at": time(at),
        "status": "closed",
    })
}

fn time(millis: Millis) -> Option<String> {
    Timestamp::from_millisecond(millis).ok().map(|time| time.to_string())
}
