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
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
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
    /// The API keys, each an entry `[[api_keys]]` of the file.
    #[serde(default)]
    pub api_keys: Vec<ApiKeyConfig>,
}

/// Section `kafka`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KafkaConfig {
    /// Bootstrap servers: `host:port`, several separated by commas.
    pub brokers: String,
    /// Put before the name of every topic, group and transactional id, so that several systems can share a cluster.
    pub prefix: String,
    /// The replication factor of the topics that `tidewatch migrate` creates.
    pub replication: i32,
    /// Further settings of librdkafka by their own names, for example `socket.timeout.ms`. In a file only: the names have dots.
    #[serde(default)]
    pub client: BTreeMap<String, Secret>,
}

/// Section `clickhouse`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    /// The address and port of this process, for example `127.0.0.1:8080` or `[::]:8080`: health, metrics, and the routes of its roles.
    #[serde(deserialize_with = "address")]
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// How long an answer may take; then it is 503.
    #[serde(deserialize_with = "duration")]
    #[schemars(schema_with = "duration_schema")]
    pub request_timeout: Duration,
    /// How many requests are worked on at once; further ones are answered with 503 immediately.
    pub concurrent_requests: usize,
    /// How many live streams may be open at once. They do not count as requests.
    pub concurrent_streams: usize,
}

/// Section `ingest`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IngestConfig {
    /// How long Kafka may take to acknowledge events; then the answer is 503.
    #[serde(deserialize_with = "duration")]
    #[schemars(schema_with = "duration_schema")]
    pub delivery_timeout: Duration,
    /// The secret with which ids of users are hashed. Set the same for all processes of a system, and keep it: without it each
    /// process makes one of its own at start, and a user's hash differs between processes and after a restart.
    #[serde(default)]
    pub salt: Option<Secret>,
    /// Names of query parameters of URLs, separated by commas, whose values are kept. The values of all others are removed.
    #[serde(default = "query_allow")]
    pub query_allow: String,
    /// A regular expression for ids in URL paths that do not look like ids: a segment that it matches as a whole becomes `:id`.
    #[serde(default, deserialize_with = "whole_pattern")]
    #[schemars(with = "Option<String>")]
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
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProcessConfig {
    /// The name of this worker, part of its transactional ids: unique among the processes of its role, and the same after a restart.
    pub instance: String,
    /// How long a transaction collects rows, counted from the end of the one before.
    #[serde(deserialize_with = "duration")]
    #[schemars(schema_with = "duration_schema")]
    pub commit_interval: Duration,
    /// A transaction is committed when it holds so many rows.
    pub commit_outputs: usize,
    /// A transaction is committed when it holds so many bytes of rows.
    pub commit_bytes: usize,
    /// When a worker has not been heard of for so long, its partitions go to another.
    #[serde(deserialize_with = "duration")]
    #[schemars(schema_with = "duration_schema")]
    pub session_timeout: Duration,
    /// How many workers a job has in this process, each a thread with Kafka clients of its own.
    pub threads: usize,
    /// A folder for local copies of the state, which shorten a restart. Without it the state is read from the changelog alone.
    #[serde(default)]
    pub state_dir: Option<PathBuf>,
    /// How often local copies are written. They are also written when partitions are handed over, and at the end.
    #[serde(deserialize_with = "duration")]
    #[schemars(schema_with = "duration_schema")]
    pub snapshot_interval: Duration,
}

/// Section `sink`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SinkConfig {
    /// A batch is written when it holds so many rows.
    pub batch_rows: usize,
    /// A batch is written when it holds so many bytes.
    pub batch_bytes: usize,
    /// A batch is written at this age at the latest.
    #[serde(deserialize_with = "duration")]
    #[schemars(schema_with = "duration_schema")]
    pub batch_age: Duration,
    /// When a sink has not been heard of for so long, its partitions go to another.
    #[serde(deserialize_with = "duration")]
    #[schemars(schema_with = "duration_schema")]
    pub session_timeout: Duration,
}

/// Section `serve`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServeConfig {
    /// About how much memory the cache of rows may take, in bytes.
    pub cache_bytes: usize,
}

/// One of `api_keys`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyConfig {
    /// The key itself.
    pub key: Secret,
    /// The tenant whose data it gives access to.
    pub tenant: String,
    /// What it may do. `ingest`: send events; `read`: read rows and settings; `admin`: change settings.
    #[serde(deserialize_with = "scopes")]
    pub scopes: Vec<Scope>,
}

/// What an API key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "snake_case")]
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
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("writeOnly" = true))]
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

/// The form of a duration, as JSON schemas have it.
pub const DURATION: &str = "^[0-9]+ ?(ms|s|m|min|h|d)$";

/// The schema of a duration.
pub fn duration_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "pattern": DURATION,
        "examples": ["100ms", "10s", "72h", "30d"],
    })
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
