//! What settings may be.

use std::time::Duration;

use super::{Config, ConfigError};

impl Config {
    /// Checks what the types of the settings allow, but their meaning does not.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let refuse = |name: &str, value: String, allowed| {
            Err(ConfigError::NotAllowed { name: name.to_owned(), value, allowed })
        };
        if self.kafka.brokers.split(',').any(|broker| !is_host_and_port(broker.trim())) {
            return refuse(
                "kafka.brokers",
                self.kafka.brokers.clone(),
                "expected host:port, several with commas between",
            );
        }
        if self.kafka.replication < 1 {
            return refuse("kafka.replication", self.kafka.replication.to_string(), "expected at least 1");
        }
        let prefix_is_legal =
            self.kafka.prefix.len() <= 100 && self.kafka.prefix.chars().all(is_topic_character);
        if !prefix_is_legal {
            return refuse(
                "kafka.prefix",
                self.kafka.prefix.clone(),
                "at most 100 of letters, digits, '.', '_' and '-' are allowed",
            );
        }
        if !self.clickhouse.url.starts_with("http://") && !self.clickhouse.url.starts_with("https://") {
            return refuse(
                "clickhouse.url",
                self.clickhouse.url.clone(),
                "expected http://host:port or https://host:port",
            );
        }
        let database = &self.clickhouse.database;
        if database.is_empty() || !database.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return refuse("clickhouse.database", database.clone(), "letters, digits and '_' are allowed");
        }
        if self.process.instance.is_empty() || !self.process.instance.chars().all(is_topic_character) {
            return refuse(
                "process.instance",
                self.process.instance.clone(),
                "letters, digits, '.', '_' and '-' are allowed",
            );
        }
        if !(1..=64).contains(&self.process.threads) {
            return refuse("process.threads", self.process.threads.to_string(), "expected 1 to 64");
        }
        let [millisecond, second, minute] = [1, 1_000, 60_000].map(Duration::from_millis);
        for (name, value, least, most, allowed) in [
            // A transaction that gathers for longer would be ended by the broker's time-out of 15 s.
            (
                "process.commit_interval",
                self.process.commit_interval,
                millisecond,
                10 * second,
                "expected 1ms to 10s",
            ),
            (
                "process.session_timeout",
                self.process.session_timeout,
                second,
                5 * minute,
                "expected 1s to 5min",
            ),
            ("sink.session_timeout", self.sink.session_timeout, second, 5 * minute, "expected 1s to 5min"),
            ("sink.batch_age", self.sink.batch_age, millisecond, 5 * minute, "expected 1ms to 5min"),
            (
                "ingest.delivery_timeout",
                self.ingest.delivery_timeout,
                100 * millisecond,
                5 * minute,
                "expected 100ms to 5min",
            ),
            (
                "http.request_timeout",
                self.http.request_timeout,
                100 * millisecond,
                5 * minute,
                "expected 100ms to 5min, and more than ingest.delivery_timeout",
            ),
        ] {
            if value < least || value > most {
                return refuse(name, format!("{value:?}"), allowed);
            }
        }
        if self.http.request_timeout <= self.ingest.delivery_timeout {
            return refuse(
                "http.request_timeout",
                format!("{:?}", self.http.request_timeout),
                "expected more than ingest.delivery_timeout",
            );
        }
        for (name, value) in [
            ("http.concurrent_requests", self.http.concurrent_requests),
            ("http.concurrent_streams", self.http.concurrent_streams),
            ("process.commit_outputs", self.process.commit_outputs),
            ("process.commit_bytes", self.process.commit_bytes),
            ("sink.batch_rows", self.sink.batch_rows),
            ("sink.batch_bytes", self.sink.batch_bytes),
            ("serve.cache_bytes", self.serve.cache_bytes),
        ] {
            if value == 0 {
                return refuse(name, value.to_string(), "expected at least 1");
            }
        }
        if self.ingest.salt.as_ref().is_some_and(|salt| salt.expose().len() < 16) {
            return refuse("ingest.salt", "***".into(), "expected at least 16 characters");
        }
        for (index, key) in self.api_keys.iter().enumerate() {
            if key.key.expose().len() < 4 {
                return refuse(
                    &format!("api_keys[{index}].key"),
                    "***".into(),
                    "expected at least 4 characters",
                );
            }
            if self.api_keys[..index].iter().any(|other| other.key == key.key) {
                return refuse(
                    &format!("api_keys[{index}].key"),
                    "***".into(),
                    "expected a key that no entry before it has",
                );
            }
            if let Err(allowed) = check_tenant(&key.tenant) {
                return refuse(&format!("api_keys[{index}].tenant"), key.tenant.clone(), allowed);
            }
        }
        Ok(())
    }
}

/// Reads a tenant's name, on a command line.
pub fn tenant(name: &str) -> Result<String, &'static str> {
    check_tenant(name).map(|()| name.to_owned())
}

/// Whether a tenant may be named so; if not, what is allowed.
pub fn check_tenant(name: &str) -> Result<(), &'static str> {
    if (1..=64).contains(&name.len()) && name.chars().all(is_topic_character) {
        Ok(())
    } else {
        Err("1 to 64 of letters, digits, '.', '_' and '-' are allowed")
    }
}

fn is_topic_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-')
}

fn is_host_and_port(broker: &str) -> bool {
    broker.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}
