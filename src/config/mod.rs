//! Settings of a process: defaults < file < environment (`TIDEWATCH_…`) < flags, checked at start. Those of operators are
//! in the log: [`settings`](crate::settings).
//!
//! A file is TOML with the sections below. `TIDEWATCH_KAFKA__BROKERS=a:9092` sets `kafka.brokers`;
//! `--set kafka.brokers=a:9092` does so on the command line.

mod check;
mod duration;
mod secret;
mod sections;

use std::collections::HashMap;
use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

pub use self::check::{check_tenant, tenant};
pub use self::duration::{DURATION, duration_schema, parse_duration};
pub use self::secret::Secret;
pub use self::sections::{
    ApiKeyConfig, ClickHouseConfig, HttpConfig, IngestConfig, KafkaConfig, ProcessConfig, QUERY_ALLOW, Scope,
    ServeConfig, SinkConfig,
};

/// A setting that is wrong: which, what it is, and what is allowed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not readable as settings: an unknown name, a wrong type, a file that is not TOML.
    #[error("settings: {0}")]
    Unreadable(#[from] config::ConfigError),
    /// Readable, but not allowed.
    #[error("setting {name} is {value:?}: {allowed}")]
    NotAllowed {
        /// Its dotted name.
        name: String,
        /// Its value, masked where it is secret.
        value: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// A `--set` that is not of the form `name=value`.
    #[error("--set {0:?}: expected NAME=VALUE, for example --set kafka.brokers=localhost:9092")]
    NotAnAssignment(String),
}

/// All settings of a process.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The Kafka cluster that holds the log.
    pub kafka: KafkaConfig,
    /// The ClickHouse server that holds the tables.
    pub clickhouse: ClickHouseConfig,
    /// The HTTP listener of the process.
    pub http: HttpConfig,
    /// The role `ingest`: how events are taken in and cleaned.
    pub ingest: IngestConfig,
    /// The role `process`: the workers that fold the family topics.
    pub process: ProcessConfig,
    /// The role `sink`: how the tables are written.
    pub sink: SinkConfig,
    /// The role `serve`: the read API.
    pub serve: ServeConfig,
    /// The API keys, each an entry `[[api_keys]]` of the file with its tenant and scopes. By default there are none.
    #[serde(default)]
    pub api_keys: Vec<ApiKeyConfig>,
}

const DEFAULTS: &str = r#"
    [kafka]
    brokers = "localhost:9092"
    prefix = ""
    replication = 1

    [clickhouse]
    url = "http://localhost:8123"
    database = "tidewatch"
    user = "default"
    password = ""

    [http]
    listen = "127.0.0.1:8080"
    request_timeout = "30s"
    concurrent_requests = 512
    concurrent_streams = 1024

    [ingest]
    delivery_timeout = "10s"

    [process]
    instance = "0"
    commit_interval = "100ms"
    commit_outputs = 20000
    commit_bytes = 16777216
    session_timeout = "10s"
    threads = 1
    checkpoint_bytes = 67108864

    [sink]
    batch_rows = 200000
    batch_bytes = 33554432
    batch_age = "1s"
    session_timeout = "10s"

    [serve]
    cache_bytes = 67108864
"#;

impl Config {
    /// Reads and checks the settings: defaults, then `file`, then the environment, then `assignments`
    /// (`name=value`).
    pub fn load(file: Option<&Path>, assignments: &[String]) -> Result<Self, ConfigError> {
        let mut builder = defaults_and(file).add_source(
            config::Environment::with_prefix("TIDEWATCH")
                .prefix_separator("_")
                .separator("__")
                .source(Some(environment()?))
                .try_parsing(true),
        );
        for assignment in assignments {
            let (name, value) =
                assignment.split_once('=').ok_or_else(|| ConfigError::NotAnAssignment(assignment.clone()))?;
            builder = builder.set_override(name, value)?;
        }
        let config: Self = builder.build()?.try_deserialize()?;
        config.check()?;
        Ok(config)
    }

    /// The defaults, whatever the environment says.
    ///
    /// # Errors
    /// They can't be read: a fault of the program.
    pub fn defaults() -> Result<serde_json::Value, ConfigError> {
        Ok(defaults_and(None).build()?.try_deserialize()?)
    }

    /// What is allowed of a setting, as it is said where `value` is refused; `None` where it is not.
    pub fn allowed(name: &str, value: &str) -> Option<&'static str> {
        let config = defaults_and(None).set_override(name, value).ok()?.build().ok()?;
        match config.try_deserialize::<Self>().ok()?.check() {
            Err(ConfigError::NotAllowed { name: refused, allowed, .. }) if refused == name => Some(allowed),
            _ => None,
        }
    }
}

type Builder = config::ConfigBuilder<config::builder::DefaultState>;

fn defaults_and(file: Option<&Path>) -> Builder {
    let defaults = config::File::from_str(DEFAULTS, config::FileFormat::Toml);
    let builder = config::Config::builder().add_source(defaults);
    match file {
        Some(path) => builder.add_source(config::File::from(path).format(config::FileFormat::Toml)),
        None => builder,
    }
}

/// Names the file of settings, on the command line and in the environment.
pub const FILE: &str = "TIDEWATCH_CONFIG";

/// Names the folder of what the local stack has fetched: no setting of a process.
const CACHE: &str = "TIDEWATCH_CACHE";

/// Settings of the environment: without the filter of log lines, which is `telemetry`'s, the name of the file, and the cache's.
fn environment() -> Result<HashMap<String, String>, ConfigError> {
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let mut settings = HashMap::new();
    for (name, value) in variables {
        let Some(setting) = name.strip_prefix("TIDEWATCH_") else { continue };
        if [crate::telemetry::FILTER, FILE, CACHE].contains(&&*name) {
            continue;
        }
        if !setting.contains("__") {
            let allowed = "a setting of the environment is TIDEWATCH_SECTION__NAME, for example \
                           TIDEWATCH_KAFKA__BROKERS";
            return Err(ConfigError::NotAllowed { name, value: "***".to_owned(), allowed });
        }
        settings.insert(name, value);
    }
    Ok(settings)
}

#[cfg(test)]
mod tests;
