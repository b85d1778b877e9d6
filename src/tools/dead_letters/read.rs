//! Reads unfolded records from the log.

use std::collections::BTreeSet;

use apache_avro::types::Value;
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};

use super::DeadLettersError;
use super::filter::Filter;
use super::unfolded::{Kind, Position, Unfolded};
use crate::codec;
use crate::codec::CodecError;
use crate::log::Log;
use crate::log::replay::Replay;

/// A record of the topic.
pub(super) struct Entry<'m> {
    kind: Kind,
    message: &'m BorrowedMessage<'m>,
}

impl Entry<'_> {
    fn unfolded(&self) -> Result<Unfolded, DeadLettersError> {
        self.kind.read(self.message.payload()).map_err(|source| self.unreadable(source))
    }

    /// All that it holds, as Avro's own generic value.
    pub fn value(&self) -> Result<Value, DeadLettersError> {
        let decoded = codec::decode_generic(self.message.payload());
        decoded.map(|(_, value)| value).map_err(|source| self.unreadable(source))
    }

    fn unreadable(&self, source: CodecError) -> DeadLettersError {
        DeadLettersError::Unreadable {
            topic: self.kind.topic(),
            partition: self.message.partition(),
            offset: self.message.offset(),
            source,
        }
    }
}

/// Reads the unfolded records that match. An error if nothing can match, or if there are some and none has the reason.
pub(super) fn matching(
    kind: Kind,
    log: &Log,
    filter: &Filter,
    mut take: impl FnMut(Unfolded, &Entry<'_>) -> Result<(), DeadLettersError>,
) -> Result<(), DeadLettersError> {
    filter.check()?;
    let mut reasons = BTreeSet::new();
    each(kind, log, |unfolded, entry| {
        if !reasons.contains(&unfolded.reason) {
            reasons.insert(unfolded.reason.clone());
        }
        if filter.matches(&unfolded) { take(unfolded, entry) } else { Ok(()) }
    })?;
    match &filter.reason {
        Some(reason) if !reasons.is_empty() && !reasons.contains(reason) => {
            let known: Vec<String> = reasons.into_iter().collect();
            let (topic, reason, known) = (kind.topic(), reason.clone(), known.join(", "));
            Err(DeadLettersError::NoReason { topic, reason, known })
        }
        _ => Ok(()),
    }
}

/// Reads the entries of a position: a record and the timers before it may have failed at the same one. An error if there is
/// none.
pub(super) fn at(
    kind: Kind,
    log: &Log,
    position: &Position,
    mut take: impl FnMut(Unfolded, &Entry<'_>) -> Result<(), DeadLettersError>,
) -> Result<(), DeadLettersError> {
    let mut is_found = false;
    each(kind, log, |unfolded, entry| {
        if unfolded.position != *position {
            return Ok(());
        }
        is_found = true;
        take(unfolded, entry)
    })?;
    if is_found {
        return Ok(());
    }
    Err(DeadLettersError::NotFound { topic: kind.topic(), position: position.to_string() })
}

/// Reads all that is committed by now; each partition in its order.
fn each(
    kind: Kind,
    log: &Log,
    mut take: impl FnMut(Unfolded, &Entry<'_>) -> Result<(), DeadLettersError>,
) -> Result<(), DeadLettersError> {
    let topic = kind.topic();
    let failed = |source: KafkaError| DeadLettersError::Kafka { action: "reading the topic", source };
    let bounds = Replay::bounds(log, topic).map_err(failed)?;
    if bounds.is_empty() {
        return Err(DeadLettersError::NoTopic { topic: log.name(topic) });
    }
    let mut replay = Replay::start(log, topic, bounds).map_err(failed)?;
    while let Some(message) = replay.read().map_err(failed)? {
        let entry = Entry { kind, message: &message };
        take(entry.unfolded()?, &entry)?;
    }
    Ok(())
}
