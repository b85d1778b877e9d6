//! Looks whether ClickHouse answers, and whether its tables have what resources answer.

use std::time::Duration;

use clickhouse::{Client, Row};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::live::Live;
use crate::http::Readiness;
use crate::resource::Resource;
use crate::store::describe;

/// How often ClickHouse is asked, and how long it may take to answer.
const INTERVAL: Duration = Duration::from_secs(2);

#[derive(Debug, Row, Deserialize)]
struct Column {
    table: String,
    name: String,
}

/// Looks until `shutdown`. `readiness` is true while ClickHouse answers, from when its tables had all that is answered of them.
pub async fn watch(
    resources: &'static [Resource],
    client: Client,
    live: Live,
    readiness: Readiness,
    shutdown: CancellationToken,
) {
    let mut is_whole = false;
    while !shutdown.is_cancelled() {
        let answer = async {
            if is_whole {
                return client.query("SELECT 1").fetch_one::<u8>().await.map(|_| None);
            }
            lacking(resources, &client).await
        };
        let answer = tokio::time::timeout(INTERVAL, answer).await;
        live.store_answers(matches!(answer, Ok(Ok(_))));
        match answer {
            Ok(Ok(None)) => {
                is_whole = true;
                readiness.set(true, "ClickHouse answers");
            }
            Ok(Ok(Some(lacking))) => readiness.set(false, lacking),
            Ok(Err(error)) => readiness.set(false, format!("ClickHouse: {}", describe(&error))),
            Err(_) => readiness.set(false, "ClickHouse does not answer"),
        }
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = shutdown.cancelled() => {}
        }
    }
}

/// What the views lack that resources answer.
async fn lacking(
    resources: &[Resource],
    client: &Client,
) -> Result<Option<String>, clickhouse::error::Error> {
    let columns = "SELECT ?fields FROM system.columns WHERE database = currentDatabase()";
    let columns: Vec<Column> = client.query(columns).fetch_all().await?;
    Ok(first_lack(resources, &columns))
}

fn first_lack(resources: &[Resource], columns: &[Column]) -> Option<String> {
    resources.iter().find_map(|resource| {
        let view = resource.view();
        let has = |name: &str| columns.iter().any(|column| column.table == view && column.name == name);
        let field = resource.needed().find(|name| !has(name))?;
        Some(format!(
            "the view {view} has no column {field}, which {} answers; is `tidewatch migrate` due?",
            resource.route
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource;

    #[test]
    fn a_view_without_a_column_that_is_answered_is_named() {
        let resources = resource::all().unwrap();
        let columns = |table: String, names: Vec<&str>| {
            names
                .into_iter()
                .map(|name| Column { table: table.clone(), name: name.to_owned() })
                .collect::<Vec<_>>()
        };
        let mut all: Vec<Column> = resources
            .iter()
            .flat_map(|resource| columns(resource.view(), resource.needed().collect()))
            .collect();
        assert_eq!(first_lack(resources, &all), None);
        all.retain(|column| (column.table.as_str(), column.name.as_str()) != ("signals_current", "rule"));
        let lack = first_lack(resources, &all).unwrap();
        assert!(lack.contains("signals_current has no column rule, which /v1/signals answers"), "{lack}");
    }
}
