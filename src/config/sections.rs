//! The sections of the settings.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use regex::Regex;
use serde::{Deserialize, Deserializer};

use super::duration::parse_duration;
use super::secret::Secret;

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

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse_duration(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}
