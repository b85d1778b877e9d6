//! Settings of a process: defaults < file < environment (`TIDEWATCH_…`) < flags, checked at start. Those of operators are
//! in the log: [`settings`](crate::settings).
//!
//! A file is TOML with the sections below. `TIDEWATCH_KAFKA__BROKERS=a:9092` sets `kafka.brokers`;
//! `--set kafka.brokers=a:9092` does so on the command line.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use regex::Regex;
use serde::{Deserialize, Deserializer};

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
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The log.
    pub kafka: KafkaConfig,
    /// The analysts' store.
    pub clickhouse: ClickHouseConfig,
    /// This process's HTTP listener.
    pub http: HttpConfig,
    /// Limits of what comes in.
    pub ingest: IngestConfig,
    /// The folding worker.
    pub process: ProcessConfig,
    /// The writer of tables.
    pub sink: SinkConfig,
    /// The read API.
    pub serve: ServeConfig,
    /// Who may do what.
    #[serde(default)]
    pub api_keys: Vec<ApiKeyConfig>,
}

/// Section `kafka`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaConfig {
    /// Bootstrap servers, `host:port,host:port`.
    pub brokers: String,
    /// Put before every topic, group and transactional id, so that several systems share a cluster.
    pub prefix: String,
    /// Replicas of the topics that are created.
    pub replication: i32,
    /// Further settings of librdkafka, by their own names (TLS, SASL …); in a file only, for the names have dots.
    #[serde(default)]
    pub client: BTreeMap<String, Secret>,
}

/// Section `clickhouse`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClickHouseConfig {
    /// Its HTTP endpoint.
    pub url: String,
    /// The database that holds the tables.
    pub database: String,
    /// User.
    pub user: String,
    /// Password.
    pub password: Secret,
}

/// Section `http`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    /// Where this process listens: `/livez`, `/readyz`, `/metrics`, and the routes of its roles.
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
    /// How long an answer may take before it is 503.
    #[serde(deserialize_with = "duration")]
    pub request_timeout: Duration,
    /// Requests that are at work at once; those beyond are answered with 503 immediately.
    pub concurrent_requests: usize,
    /// Live streams that are open at once, which don't count as requests at work.
    pub concurrent_streams: usize,
}

/// Section `ingest`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IngestConfig {
    /// How long Kafka may take to acknowledge before the answer is 503.
    #[serde(deserialize_with = "duration")]
    pub delivery_timeout: Duration,
    /// The secret with which ids of users are hashed: the same for all processes of a system, and for good. Without one each
    /// process makes its own: hashes can't be compared beyond it, but nobody can guess users from them either.
    #[serde(default)]
    pub salt: Option<Secret>,
    /// Names of parameters of a URL's query whose values enter the log, with commas between.
    #[serde(default = "query_allow")]
    pub query_allow: String,
    /// A regular expression: a segment of a path that it matches as a whole is an id, besides those that look like one.
    #[serde(default, deserialize_with = "whole_pattern")]
    pub route_ids: Option<Regex>,
}

impl Default for IngestConfig {
    fn default() -> Self {
        let delivery_timeout = Duration::from_secs(10);
        Self { delivery_timeout, salt: None, query_allow: query_allow(), route_ids: None }
    }
}

/// The default of [`IngestConfig::query_allow`].
pub const QUERY_ALLOW: &str =
    "page,tab,sort,order,view,lang,locale,utm_source,utm_medium,utm_campaign,utm_content,utm_term";

fn query_allow() -> String {
    QUERY_ALLOW.to_owned()
}

/// Section `process`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessConfig {
    /// Name of this instance, part of its transactional id: stable over restarts, its own among all instances.
    pub instance: String,
    /// How long a transaction gathers, from the end of the last one.
    #[serde(deserialize_with = "duration")]
    pub commit_interval: Duration,
    /// A transaction closes at so many rows.
    pub commit_outputs: usize,
    /// A transaction closes at so many bytes of rows.
    pub commit_bytes: usize,
    /// Silence after which the group gives this worker's partitions to another.
    #[serde(deserialize_with = "duration")]
    pub session_timeout: Duration,
    /// Workers in this process, each a thread with clients of its own.
    pub threads: usize,
    /// A folder for local copies of the state, which shorten a restart; without one the changelog alone is read.
    #[serde(default)]
    pub state_dir: Option<PathBuf>,
    /// How often local copies are written; also when partitions are handed over, and at the end.
    #[serde(deserialize_with = "duration")]
    pub snapshot_interval: Duration,
}

