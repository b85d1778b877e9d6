use std::time::Duration;

use super::*;

fn load(assignments: &[&str]) -> Result<Config, ConfigError> {
    Config::load(None, &assignments.iter().map(ToString::to_string).collect::<Vec<_>>())
}

#[test]
fn the_defaults_are_allowed() {
    let config = load(&[]).unwrap();
    assert_eq!(config.process.commit_interval, Duration::from_millis(100));
}

#[test]
fn flags_win_over_a_file() {
    let file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    std::fs::write(
        file.path(),
        r#"
        kafka.brokers = "file:1"
        clickhouse.database = "from_file"
        [[api_keys]]
        key = "secret-key"
        tenant = "boston"
        scopes = ["ingest", "read"]
        "#,
    )
    .unwrap();
    let config = Config::load(Some(file.path()), &["kafka.brokers=flag:2".into()]).unwrap();
    assert_eq!(config.kafka.brokers, "flag:2");
    assert_eq!(config.clickhouse.database, "from_file");
    assert!(!format!("{config:?}").contains("secret-key"));
}

#[test]
fn a_key_speaks_for_one_tenant() {
    let file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    let entry = |tenant| format!("[[api_keys]]\nkey = \"secret-key\"\ntenant = \"{tenant}\"\nscopes = []\n");
    std::fs::write(file.path(), entry("a") + &entry("b")).unwrap();
    let message = Config::load(Some(file.path()), &[]).unwrap_err().to_string();
    assert!(message.contains("api_keys[1].key") && !message.contains("secret-key"), "{message}");
}

#[test]
fn a_wrong_setting_is_named_with_its_value() {
    for (assignment, parts) in [
        ("kafka.brokers=nowhere", vec!["kafka.brokers", "nowhere", "host:port"]),
        ("kafka.prefix=a b", vec!["kafka.prefix", "a b"]),
        ("process.commit_interval=soon", vec!["process.commit_interval", "soon", "100ms"]),
        ("process.commit_interval=0ms", vec!["process.commit_interval", "0ns"]),
        ("http.listen=here", vec!["http.listen", "here", "127.0.0.1:8080"]),
        ("sink.batch_rows=0", vec!["sink.batch_rows", "0", "at least 1"]),
        ("sink.batch_rows=many", vec!["sink.batch_rows", "many"]),
        ("kafka.unknown=1", vec!["unknown"]),
        ("ingest.salt=too-short", vec!["ingest.salt", "at least 16"]),
        ("ingest.route_ids=(", vec!["route_ids", "unclosed group"]),
    ] {
        let message = load(&[assignment]).unwrap_err().to_string();
        for part in parts {
            assert!(message.contains(part), "{assignment}: {message:?} lacks {part:?}");
        }
    }
}
