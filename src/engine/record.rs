//! A record, as a task is fed it; and what becomes of one that is not folded.

use std::sync::Arc;

use super::operator::{Operator, Position};
use super::settings::FamilySettings;
use crate::engine::rows::{DeadLetter, LateEvent};
use crate::engine::{Event, Millis};

/// How many bytes of a record's value a dead letter or late event keeps. What was compressed in the log may be larger than
/// any topic takes; the whole lies where the letter says.
pub const VALUE_KEPT: usize = 1024 * 1024;
/// How many bytes they keep of its key, of its names, and of the reason.
pub const TEXT_KEPT: usize = 8 * 1024;

/// A record of the partition, in the order of the log.
pub struct Record<'a, O: Operator> {
    /// Its offset.
    pub offset: i64,
    /// Its append time (LogAppendTime).
    pub append_time: Millis,
    /// Of a copy from an intake topic, when it was appended there. It only bounds how far the record brings its own key (I3).
    pub first_append: Option<Millis>,
    /// Its key, as it lies in the log: what it is folded under (I3), and kept with a dead letter.
    pub raw_key: Option<&'a [u8]>,
    /// Its value, as it lies in the log: kept with a dead letter.
    pub raw_value: Option<&'a [u8]>,
    /// Its content.
    pub payload: Payload<O>,
}

/// The content of a record.
pub enum Payload<O: Operator> {
    /// An event of the family.
    Event(O::Event),
    /// An event that was sent again for another operator: to this one it is a repeat.
    ForAnother(O::Event),
    /// A mark: time has passed, and these settings are in force from here on (I4).
    Mark(Arc<FamilySettings<O::Settings>>),
    /// A value that can't be read, and why.
    Undecodable(String),
}

impl<O: Operator<Event: Clone>> Clone for Payload<O> {
    fn clone(&self) -> Self {
        match self {
            Self::Event(event) => Self::Event(event.clone()),
            Self::ForAnother(event) => Self::ForAnother(event.clone()),
            Self::Mark(settings) => Self::Mark(Arc::clone(settings)),
            Self::Undecodable(reason) => Self::Undecodable(reason.clone()),
        }
    }
}

impl<O: Operator> Record<'_, O> {
    pub(super) fn event(&self) -> Option<&O::Event> {
        match &self.payload {
            Payload::Event(event) | Payload::ForAnother(event) => Some(event),
            Payload::Mark(_) | Payload::Undecodable(_) => None,
        }
    }

    pub(super) fn dead_letter(&self, position: &Position, reason: &str, mut message: String) -> DeadLetter {
        let event = self.event();
        let length = self.raw_value.map_or(0, <[u8]>::len);
        message = shortened(&message);
        if length > VALUE_KEPT {
            message += &format!(" (of its value's {length} bytes, {VALUE_KEPT} are kept here)");
        }
        DeadLetter {
            topic: position.topic.to_string(),
            partition: position.partition,
            offset: self.offset,
            append_time: self.append_time,
            tenant: event.map(|event| shortened(event.tenant())),
            event_id: event.map(|event| shortened(&event.identity().name())),
            operator: O::NAME.to_owned(),
            reason: reason.to_owned(),
            message,
            record_key: self.raw_key.map(|key| cut(key, TEXT_KEPT)),
            record_value: self.raw_value.map(|value| cut(value, VALUE_KEPT)),
        }
    }

    pub(super) fn late_event(&self, position: &Position) -> LateEvent {
        let event = self.event();
        LateEvent {
            topic: position.topic.to_string(),
            partition: position.partition,
            offset: self.offset,
            append_time: self.append_time,
            event_time: event.map_or(self.append_time, Event::event_time),
            tenant: event.map(|event| shortened(event.tenant())).unwrap_or_default(),
            event_id: event.map(|event| shortened(&event.identity().name())).unwrap_or_default(),
            operator: O::NAME.to_owned(),
            record_key: self.raw_key.map(|key| cut(key, TEXT_KEPT)),
            record_value: self.raw_value.map(|value| cut(value, VALUE_KEPT)),
        }
    }
}

fn cut(bytes: &[u8], most: usize) -> Vec<u8> {
    bytes[..bytes.len().min(most)].to_vec()
}

/// A text of a letter, at most as long as is kept.
pub(super) fn shortened(text: &str) -> String {
    let end = (0..=TEXT_KEPT.min(text.len())).rfind(|end| text.is_char_boundary(*end));
    text[..end.unwrap_or_default()].to_owned()
}