/// Section `sink`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SinkConfig {
    /// A batch closes at so many rows.
    pub batch_rows: usize,
    /// A batch closes at so many bytes.
    pub batch_bytes: usize,
    /// A batch closes at this age.
    #[serde(deserialize_with = "duration")]
    pub batch_age: Duration,
    /// Silence after which the group gives this sink's partitions to another.
    #[serde(deserialize_with = "duration")]
    pub session_timeout: Duration,
}

/// Section `serve`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServeConfig {
    /// What rows that were seen on the log may take in memory, about.
    pub cache_bytes: usize,
}

/// One of `api_keys`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyConfig {
    /// The key itself.
    pub key: Secret,
    /// The tenant for which it speaks.
    pub tenant: String,
    /// What it may do.
    #[serde(deserialize_with = "scopes")]
    pub scopes: Vec<Scope>,
}

/// What an API key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Send events.
    Ingest,
    /// Read what became of them.
    Read,
    /// Change settings.
    Admin,
}

impl Scope {
    const ALL: [Self; 3] = [Self::Ingest, Self::Read, Self::Admin];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("\"***\"")
    }
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
    snapshot_interval = "5m"

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

    fn check(&self) -> Result<(), ConfigError> {
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
        // A transaction that gathers for longer would be ended by the broker's time-out of 15 s.
        if self.process.commit_interval > Duration::from_secs(10) {
            return refuse(
                "process.commit_interval",
                format!("{:?}", self.process.commit_interval),
                "expected at most 10 s",
            );
        }
        for (name, value, least) in [
            ("process.commit_interval", self.process.commit_interval, Duration::from_millis(1)),
            ("process.session_timeout", self.process.session_timeout, Duration::from_secs(1)),
            ("sink.session_timeout", self.sink.session_timeout, Duration::from_secs(1)),
            ("sink.batch_age", self.sink.batch_age, Duration::from_millis(1)),
            ("ingest.delivery_timeout", self.ingest.delivery_timeout, Duration::from_millis(100)),
            ("http.request_timeout", self.http.request_timeout, Duration::from_millis(100)),
        ] {
            if value < least || value > Duration::from_secs(300) {
                return refuse(
                    name,
                    format!("{value:?}"),
                    "expected at most 5 minutes, and no less than 1 s for a session, 100 ms for a delivery or a request, 1 ms else",
                );
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

type Builder = config::ConfigBuilder<config::builder::DefaultState>;

fn defaults_and(file: Option<&Path>) -> Builder {
    let defaults = config::File::from_str(DEFAULTS, config::FileFormat::Toml);
    let builder = config::Config::builder().add_source(defaults);
    match file {
        Some(path) => builder.add_source(config::File::from(path).format(config::FileFormat::Toml)),
        None => builder,
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

/// Names the file of settings, on the command line and in the environment.
pub const FILE: &str = "TIDEWATCH_CONFIG";

/// Names the folder of what the local stack has fetched: no setting of a process.
const CACHE: &str = "TIDEWATCH_CACHE";

/// Settings of the environment: without the filter of log lines, which is `telemetry`'s, the name of the file, and the cache's.
fn environment() -> Result<std::collections::HashMap<String, String>, ConfigError> {
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let mut settings = std::collections::HashMap::new();
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

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        let form = "expected an address and a port, for example 127.0.0.1:8080 or [::]:8080";
        serde::de::Error::custom(format!("{text:?}: {form}"))
    })
}

fn scopes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Scope>, D::Error> {
    let scope = |name: String| {
        let found = Scope::ALL.into_iter().find(|scope| scope.as_str() == name);
        found.ok_or_else(|| serde::de::Error::custom(format!("{name:?}: expected ingest, read or admin")))
    };
    Vec::<String>::deserialize(deserializer)?.into_iter().map(scope).collect()
}

fn whole_pattern<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Regex>, D::Error> {
    let pattern = Option::<String>::deserialize(deserializer)?.filter(|pattern| !pattern.is_empty());
    let compile = |pattern: String| Regex::new(&format!("^(?:{pattern})$")).map_err(serde::de::Error::custom);
    pattern.map(compile).transpose()
}

fn is_topic_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-')
}

fn is_host_and_port(broker: &str) -> bool {
    broker.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse_duration(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

/// Reads a duration like `100ms`, `10s`, `5min`, `72h` or `30d`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let refusal = || format!("{text:?} is no duration; expected a form like 100ms, 10s, 72h or 30d");
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(refusal)?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| refusal())?;
    let millis = match unit.trim() {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(refusal()),
    };
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(refusal)
}

#[cfg(test)]
mod tests {
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
        let entry =
            |tenant| format!("[[api_keys]]\nkey = \"secret-key\"\ntenant = \"{tenant}\"\nscopes = []\n");
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
}
