//! Sends the requests through the HTTP API as a client would: in order, in batches, a closing only once the answer has
//! named the issue that its report opened.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::boston::{Request, Step};
use crate::engine::Millis;
use crate::families::client::{Client, SendError};

/// Events a batch: the API takes 1,000.
const BATCH: usize = 500;
/// Why playing had to end.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    /// The API did not take a batch.
    #[error(transparent)]
    Send(#[from] SendError),
    /// An answer that lacks an issue.
    #[error("the API named no issue for request {0}")]
    NoIssue(String),
}

#[derive(Deserialize)]
struct Accepted {
    index: usize,
    issue_id: Option<String>,
}

/// Sends steps through the API.
pub struct Sender {
    client: Client,
    /// Request id to issue id, as the API answered.
    issues: HashMap<String, String>,
    events: Vec<Value>,
    /// The request of each event of the batch that is a report.
    reports: HashMap<usize, String>,
    unanswered: HashSet<String>,
}

impl Sender {
    /// A sender to the API at `url`, e.g. `http://127.0.0.1:8080`.
    pub fn new(url: &str, key: impl Into<String>) -> Self {
        Self {
            client: Client::new(url, "civic", key),
            issues: HashMap::new(),
            events: Vec::new(),
            reports: HashMap::new(),
            unanswered: HashSet::new(),
        }
    }

    /// Adds a step to the batch; sends it when it is full, or when the step needs an answer to it.
    pub async fn push(&mut self, step: &Step<'_>) -> Result<(), PlayError> {
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
                    self.issues.get(&request.id).ok_or_else(|| PlayError::NoIssue(request.id.clone()))?;
                json!({ "status": closing(request, at, issue) })
            }
        };
        self.events.push(event);
        if self.events.len() == BATCH { self.flush().await } else { Ok(()) }
    }

    /// Sends what has gathered.
    pub async fn flush(&mut self) -> Result<(), PlayError> {
        if self.events.is_empty() {
            return Ok(());
        }
        let body = json!({ "events": self.events }).to_string();
        for accepted in self.client.post::<Accepted>(body.into_bytes()).await? {
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
