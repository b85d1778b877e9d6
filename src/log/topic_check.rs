//! Whether the topics on the cluster are as their files say: who stamps their times (I3), what is kept (I1), where keys lie.

use std::fmt;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::Log;
use super::topics::{self, Topic};

/// How long Kafka may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// For so long a look at the topics serves all parts of a process.
const TOGETHER: Duration = Duration::from_secs(2);

/// The settings that decide what a record's time is, and which records stay; and what they are where a file does not say.
const SETTINGS: [(&str, Option<&str>); 5] = [
    (TIMESTAMP_TYPE, Some("LogAppendTime")),
    ("cleanup.policy", Some("delete")),
    ("retention.ms", None),
    ("retention.bytes", Some("-1")),
    ("max.message.bytes", None),
];

const TIMESTAMP_TYPE: &str = "message.timestamp.type";

/// Why a topic is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicFault {
    /// Kafka can't be asked.
    #[error("can't look at the topics: {0}; see kafka.brokers")]
    Kafka(#[from] KafkaError),
    /// It has another number of partitions.
    #[error(
        "topic {topic} has {found} partitions, topics/*.yaml says {expected}: where keys lie is fixed for a generation of a topic; \
         begin anew under another kafka.prefix"
    )]
    Partitions {
        /// Its name on the cluster.
        topic: String,
        /// What it has.
        found: usize,
        /// What its file says.
        expected: i32,
    },
    /// A setting is another one.
    #[error("topic {topic} has {setting} = {found}, it has to be {expected}: {way_out}")]
    Setting {
        /// Its name on the cluster.
        topic: String,
        /// Kafka's name of the setting.
        setting: &'static str,
        /// What it is.
        found: String,
        /// What its file says.
        expected: String,
        /// What can be done.
        way_out: WayOut,
    },
}

/// What can be done about a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WayOut {
    /// It can be set.
    Repair,
    /// It can't, for records are there already.
    Anew,
}

impl fmt::Display for WayOut {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Repair => "`tidewatch migrate --repair` sets it",
            Self::Anew => {
                "its records have the times of their producers; delete it and run `tidewatch migrate`, or begin anew under \
                 another kafka.prefix"
            }
        })
    }
}

/// Looks at the topics that are there. What may not be looked at is passed over, with a warning.
///
/// # Errors
/// The first fault.
pub async fn check(log: &Log) -> Result<(), TopicFault> {
    match faults(log).await?.into_iter().next() {
        None => Ok(()),
        Some(fault) => Err(fault),
    }
}

/// As [`check`], on a thread that may wait. The parts of a process that start together look once.
///
/// # Errors
/// The first fault.
pub fn check_blocking(log: &Log) -> Result<(), TopicFault> {
    let mut checked = log.checked.lock().unwrap_or_else(PoisonError::into_inner);
    if checked.is_none_or(|checked| checked.elapsed() > TOGETHER) {
        futures::executor::block_on(check(log))?;
        *checked = Some(Instant::now());
    }
    Ok(())
}

/// Sets what can be set without harm: all but the timestamp type of a topic that has records. Returns what it has set.
///
/// # Errors
/// What can't be set.
pub async fn repair(log: &Log) -> Result<Vec<TopicFault>, TopicFault> {
    let admin: AdminClient<DefaultClientContext> = log.client().create()?;
    let options = AdminOptions::new().request_timeout(Some(TIMEOUT));
    let mut repaired = Vec::new();
    for fault in faults(log).await? {
        let TopicFault::Setting { topic, way_out: WayOut::Repair, .. } = &fault else { return Err(fault) };
        let Some(declared) = topics::named(log.plain_name(topic)) else { return Err(fault) };
        let settings = topics::settings(declared);
        // This call sets back to its default what it does not name, so it names all.
        let config = AlterConfig::new(ResourceSpecifier::Topic(topic));
        let config = settings.iter().fold(config, |config, (name, value)| config.set(name, value));
        for result in admin.alter_configs(&[config], &options).await? {
            result.map_err(|(_, code)| KafkaError::AdminOp(code))?;
        }
        repaired.push(fault);
    }
    Ok(repaired)
}

async fn faults(log: &Log) -> Result<Vec<TopicFault>, TopicFault> {
    let admin: AdminClient<DefaultClientContext> = log.client().create()?;
    let mut faults = Vec::new();
    let mut there: Vec<(&Topic, String)> = Vec::new();
    {
        let metadata = admin.inner().fetch_metadata(None, TIMEOUT)?;
        for topic in topics::all() {
            let name = log.name(&topic.name);
            let found =
                metadata.topics().iter().find(|found| found.name() == name && found.error().is_none());
            let Some(found) = found.map(|found| found.partitions().len()).filter(|found| *found > 0) else {
                continue;
            };
            if found != topic.partitions.unsigned_abs() as usize {
                faults.push(TopicFault::Partitions {
                    topic: name.clone(),
                    found,
                    expected: topic.partitions,
                });
            }
            there.push((topic, name));
        }
    }
    let asked = there.iter().map(|(_, name)| ResourceSpecifier::Topic(name)).collect::<Vec<_>>();
    let options = AdminOptions::new().request_timeout(Some(TIMEOUT));
    let described = admin.describe_configs(&asked, &options).await?;
    for ((topic, name), described) in there.iter().zip(described) {
        let described = match described {
            Ok(described) => described,
            // It has been deleted since.
            Err(Code::UnknownTopicOrPartition) => continue,
            Err(code @ (Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed)) => {
                tracing::warn!(topic = name, %code, "the settings of a topic can't be looked at: allow DescribeConfigs");
                continue;
            }
            Err(code) => return Err(KafkaError::AdminOp(code).into()),
        };
        let declared = topics::settings(topic);
        for (setting, default) in SETTINGS {
            let expected =
                declared.iter().find(|(name, _)| *name == setting).map(|(_, value)| value.as_str());
            let Some(expected) = expected.or(default) else { continue };
            let Some(found) = described.get(setting).and_then(|entry| entry.value.as_deref()) else {
                continue;
            };
            if found != expected {
                let is_safe = setting != TIMESTAMP_TYPE || is_empty(&admin, topic, name)?;
                faults.push(TopicFault::Setting {
                    topic: name.clone(),
                    setting,
                    found: found.to_owned(),
                    expected: expected.to_owned(),
                    way_out: if is_safe { WayOut::Repair } else { WayOut::Anew },
                });
            }
        }
    }
    Ok(faults)
}

fn is_empty(
    admin: &AdminClient<DefaultClientContext>,
    topic: &Topic,
    name: &str,
) -> Result<bool, KafkaError> {
    for partition in 0..topic.partitions {
        let (low, end) = admin.inner().fetch_watermarks(name, partition, TIMEOUT)?;
        if low < end {
            return Ok(false);
        }
    }
    Ok(true)
}
