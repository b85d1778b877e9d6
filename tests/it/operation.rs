//! What an operator of the system sees: health, metrics, refusals at start, an orderly end.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::Command;

use serde_json::json;

use crate::expected;
use crate::system::{BINARY, KEY, System, eventually};

/// Every role has the three routes, is ready when it works, and ends well on SIGTERM.
#[tokio::test(flavor = "multi_thread")]
async fn every_role_tells_its_health_and_drains() {
    let system = System::new("").await;
    for role in ["ingest", "process", "sink", "serve"] {
        let process = system.start_ready(role, &[]).await;
        for (path, part) in [("/livez", ""), ("/readyz", ""), ("/metrics", "tidewatch_")] {
            let response = reqwest::get(format!("{}{path}", process.url)).await.unwrap();
            assert_eq!(response.status(), 200, "{role} {path}");
            assert!(response.text().await.unwrap().contains(part), "{role} {path}");
        }
        let ended = process.terminate().await;
        assert!(ended.success(), "{role}: {ended}");
    }
}

/// SIGTERM commits what is folded: nobody has to come after for it to be seen, and who comes finds nothing to repeat.
#[tokio::test(flavor = "multi_thread")]
async fn i5_sigterm_drains() {
    let system = System::new("").await;
    let ingest = system.start_ready("ingest", &[]).await;
    let worker = system.start_ready("process", &["process.commit_interval=10s"]).await;
    let report = |index: usize| {
        json!({ "report": { "description": index.to_string(), "area": (index % 7).to_string(),
            "occurred_at": "2024-01-01T00:00:00Z", "due_at": "2023-12-31T00:00:00Z" } })
    };
    let events: Vec<_> = (0..500).map(report).collect();
    let (status, _) = ingest.post(KEY, "/v1/civic", &json!({ "events": events })).await;
    assert_eq!(status, 202);
    let count = |records: BTreeMap<i32, Vec<_>>| records.values().map(Vec::len).sum::<usize>();
    eventually("all outputs, committed or not", async || {
        (count(system.read_uncommitted("incidents")) >= 500).then_some(())
    })
    .await;
    assert!(worker.terminate().await.success());
    // What is committed is seen a moment later, and nobody is left who could commit more.
    let is_committed = async || (count(system.read_committed("incidents")) == 500).then_some(());
    eventually("all outputs, committed", is_committed).await;
    assert!(ingest.terminate().await.success());
    let next = system.start_ready("process", &[]).await;
    system.folded().await;
    assert!(next.terminate().await.success());
    expected::assert_exactly_once(&system, &expected::rows(&system), "incidents");
}

/// A process that can't listen ends, and names the address; it doesn't live on with partitions that nobody sees.
#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_ends_the_start() {
    let system = System::new("").await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("http.listen={}", taken.local_addr().unwrap());
    for role in ["process", "sink", "all"] {
        let ended = system.start(role, &[&listen]).ended().await;
        assert!(!ended.success(), "{role}: {ended}");
    }
}

/// A wrong setting ends the start, with its name, its value and what is allowed.
#[test]
fn a_wrong_setting_is_refused_at_start() {
    for (arguments, parts) in [
        (["process", "--set", "kafka.brokers=nowhere"], vec!["kafka.brokers", "nowhere", "host:port"]),
        (["sink", "--set", "sink.batch_rows=0"], vec!["sink.batch_rows", "at least 1"]),
        (["serve", "--set", "serve.speed=9"], vec!["serve"]),
        (["process", "--threads", "0"], vec!["process.threads", "0", "1 to 64"]),
    ] {
        let output = Command::new(BINARY).args(arguments).output().unwrap();
        assert!(!output.status.success());
        let text = String::from_utf8(output.stderr).unwrap();
        for part in parts {
            assert!(text.contains(part), "{arguments:?}: {text}");
        }
    }
}

#[test]
fn the_environment_names_the_file_and_settings() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = folder.path().join("tidewatch.toml");
    std::fs::write(&file, "http.listen = \"from the file\"").unwrap();
    for (name, value, part) in [
        ("TIDEWATCH_CONFIG", file.to_str().unwrap(), "\"from the file\": expected an address"),
        ("TIDEWATCH_HTTP__LISTEN", "from the variable", "\"from the variable\": expected an address"),
        ("TIDEWATCH_FOO", "1", "TIDEWATCH_FOO"),
    ] {
        let output = Command::new(BINARY).arg("serve").env(name, value).output().unwrap();
        assert!(!output.status.success());
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(part), "{name}: {text}");
    }
}
