//! A record, as a task is fed it; and what becomes of one that is not folded.

use super::operator::Position;
use crate::event::derived::{DeadLetter, LateEvent};
use crate::event::{Event, Millis};

/// A record of the partition, in the order of the log.
#[derive(Debug, Clone)]
pub struct Record<'a, E> {
    /// Its offset.
    pub offset: i64,
    /// Its append time (LogAppendTime).
    pub append_time: Millis,
    /// Its key, as it lies in the log: what it is folded under (I3), and kept with a dead letter.
    pub raw_key: Option<&'a [u8]>,
    /// Its value, as it lies in the log: kept with a dead letter.
    pub raw_value: Option<&'a [u8]>,
    /// What it says.
    pub payload: Payload<E>,
}

/// What a record says.
#[derive(Debug, Clone)]
pub enum Payload<E> {
    /// An event of the family.
    Event(E),
    /// A mark: time has passed, and these settings are in force from here on (I4).
    Mark {
        /// Offset of the `settings` topic.
        settings_version: i64,
    },
    /// Something that can't be read.
    Undecodable(String),
}

impl<E: Event> Record<'_, E> {
    pub(super) fn event(&self) -> Option<&E> {
        match &self.payload {
            Payload::Event(event) => Some(event),
            Payload::Mark { .. } | Payload::Undecodable(_) => None,
        }
    }

    pub(super) fn dead_letter(&self, position: &Position, reason: &str, message: String) -> DeadLetter {
        let event = self.event();
        DeadLetter {
            topic: position.topic.clone(),
            partition: position.partition,
            offset: self.offset,
            append_time: self.append_time,
            tenant: event.map(|event| event.tenant().to_owned()),
            event_id: event.map(|event| event.identity().name().into_owned()),
            reason: reason.to_owned(),
            message,
            record_key: self.raw_key.map(<[u8]>::to_vec),
            record_value: self.raw_value.map(<[u8]>::to_vec),
        }
    }

    pub(super) fn late_event(&self, position: &Position, operator: &str) -> LateEvent {
        let event = self.event();
        LateEvent {
            topic: position.topic.clone(),
            partition: position.partition,
            offset: self.offset,
            append_time: self.append_time,
            event_time: event.map_or(self.append_time, Event::event_time),
            tenant: event.map(|event| event.tenant().to_owned()).unwrap_or_default(),
            event_id: event.map(|event| event.identity().name().into_owned()).unwrap_or_default(),
            operator: operator.to_owned(),
            record_key: self.raw_key.map(<[u8]>::to_vec),
            record_value: self.raw_value.map(<[u8]>::to_vec),
        }
    }
}
