//! The topics, from `topics/*.yaml`: what they hold, and how they are made.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use include_dir::{Dir, include_dir};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use serde::{Deserialize, Serialize};

use super::Log;
pub use super::declaration::FacetDeclaration;
use super::declaration::ResourceDeclaration;

static FILES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/topics");

/// How long Kafka may take to create a topic and to show it.
const CREATION_TIMEOUT: Duration = Duration::from_secs(30);

static TOPICS: LazyLock<Vec<Topic>> = LazyLock::new(load);

/// A topic, as its file describes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topic {
    /// Its name, without the system's prefix.
    pub name: String,
    /// Who writes it.
    pub owner: Owner,
    /// The subject of its values in `schemas/avro`; a changelog's are nobody's but the worker's.
    pub schema: Option<String>,
    /// What its keys are made of.
    pub key: String,
    /// How many partitions a generation of it has.
    pub partitions: i32,
    /// Kafka's own settings of the topic.
    pub config: BTreeMap<String, serde_json::Value>,
    /// The ClickHouse table that its rows land in, where there is one.
    pub table: Option<String>,
    /// Under what backtests count its rows.
    pub facets: Option<FacetDeclaration>,
    /// How the API answers its rows; without it, it does not.
    pub resource: Option<ResourceDeclaration>,
}

/// Who writes a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// The way in: the topic of a family.
    Ingest,
    /// The workers: rows, changelogs, and what they say of themselves.
    Process,
    /// The read API: settings.
    Serve,
    /// Kafka clients: what is copied into the topic of a family.
    Producers,
}

/// Why the topics could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// Kafka could not be asked.
    #[error("can't create topics: {0}; is Kafka reachable at kafka.brokers?")]
    Kafka(#[from] KafkaError),
    /// Kafka refused a topic.
    #[error("topic {topic} could not be created: {code}")]
    Refused {
        /// Its name on the cluster.
        topic: String,
        /// The cause.
        code: RDKafkaErrorCode,
    },
    /// The cluster does not show a topic that it has made.
    #[error("topic {topic} was created, and the cluster does not show it within 30 s")]
    Unknown {
        /// Its name on the cluster.
        topic: String,
    },
}

/// Every topic of `topics/*.yaml`, by name.
pub fn all() -> &'static [Topic] {
    &TOPICS
}

/// The topic of that name.
pub fn named(name: &str) -> Option<&'static Topic> {
    place(name).map(|place| &all()[place])
}

/// The place of a topic in [`all`].
pub fn place(name: &str) -> Option<usize> {
    all().binary_search_by(|topic| topic.name.as_str().cmp(name)).ok()
}

/// Creates the topics that are not there yet. ([`topic_check`](super::topic_check) looks at those that are.)
pub async fn create(log: &Log) -> Result<(), TopicError> {
    let admin: AdminClient<DefaultClientContext> = log.client().create()?;
    let names: Vec<String> = all().iter().map(|topic| log.name(&topic.name)).collect();
    let settings: Vec<Vec<(&str, String)>> = all().iter().map(settings).collect();
    let wanted: Vec<NewTopic<'_>> = all()
        .iter()
        .zip(&names)
        .zip(&settings)
        .map(|((topic, name), settings)| {
            let new = NewTopic::new(name, topic.partitions, TopicReplication::Fixed(log.replication()));
            settings.iter().fold(new, |new, (name, value)| new.set(name, value))
        })
        .collect();
    let options = AdminOptions::new().operation_timeout(Some(CREATION_TIMEOUT));
    for result in admin.create_topics(&wanted, &options).await? {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => return Err(TopicError::Refused { topic, code }),
        }
    }
    for name in names {
        wait_until_known(&admin, &name).await?;
    }
    Ok(())
}

/// Waits until the cluster shows a topic with partitions.
async fn wait_until_known(admin: &AdminClient<DefaultClientContext>, name: &str) -> Result<(), TopicError> {
    let deadline = Instant::now() + CREATION_TIMEOUT;
    loop {
        let metadata = admin.inner().fetch_metadata(Some(name), CREATION_TIMEOUT)?;
        let found = metadata.topics().iter().find(|t| t.name() == name).map_or(0, |t| t.partitions().len());
        if found > 0 {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(TopicError::Unknown { topic: name.to_owned() });
        }
        // A topic that was just created takes a moment to be known to every broker.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Kafka's own settings of a topic, as its file has them.
pub(super) fn settings(topic: &Topic) -> Vec<(&str, String)> {
    let text = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    topic.config.iter().map(|(name, value)| (name.as_str(), text(value))).collect()
}

/// The files are part of the program: a fault in them is a fault of the build, and the test
/// `every_topic_loads` shows it.
fn load() -> Vec<Topic> {
    let mut topics: Vec<Topic> = FILES
        .files()
        .map(|file| {
            let path = file.path().display();
            let text = file.contents_utf8().unwrap_or_else(|| panic!("topics/{path}: not UTF-8"));
            serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("topics/{path}: {error}"))
        })
        .collect();
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    topics
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_topic_loads() {
        for topic in all() {
            // A changelog's values are the engine's own, an intake's JSON or Avro.
            let has_none = ["changelog-", "intake."].iter().any(|own| topic.name.starts_with(own));
            match &topic.schema {
                None => assert!(has_none, "{} needs a schema", topic.name),
                Some(schema) => {
                    assert!(crate::codec::newest(schema).is_some(), "{} names an unknown schema", topic.name);
                }
            }
            assert_eq!(topic.config["message.timestamp.type"], "LogAppendTime", "I3: {}", topic.name);
            assert!(topic.partitions > 0);
            // What follows from the log, and the log, stays (I1); what was copied, and how far somebody has come, need not.
            let is_kept = !topic.name.starts_with("intake.") && topic.name != "progress";
            let kept = [&topic.config["cleanup.policy"], &topic.config["retention.ms"]];
            assert!(!is_kept || kept == [&json!("delete"), &json!(-1)], "I1: {}: {kept:?}", topic.name);
        }
    }
}
