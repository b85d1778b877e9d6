//! What was found of the generated sessions, beside what was planted in them.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::visitors::Sent;
use crate::engine::Millis;
use crate::families::demonstration::{Demo, Failure, TENANT, say};
use crate::families::interactions::generate::evaluate::{Found, Report, evaluate};

/// How long after a session's last event something may still be found without any more events: in silence its watermark has to pass
/// the 7 s that a dead click waits for an answer, and before that the allowance of 10 s where an event is missing or came
/// late (I3).
const SILENCE: Duration = Duration::from_secs(17);
/// How long the tables may be behind that.
const STORE_TIMEOUT: Duration = Duration::from_secs(20);
/// The pause between two looks at them.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Waits until what can be known is known, and prints it.
pub(super) async fn print(demo: &Demo, sent: &Sent) -> Result<(), Failure> {
    let clickhouse = demo.clickhouse();
    let report = ripe(&clickhouse, sent).await?;
    let (sessions, events) = sessions(&clickhouse, sent).await?;
    say(&format!(
        "Generated browser sessions (tidewatch generate interactions --seed {}): {sessions} sessions, {events} events \
         ({} more came twice).\nWhat the rules found, beside what was planted (table signals_current):",
        sent.seed,
        sent.events.saturating_sub(events),
    ));
    for line in report.to_string().lines() {
        say(&format!("  {line}"));
    }
    if sent.unripe > 0 {
        say(&format!(
            "  Abandoned forms planted besides: {}, whose page nobody left. They are found when their sessions end, after 30\n  \
             minutes of silence: not yet.",
            sent.unripe
        ));
    }
    let mut incidents = Vec::new();
    for severity in ["critical", "high", "medium", "low"] {
        let filters = format!("family=interactions&severity={severity}");
        let count = demo.count_incidents(&filters).await?;
        incidents.extend((count > 0).then(|| format!("{count} {severity}")));
    }
    say(&format!(
        "  Frustration incidents (GET /v1/incidents?family=interactions): {}\n",
        incidents.join(", ")
    ));
    if sessions == sent.sessions() { Ok(()) } else { Err("some sessions are missing".into()) }
}

/// The rules beside the truth, once nothing but the end of a session can add to it; or as it stands, when that takes too long.
async fn ripe(clickhouse: &clickhouse::Client, sent: &Sent) -> Result<Report, Failure> {
    let ripe_at = sent.at + SILENCE;
    loop {
        let now = Instant::now();
        let report = evaluate(&sent.truth, &signals(clickhouse, sent).await?);
        if now >= ripe_at && (report.missed.is_empty() || now >= ripe_at + STORE_TIMEOUT) {
            return Ok(report);
        }
        sleep(POLL_INTERVAL).await;
    }
}

async fn signals(clickhouse: &clickhouse::Client, sent: &Sent) -> Result<Vec<Found>, Failure> {
    let rows: Vec<(String, String, Millis, Millis)> = clickhouse
        .query(
            "SELECT session_id, rule, toUnixTimestamp64Milli(started_at), toUnixTimestamp64Milli(ended_at) \
             FROM signals_current WHERE tenant = ?",
        )
        .bind(TENANT)
        .fetch_all()
        .await?;
    // Data that are kept may hold the sessions of another seed.
    let found = rows.into_iter().filter(|(session_id, ..)| sent.has(session_id));
    let found = found.map(|(session_id, rule, started_at, ended_at)| {
        let (session_id, rule) = (session_id.into(), rule.into());
        Found { session_id, rule, started_at, ended_at }
    });
    Ok(found.collect())
}

/// How many of the sessions there are, and how many events they have.
async fn sessions(clickhouse: &clickhouse::Client, sent: &Sent) -> Result<(usize, usize), Failure> {
    let rows: Vec<(String, u64)> = clickhouse
        .query("SELECT session_id, events FROM sessions_current WHERE tenant = ?")
        .bind(TENANT)
        .fetch_all()
        .await?;
    let events =
        rows.iter().filter(|(session_id, _)| sent.has(session_id)).map(|(_, events)| *events as usize);
    Ok((events.clone().count(), events.sum()))
}
