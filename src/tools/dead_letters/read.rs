//! Reads letters from the log.

use std::collections::BTreeSet;

use apache_avro::types::Value;
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};

use super::LettersError;
use super::filter::Filter;
use super::letter::{Kind, Letter, Position};
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
    fn letter(&self) -> Result<Letter, LettersError> {
        self.kind.read(self.message.payload()).map_err(|source| self.unreadable(source))
    }

    /// All that it holds, as Avro's own generic value.
    pub fn value(&self) -> Result<Value, LettersError> {
        let decoded = codec::decode_generic(self.message.payload());
        decoded.map(|(_, value)| value).map_err(|source| self.unreadable(source))
    }

    fn unreadable(&self, source: CodecError) -> LettersError {
        LettersError::Unreadable {
            topic: self.kind.topic(),
            partition: self.message.partition(),
            offset: self.message.offset(),
            source,
        }
    }
}

/// Reads the letters that match. An error if nothing can match, or if there are letters and none has the reason.
pub(super) fn matching(
    kind: Kind,
    log: &Log,
    filter: &Filter,
    mut take: impl FnMut(Letter, &Entry<'_>) -> Result<(), LettersError>,
) -> Result<(), LettersError> {
    filter.check()?;
    let mut reasons = BTreeSet::new();
    each(kind, log, |letter, entry| {
        if !reasons.contains(&letter.reason) {
            reasons.insert(letter.reason.clone());
        }
        if filter.matches(&letter) { take(letter, entry) } else { Ok(()) }
    })?;
    match &filter.reason {
        Some(reason) if !reasons.is_empty() && !reasons.contains(reason) => {
            let known: Vec<String> = reasons.into_iter().collect();
            let (topic, reason, known) = (kind.topic(), reason.clone(), known.join(", "));
            Err(LettersError::NoReason { topic, reason, known })
        }
        _ => Ok(()),
    }
}

/// Reads the letters of a position: a record and the timers before it may have failed at the same one. An error if there is
/// none.
pub(super) fn at(
    kind: Kind,
    log: &Log,
    position: &Position,
    mut take: impl FnMut(Letter, &Entry<'_>) -> Result<(), LettersError>,
) -> Result<(), LettersError> {
    let mut is_found = false;
    each(kind, log, |letter, entry| {
        if letter.position != *position {
            return Ok(());
        }
        is_found = true;
        take(letter, entry)
    })?;
    if is_found {
        return Ok(());
    }
    Err(LettersError::NoLetter { topic: kind.topic(), position: position.to_string() })
}

/// Reads all that is committed by now; each partition in its order.
fn each(
    kind: Kind,
    log: &Log,
    mut take: impl FnMut(Letter, &Entry<'_>) -> Result<(), LettersError>,
) -> Result<(), LettersError> {
    let topic = kind.topic();
    let failed = |source: KafkaError| LettersError::Kafka { action: "reading the topic", source };
    let bounds = Replay::bounds(log, topic).map_err(failed)?;
    if bounds.is_empty() {
        return Err(LettersError::NoTopic { topic: log.name(topic) });
    }
    let mut replay = Replay::start(log, topic, bounds).map_err(failed)?;
    while let Some(message) = replay.read().map_err(failed)? {
        let entry = Entry { kind, message: &message };
        take(entry.letter()?, &entry)?;
    }
    Ok(())
}
