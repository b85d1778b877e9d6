//! What was found of the city's requests, asked of the API and of ClickHouse, beside the city's own labels.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

use super::boston;
use crate::families::demonstration::{Demo, Failure, TENANT, say};

#[derive(Deserialize)]
struct Sla {
    rows: Vec<Department>,
}

#[derive(Deserialize)]
struct Department {
    department: Option<String>,
    reported: Compliance,
}

#[derive(Deserialize)]
struct Compliance {
    closed: u64,
    met: u64,
}

/// Prints the findings.
pub(super) async fn print(demo: &Demo, files: &Path) -> Result<(), Failure> {
    let sla: Sla = demo.get("/v1/sla?by=department").await?;
    let all = count_breaches(demo, "&attribute.due_source=reported").await?;
    let open = count_breaches(demo, "&attribute.due_source=reported&open=true").await?;

    let closed: u64 = sla.rows.iter().map(|row| row.reported.closed).sum();
    let met: u64 = sla.rows.iter().map(|row| row.reported.met).sum();
    say("What the API says of the requests with a due time of their own (GET /v1/sla?by=department):");
    say(&format!(
        "  {:<12} {:>8} {:>8} {:>8} {:>11}",
        "department", "closed", "on time", "overdue", "compliance"
    ));
    for row in sla.rows.iter().filter(|row| row.reported.closed > 0) {
        let name = row.department.as_deref().unwrap_or("(none)");
        say(&line(name, row.reported.closed, row.reported.met));
    }
    say(&line("all", closed, met));
    say(&format!("  SLA-breach incidents: {all}, of them still open: {open}\n"));

    let clickhouse = demo.clickhouse();
    let (sql_closed, sql_met): (u64, u64) = clickhouse
        .query("SELECT count(), countIf(met) FROM sla_metrics_current WHERE tenant = ? AND due_source = 'reported'")
        .bind(TENANT)
        .fetch_one()
        .await?;
    let (sql_all, sql_open): (u64, u64) = clickhouse
        .query(
            "SELECT count(), countIf(ended_at IS NULL) FROM incidents_current \
             WHERE tenant = ? AND rule = 'sla_breach' AND attributes['due_source'] = 'reported'",
        )
        .bind(TENANT)
        .fetch_one()
        .await?;
    let same = (sql_closed, sql_met, sql_all, sql_open) == (closed, met, all, open);
    say(&format!(
        "ClickHouse by SQL: {sql_closed} closed, {sql_met} on time, {} overdue; {sql_all} breaches, {sql_open} open: {}.",
        sql_closed - sql_met,
        if same { "the same" } else { "NOT THE SAME" },
    ));
    let verdicts: Vec<(String, bool)> = clickhouse
        .query(
            "SELECT event.event_id, toBool(met) FROM sla_metrics_current AS metric \
             JOIN civic_events_current AS event \
             ON log_partition = evidence_partition AND log_offset = evidence_offsets[1] \
             WHERE metric.tenant = ? AND due_source = 'reported'",
        )
        .bind(TENANT)
        .fetch_all()
        .await?;
    compare(&verdicts, files)?;
    if same { Ok(()) } else { Err("the API and ClickHouse disagree".into()) }
}

/// How many breaches the API knows, under further filters.
pub(super) async fn count_breaches(demo: &Demo, filters: &str) -> Result<u64, Failure> {
    demo.count_incidents(&format!("rule=sla_breach{filters}")).await
}

fn line(name: &str, closed: u64, met: u64) -> String {
    let compliance = if closed == 0 { 0.0 } else { 100.0 * met as f64 / closed as f64 };
    format!("  {name:<12} {closed:>8} {met:>8} {:>8} {compliance:>10.1}%", closed - met)
}

/// The only place that opens the city's labels.
fn compare(verdicts: &[(String, bool)], files: &Path) -> Result<(), Failure> {
    let labels: HashMap<String, bool> =
        boston::labels(&files.join("2011-07_truth.csv"))?.into_iter().collect();
    let labelled: Vec<bool> =
        verdicts.iter().filter_map(|(id, met)| labels.get(id).map(|label| label == met)).collect();
    let agree = labelled.iter().filter(|agrees| **agrees).count();
    say(&format!(
        "The city's own labels: {agree} of {} agree; {} closings are unlabelled.\n",
        labelled.len(),
        verdicts.len() - labelled.len(),
    ));
    Ok(())
}
