//! What to try with the city's requests: commands to paste.

use crate::families::demonstration::{Demo, KEY, TENANT};

pub(super) fn hints(demo: &Demo) -> String {
    let (url, at) = (&demo.url, demo.at());
    let clickhouse = &demo.config.clickhouse.url;
    let database = &demo.config.clickhouse.database;
    format!(
        r#"Three queries to try:
  curl -H 'X-Api-Key: {KEY}' '{url}/v1/sla?by=department'
  curl -H 'X-Api-Key: {KEY}' '{url}/v1/incidents?rule=sla_breach&attribute.due_source=reported&open=true&limit=3'
  curl '{clickhouse}/?database={database}' --data "SELECT area, round(100 * avg(met), 1) AS compliance, count() AS closed FROM sla_metrics_current GROUP BY area ORDER BY closed DESC FORMAT PrettyCompact"

Look back: what would have been, were a report without a due time due after a day; why an incident is what it is, by its id:
  {at}
  echo '{{"allowance": "0s", "default_due": "24h"}}' > day.json
  cargo run -- backtest --family civic --tenant {TENANT} --settings day.json $AT
  cargo run -- settings set --family civic --tenant {TENANT} day.json $AT      # live: what is not final yet follows
  cargo run -- explain ID $AT

Open a report that is due in 10 s, and watch it breach:
  curl -H 'X-Api-Key: {KEY}' -H 'Content-Type: application/json' {url}/v1/reports -d "{{\"description\": \"Broken bench\", \"area\": \"Try it\", \"due_at\": \"$(date -u -d '+10 seconds' +%FT%TZ)\"}}"
  watch -n 1 "curl -s -H 'X-Api-Key: {KEY}' '{url}/v1/incidents?rule=sla_breach&attribute.area=Try%20it'"
"#
    )
}
