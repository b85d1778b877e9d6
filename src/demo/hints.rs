//! Where to look and what to try while the demo is up: commands to paste.

use super::frustration::Example;
use super::{KEY, TENANT, say};
use crate::config::Config;

/// Prints where everything is, and what to try with the city's requests.
pub(super) fn print(config: &Config, url: &str) {
    let clickhouse = &config.clickhouse.url;
    let database = &config.clickhouse.database;
    let brokers = &config.kafka.brokers;
    say(&format!(
        r#"Up until Ctrl-C:
  Page        {url}/#key={KEY}
  API         {url}   (key: {KEY})    health: {url}/readyz    metrics: {url}/metrics
  ClickHouse  {clickhouse}   database {database}
  Kafka       {brokers}

Three queries to try:
  curl -H 'X-Api-Key: {KEY}' '{url}/v1/sla?by=department'
  curl -H 'X-Api-Key: {KEY}' '{url}/v1/incidents?rule=sla_breach&attribute.due_source=reported&open=true&limit=3'
  curl '{clickhouse}/?database={database}' --data "SELECT area, round(100 * avg(met), 1) AS compliance, count() AS closed FROM sla_metrics_current GROUP BY area ORDER BY closed DESC FORMAT PrettyCompact"

Look back: what would have been, were a report without a due time due after a day; why an incident is what it is, by its id:
  AT='--set kafka.brokers={brokers} --set clickhouse.url={clickhouse}'
  echo '{{"allowance": "0s", "default_due": "24h"}}' > day.json
  cargo run -- backtest --family civic --tenant {TENANT} --settings day.json $AT
  cargo run -- settings set --family civic --tenant {TENANT} day.json $AT      # live: what is not final yet follows
  cargo run -- explain ID $AT

Open a report that is due in 10 s, and watch it breach:
  curl -H 'X-Api-Key: {KEY}' -H 'Content-Type: application/json' {url}/v1/reports -d "{{\"description\": \"Broken bench\", \"area\": \"Try it\", \"due_at\": \"$(date -u -d '+10 seconds' +%FT%TZ)\"}}"
  watch -n 1 "curl -s -H 'X-Api-Key: {KEY}' '{url}/v1/incidents?rule=sla_breach&attribute.area=Try%20it'""#
    ));
}

/// Prints what to try with the generated sessions, beginning with one of their incidents.
pub(super) fn print_of_sessions(config: &Config, url: &str, example: &Example) {
    let clickhouse = &config.clickhouse.url;
    let database = &config.clickhouse.database;
    let brokers = &config.kafka.brokers;
    let Example { incident, session, from } = example;
    say(&format!(
        r#"A visitor, generated, clicked in rage: the incident's signals, what happened in the session, and its clicks as the log has them:
  curl -H 'X-Api-Key: {KEY}' '{url}/v1/incidents/{incident}/signals'
  curl -H 'X-Api-Key: {KEY}' '{url}/v1/sessions/{session}/timeline?from={from}&limit=20'
  AT='--set kafka.brokers={brokers} --set clickhouse.url={clickhouse}'
  cargo run -- explain {incident} $AT
Tune the rule: what would be found, were it rage only from 4 clicks on? Then put it in force:
  echo '{{"rules": {{"rage_click": {{"count": {{"at_least": 4}}}}}}}}' > four.json
  cargo run -- backtest --family interactions --tenant {TENANT} --settings four.json $AT
  curl -X PUT -H 'X-Api-Key: {KEY}' -H 'Content-Type: application/json' {url}/v1/settings/interactions -d @four.json
Where visitors suffer most:
  curl '{clickhouse}/?database={database}' --data "SELECT rule, element, count() AS signals, uniq(session_id) AS sessions FROM signals_current WHERE element != '' GROUP BY rule, element ORDER BY signals DESC LIMIT 10 FORMAT PrettyCompact"
"#
    ));
}
