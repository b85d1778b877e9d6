//! Listens to the live stream of incidents while the demo plays, as any client of the API may.

use std::collections::HashMap;
use std::time::Duration;

use reqwest::StatusCode;
use serde::Deserialize;
use tokio::sync::watch;

use crate::families::demonstration::{Demo, Failure, KEY, say};

/// When a node that is starting is asked again.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// How long the stream may be behind the tables.
const BEHIND: Duration = Duration::from_secs(10);

/// What was told, as it stands.
#[derive(Debug, Default, Clone)]
pub(super) struct Told {
    /// Versions and retractions.
    events: usize,
    /// By id, whether it holds.
    incidents: HashMap<String, bool>,
}

impl Told {
    /// How many incidents hold.
    fn standing(&self) -> usize {
        self.incidents.values().filter(|holds| **holds).count()
    }
}

#[derive(Deserialize)]
struct Row {
    id: String,
}

/// Listens from now on, until the stream ends.
pub(super) async fn listen(demo: &Demo) -> Result<watch::Receiver<Told>, Failure> {
    let client = reqwest::Client::new();
    let mut response = loop {
        let request = client.get(format!("{}/v1/incidents/stream", demo.url)).bearer_auth(KEY);
        let response = request.send().await?;
        if response.status() != StatusCode::SERVICE_UNAVAILABLE {
            break response.error_for_status()?;
        }
        // The node does not follow the log yet.
        tokio::time::sleep(POLL_INTERVAL).await;
    };
    let (sender, receiver) = watch::channel(Told::default());
    tokio::spawn(async move {
        let mut buffer = Vec::new();
        while let Ok(Some(chunk)) = response.chunk().await {
            buffer.extend_from_slice(&chunk);
            while let Some(end) = buffer.windows(2).position(|pair| pair == b"\n\n") {
                let block = String::from_utf8_lossy(&buffer[..end]).into_owned();
                buffer.drain(..end + 2);
                let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
                let (Some(kind), Some(data)) = (field("event: "), field("data: ")) else { continue };
                if let Ok(row) = serde_json::from_str::<Row>(data) {
                    sender.send_modify(|told| {
                        told.events += 1;
                        told.incidents.insert(row.id, kind == "incident");
                    });
                }
            }
        }
    });
    Ok(receiver)
}

/// Prints what was told: by now the same incidents as the table has.
pub(super) async fn print(demo: &Demo, mut told: watch::Receiver<Told>) -> Result<(), Failure> {
    let all = demo.count_incidents("").await? as usize;
    let told = tokio::time::timeout(BEHIND, told.wait_for(|told| told.standing() == all)).await;
    let told = told.map_err(|_| format!("the live stream has not told of all {all} incidents"))??.clone();
    let changes = told.events - told.standing();
    say(&format!("Live (GET /v1/incidents/stream): {all} incidents and {changes} corrections as they came."));
    Ok(())
}
