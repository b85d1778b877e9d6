//! A family: its topic, how its records are read, and the operator that folds them.

use std::sync::Arc;

use rdkafka::message::Message;

use super::marks;
use crate::codec::{self, CodecError};
use crate::event::derived::{
    Accounting, DeadLetter, Incident, LateEvent, Progress, Row, RowMeta, Session, Signal, SlaMetric,
};
use crate::log::{Log, first_append};
use crate::operators::interactions::Interactions;
use crate::operators::sla::Sla;
use crate::settings::{self, Book, CivicSettings, History, InteractionsSettings, SettingsError};
use crate::stream::{FamilySettings, Operator, Payload, Record, Task};

/// Reads a value of a subject.
pub type Decode<E> = fn(&'static str, Option<&[u8]>) -> Result<E, CodecError>;

/// A family topic and its fold.
pub struct Family<O: Operator> {
    /// The topic, and the subject of its values.
    pub topic: &'static str,
    /// Reads its settings under a version (I4).
    pub settings: settings::Read<O::Settings>,
    /// Makes the operator of a partition.
    pub operator: Box<dyn Fn() -> O + Send + Sync>,
    /// Reads a value.
    pub decode: Decode<O::Event>,
}

/// The family civic.
pub fn civic() -> Family<Sla> {
    Family {
        topic: "civic",
        settings: History::family::<CivicSettings>,
        operator: Box::new(Sla::default),
        decode: codec::decode,
    }
}

/// The family interactions.
pub fn interactions() -> Family<Interactions> {
    Family {
        topic: "interactions",
        settings: History::family::<InteractionsSettings>,
        operator: Box::new(Interactions::default),
        decode: codec::decode,
    }
}

impl<O: Operator> Family<O> {
    /// The topic that holds the state of its tasks.
    pub fn changelog(&self) -> String {
        format!("changelog-{}", self.topic)
    }

    /// The versions of its settings.
    pub fn book(&self, log: &Log) -> Result<Book<O::Settings>, SettingsError> {
        Book::start(log, self.topic, self.settings)
    }

    /// An empty task for a partition; `settings` are those before the first mark.
    pub fn task(&self, partition: i32, settings: Arc<FamilySettings<O::Settings>>) -> Task<O> {
        Task::new((self.operator)(), settings, self.topic, partition, 0)
    }

    /// A record of the topic, as the engine sees it. An error if it is a mark whose settings are not there.
    pub fn read<'m, M: Message>(
        &self,
        message: &'m M,
        book: &mut Book<O::Settings>,
    ) -> Result<Record<'m, O>, SettingsError> {
        let payload = match marks::settings_version(message) {
            Some(Ok(version)) => Payload::Mark(book.at(version)?),
            Some(Err(reason)) => Payload::Undecodable(reason),
            None => match (self.decode)(self.topic, message.payload()) {
                Ok(event) => Payload::Event(event),
                Err(error) => Payload::Undecodable(error.to_string()),
            },
        };
        Ok(Record {
            offset: message.offset(),
            append_time: first_append::append_time(message),
            raw_key: message.key(),
            raw_value: message.payload(),
            payload,
        })
    }
}

/// A row as the log takes it.
pub trait OutputRow {
    /// Its topic.
    fn topic(&self) -> &'static str;
    /// Its key there.
    fn key(&self) -> &[u8];
    /// Its id and version, where it has versions (I6).
    fn meta(&self) -> Option<&RowMeta> {
        None
    }
    /// Appends its value.
    fn encode(&self, buffer: &mut Vec<u8>) -> Result<(), CodecError>;
}

/// A row whose value is Avro of the newest schema of its topic.
macro_rules! avro_row {
    ($row:ty, $topic:literal, $key:expr, $meta:expr) => {
        impl OutputRow for $row {
            fn topic(&self) -> &'static str {
                $topic
            }

            fn key(&self) -> &[u8] {
                let key: fn(&Self) -> &[u8] = $key;
                key(self)
            }

            fn meta(&self) -> Option<&RowMeta> {
                let meta: fn(&Self) -> Option<&RowMeta> = $meta;
                meta(self)
            }

            fn encode(&self, buffer: &mut Vec<u8>) -> Result<(), CodecError> {
                let schema = codec::newest($topic).ok_or(CodecError::NoSchema { subject: $topic })?;
                schema.encode_into(self, buffer)
            }
        }
    };
}

avro_row!(Incident, "incidents", |row| row.meta.key.as_bytes(), |row| Some(&row.meta));
avro_row!(SlaMetric, "sla-metrics", |row| row.meta.key.as_bytes(), |row| Some(&row.meta));
avro_row!(Signal, "signals", |row| row.meta.key.as_bytes(), |row| Some(&row.meta));
avro_row!(Session, "sessions", |row| row.meta.key.as_bytes(), |row| Some(&row.meta));
avro_row!(DeadLetter, "dead-letters", |row| row.record_key.as_deref().unwrap_or_default(), |_| None);
avro_row!(LateEvent, "late-events", |row| row.record_key.as_deref().unwrap_or_default(), |_| None);
avro_row!(Accounting, "accounting", |row| row.tenant.as_bytes(), |_| None);
avro_row!(Progress, "progress", |row| row.topic.as_bytes(), |_| None);

/// Does it with the row inside.
macro_rules! with_row {
    ($self:ident, $row:ident => $result:expr) => {
        match $self {
            Self::Incident($row) => $result,
            Self::SlaMetric($row) => $result,
            Self::Signal($row) => $result,
            Self::Session($row) => $result,
            Self::DeadLetter($row) => $result,
            Self::LateEvent($row) => $result,
        }
    };
}

impl OutputRow for Row {
    fn topic(&self) -> &'static str {
        with_row!(self, row => row.topic())
    }

    fn key(&self) -> &[u8] {
        with_row!(self, row => row.key())
    }

    fn meta(&self) -> Option<&RowMeta> {
        with_row!(self, row => row.meta())
    }

    fn encode(&self, buffer: &mut Vec<u8>) -> Result<(), CodecError> {
        with_row!(self, row => row.encode(buffer))
    }
}
