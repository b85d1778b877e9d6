//! A job: an operator over an input topic, with a group, a changelog and transactions of its own, so that jobs fail, restart
//! and replay alone. Several jobs may read one topic.

use std::sync::Arc;

use rdkafka::message::Message;

use super::marks;
use crate::codec::{self, CodecError};
use crate::engine::{FamilySettings, Millis, Operator, Payload, Record, Task};
use crate::log::{Log, first_append, redriven};
use crate::settings::{Document, History, ReadSettings, SettingsError, SettingsVersions};

/// Reads a value of a subject.
pub type Decode<E> = fn(&'static str, Option<&[u8]>) -> Result<E, CodecError>;

const GROUP: &str = "process";

/// The consumer group of a job's workers.
pub fn group(job: &str) -> String {
    format!("{GROUP}-{job}")
}

/// The topic that holds the state of a job's tasks.
pub fn changelog(job: &str) -> String {
    format!("changelog-{job}")
}

/// An operator over an input topic. Its name is the operator's.
pub struct Job<O: Operator> {
    /// The input topic, and the subject of its values.
    pub topic: &'static str,
    /// Reads the settings of the topic's family under a version (I4).
    pub settings: ReadSettings<O::Settings>,
    /// Makes the operator of a partition.
    pub operator: fn() -> O,
    /// Reads a value.
    pub decode: Decode<O::Event>,
}

impl<O: Operator> Job<O> {
    /// A job over the topic of a family whose settings are `D`, or of whose settings its operator goes by a part.
    pub fn new<D>(operator: fn() -> O) -> Self
    where
        D: Document<Operator: Into<O::Settings>>,
        O::Event: serde::de::DeserializeOwned,
    {
        Self {
            topic: D::FAMILY,
            settings: History::family::<D, O::Settings>,
            operator,
            decode: codec::decode,
        }
    }

    /// The job's name: part of its group, its changelog and its transactional ids.
    pub const fn name(&self) -> &'static str {
        O::NAME
    }

    /// The consumer group of its workers.
    pub fn group(&self) -> String {
        group(self.name())
    }

    /// The topic that holds the state of its tasks.
    pub fn changelog(&self) -> String {
        changelog(self.name())
    }

    /// The versions of its settings.
    pub fn settings_versions(&self, log: &Log) -> Result<SettingsVersions<O::Settings>, SettingsError> {
        SettingsVersions::start(log, self.topic, self.settings)
    }

    /// An empty task for a partition; `settings` are those before the first mark.
    pub fn task(&self, partition: i32, settings: Arc<FamilySettings<O::Settings>>) -> Task<O> {
        Task::new((self.operator)(), settings, self.topic, partition, 0)
    }

    /// A record of the topic, as the engine sees it. An error if it is a mark whose settings are not there.
    pub fn read<'m, M: Message>(
        &self,
        message: &'m M,
        versions: &mut SettingsVersions<O::Settings>,
    ) -> Result<Record<'m, O>, SettingsError> {
        let payload = match marks::settings_version(message) {
            Some(Ok(version)) => Payload::Mark(versions.at(version)?),
            Some(Err(reason)) => Payload::Undecodable(reason),
            None => match (self.decode)(self.topic, message.payload()) {
                Ok(event) if redriven::is_for_another(message, O::NAME) => Payload::ForAnother(event),
                Ok(event) => Payload::Event(event),
                Err(error) => Payload::Undecodable(error.to_string()),
            },
        };
        Ok(Record {
            offset: message.offset(),
            append_time: message.timestamp().to_millis().unwrap_or(Millis::MIN),
            first_append: first_append::of_copy(message),
            raw_key: message.key(),
            raw_value: message.payload(),
            payload,
        })
    }
}
