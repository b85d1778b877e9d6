//! The sections of the settings.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use super::duration::{duration_schema, parse_duration};
use super::secret::Secret;

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
    /// A checkpoint of the state is written to the changelog when what has changed since the last one takes more bytes than that, and than
    /// this; what lies before it is then deleted.
    pub checkpoint_bytes: u64,
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
