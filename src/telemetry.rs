//! What the process says of itself: log lines on stderr, and the metrics behind `/metrics`.

use std::io::IsTerminal;
use std::time::Duration;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Layer, fmt};

/// The environment variable that filters log lines, in the form of `RUST_LOG`; it wins over that.
pub const FILTER: &str = "TIDEWATCH_LOG";

/// How often the histograms' samples are moved into their buckets; until then they take memory.
const UPKEEP: Duration = Duration::from_secs(5);

/// Upper bounds of the histograms' buckets, in seconds: from a cache's answer to Kafka's time-out.
const SECONDS: [f64; 13] = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Upper bounds of the buckets of histograms that count rows.
const ROWS: [f64; 6] = [1.0, 10.0, 100.0, 1_000.0, 10_000.0, 100_000.0];

/// Upper bounds of the buckets of histograms that count bytes: to the largest batch.
const BYTES: [f64; 6] = [1e3, 1e4, 1e5, 1e6, 1e7, 1e8];

/// Why telemetry could not begin.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter of log lines is not one.
    #[error(
        "{name} is {value:?}: {source}; expected a form like \"info\" or \"info,tidewatch::ingest=debug\""
    )]
    Filter {
        /// The environment variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// Log lines go elsewhere already.
    #[error("log lines can't be taken over: {0}")]
    Tracing(#[from] TryInitError),
    /// The recorder of metrics could not be installed.
    #[error("metrics can't be recorded: {0}")]
    Metrics(#[from] BuildError),
    /// The thread for upkeep could not be started.
    #[error("the thread that keeps up the metrics can't be started: {0}")]
    Upkeep(#[from] std::io::Error),
}

/// Begins both, once a process. The handle renders the metrics ([`crate::http::Health::router`]).
///
/// Lines are for people on a terminal and JSON otherwise. `TIDEWATCH_LOG`, else `RUST_LOG`, filters
/// them; else it is `filter`.
pub fn start(filter: &str) -> Result<PrometheusHandle, TelemetryError> {
    let filter = environment_filter()?.unwrap_or_else(|| EnvFilter::new(filter));
    let terminal = std::io::stderr().is_terminal();
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = if terminal { lines.boxed() } else { lines.json().flatten_event(true).boxed() };
    tracing_subscriber::registry().with(filter).with(lines).try_init()?;

    let handle = builder()?.install_recorder()?;
    describe();
    let upkeep = handle.clone();
    std::thread::Builder::new().name("metrics-upkeep".to_owned()).spawn(move || {
        loop {
            std::thread::sleep(UPKEEP);
            upkeep.run_upkeep();
        }
    })?;
    Ok(handle)
}

fn environment_filter() -> Result<Option<EnvFilter>, TelemetryError> {
    for name in [FILTER, "RUST_LOG"] {
        if let Ok(value) = std::env::var(name) {
            let filter = value.parse().map_err(|source| TelemetryError::Filter { name, value, source });
            return filter.map(Some);
        }
    }
    Ok(None)
}

/// Histograms have buckets by their unit, the last word of their name.
fn builder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_rows".to_owned()), &ROWS)?
        .set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), &BYTES)
}

/// Every metric of this program, with its unit and meaning.
fn describe() {
    describe_counter!("tidewatch_records_total", "Records of family topics, by family and outcome (I7).");
    describe_counter!("tidewatch_marks_total", "Marks appended because a timer was due in silence (I4).");
    describe_counter!(
        "tidewatch_worker_restarts_total",
        "Times a worker let go and began again from what is committed."
    );
    describe_histogram!(
        "tidewatch_commit_seconds",
        Unit::Seconds,
        "From the begin of a transaction's commit to its end."
    );
    describe_counter!("tidewatch_sink_rows_total", "Rows that a table has acknowledged, repeats included.");
    describe_histogram!("tidewatch_sink_batch_rows", "Rows of an insert, by table.");
    describe_histogram!("tidewatch_sink_batch_bytes", Unit::Bytes, "Bytes of an insert, by table.");
    describe_histogram!("tidewatch_sink_insert_seconds", Unit::Seconds, "How long an insert took, by table.");
    describe_counter!(
        "tidewatch_sink_retries_total",
        "Writes that failed and are tried again, by where they go."
    );
    describe_counter!(
        "tidewatch_sink_undecodable_total",
        "Records that could not be read or do not fit their table, by topic."
    );
    describe_counter!(
        "tidewatch_sink_refused_rows_total",
        "Rows that ClickHouse refused and that went to the dead letters, by table."
    );
    describe_gauge!(
        "tidewatch_lag_records",
        "Records that a group has not come to, by group, topic and partition; a few marks of transactions are left at rest."
    );
    describe_gauge!(
        "tidewatch_undecided_records",
        "Records behind the last stable offset, by topic and partition: open transactions hold their readers back."
    );
    describe_gauge!("tidewatch_state_keys", "Keys that a worker holds in memory, by family and partition.");
    describe_histogram!(
        "tidewatch_restore_seconds",
        Unit::Seconds,
        "From taking a partition over to having its state."
    );
    describe_counter!(
        "tidewatch_restored_records_total",
        "Records of changelogs that were read to restore state."
    );
    describe_counter!("tidewatch_aborts_total", "Transactions that a worker ended without their outputs.");
    describe_counter!(
        "tidewatch_slow_commits_total",
        "Commits for whose records the broker took longer than 100 ms."
    );
    describe_counter!(
        "tidewatch_cache_lookups_total",
        "Reads of rows and lists, by of what and whether it was known."
    );
    describe_gauge!(
        "tidewatch_cache_bytes",
        Unit::Bytes,
        "What the rows that were seen on the log take in memory."
    );
    describe_gauge!("tidewatch_ready", "1 where the part of the process is ready, else 0.");
    describe_counter!("tidewatch_http_requests_total", "Requests answered, by route, method and status.");
    describe_histogram!(
        "tidewatch_http_request_seconds",
        Unit::Seconds,
        "From a request's head to its answer's, by route, method and status."
    );
    describe_gauge!("tidewatch_http_in_flight", "Requests at work.");
    describe_gauge!("tidewatch_http_streams", "Live streams that are open.");
    describe_counter!("tidewatch_http_refused_total", "Requests answered with an error body, by its code.");
    describe_counter!("tidewatch_ingest_accepted_total", "Events that Kafka holds, by family.");
    describe_counter!(
        "tidewatch_ingest_rejected_total",
        "Events, or requests that never became events, that were refused, by the error's code."
    );
    describe_histogram!(
        "tidewatch_ingest_delivery_seconds",
        Unit::Seconds,
        "From the first record of a request handed to Kafka's client to the last acknowledgement."
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_have_buckets() {
        let recorder = builder().unwrap().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            describe();
            metrics::histogram!("tidewatch_ingest_delivery_seconds").record(0.003);
        });
        let text = handle.render();
        assert!(text.contains("tidewatch_ingest_delivery_seconds_bucket{le=\"0.005\"} 1"), "{text}");
        assert!(text.contains("# HELP tidewatch_ingest_delivery_seconds From the first"), "{text}");
    }
}
