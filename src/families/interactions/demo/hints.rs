//! What to try with the generated sessions: commands to paste, beginning with one of their incidents.

use crate::codec::json;
use crate::engine::Millis;
use crate::families::demonstration::{Demo, Failure, KEY, TENANT};

/// The commands; none while there is no incident to begin with.
pub(super) async fn hints(demo: &Demo) -> Result<String, Failure> {
    let Some((incident, session, started_at)) = example(demo).await? else { return Ok(String::new()) };
    let from = json::time(started_at - 5_000).unwrap_or_default();
    let (url, at) = (&demo.url, demo.at());
    let clickhouse = &demo.config.clickhouse.url;
    let database = &demo.config.clickhouse.database;
    Ok(format!(
        r#"A visitor, generated, clicked in rage: the incident's signals, what happened in the session, and its clicks as the log has them:
  curl -H 'X-Api-Key: {KEY}' '{url}/v1/incidents/{incident}/signals'
  curl -H 'X-Api-Key: {KEY}' '{url}/v1/sessions/{session}/timeline?from={from}&limit=20'
  {at}
  cargo run -- explain {incident} $AT
Tune the rule: what would be found, were it rage only from 4 clicks on? Then put it in force:
  echo '{{"rules": {{"rage_click": {{"count": {{"at_least": 4}}}}}}}}' > four.json
  cargo run -- backtest --family interactions --tenant {TENANT} --settings four.json $AT
  curl -X PUT -H 'X-Api-Key: {KEY}' -H 'Content-Type: application/json' {url}/v1/settings/interactions -d @four.json
Where visitors suffer most:
  curl '{clickhouse}/?database={database}' --data "SELECT rule, element, count() AS signals, uniq(session_id) AS sessions FROM signals_current WHERE element != '' GROUP BY rule, element ORDER BY signals DESC LIMIT 10 FORMAT PrettyCompact"
"#
    ))
}

/// The incident of a rage click that has the least beside it: its id, the id of its session's row, and when it began.
async fn example(demo: &Demo) -> Result<Option<(String, String, Millis)>, Failure> {
    let example = demo.clickhouse().query(
        "SELECT toString(incident.id), toString(session.id), toUnixTimestamp64Milli(incident.started_at) \
         FROM incidents_current AS incident \
         JOIN sessions_current AS session \
         ON session.tenant = incident.tenant AND session.session_id = incident.subject \
         WHERE incident.tenant = ? AND incident.family = 'interactions' \
         AND position(incident.attributes['rules'], 'rage_click') > 0 \
         ORDER BY incident.evidence_count, incident.id LIMIT 1",
    );
    Ok(example.bind(TENANT).fetch_optional().await?)
}
