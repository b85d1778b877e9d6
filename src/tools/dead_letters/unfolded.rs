//! A record that was not folded, as a dead letter or late event keeps it.

use std::fmt;
use std::str::FromStr;

use crate::codec;
use crate::codec::CodecError;
use crate::engine::Millis;
use crate::engine::rows::{DeadLetter, LateEvent};

/// Which topic is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What could not be folded.
    DeadLetters,
    /// What came too late.
    LateEvents,
}

impl Kind {
    /// The topic, and the subject of its values.
    pub(super) fn topic(self) -> &'static str {
        match self {
            Self::DeadLetters => "dead-letters",
            Self::LateEvents => "late-events",
        }
    }

    /// A record of the topic.
    pub(super) fn read(self, value: Option<&[u8]>) -> Result<Unfolded, CodecError> {
        match self {
            Self::DeadLetters => codec::decode::<DeadLetter>(self.topic(), value).map(Unfolded::from),
            Self::LateEvents => codec::decode::<LateEvent>(self.topic(), value).map(Unfolded::from),
        }
    }

    /// So many of them, in words.
    pub(super) fn count(self, count: u64) -> String {
        let (one, many) = match self {
            Self::DeadLetters => ("dead letter", "dead letters"),
            Self::LateEvents => ("late event", "late events"),
        };
        match count {
            0 => format!("no {one}"),
            1 => format!("1 {one}"),
            _ => format!("{count} {many}"),
        }
    }
}

/// Where a record lies that was not folded: `civic/1/42`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}/{}", self.topic, self.partition, self.offset)
    }
}

impl FromStr for Position {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = || {
            let (topic, rest) = text.split_once('/')?;
            let (partition, offset) = rest.split_once('/')?;
            let partition: u32 = partition.parse().ok()?;
            let offset: u64 = offset.parse().ok()?;
            let position = Self {
                topic: topic.to_owned(),
                partition: i32::try_from(partition).ok()?,
                offset: i64::try_from(offset).ok()?,
            };
            (!topic.is_empty()).then_some(position)
        };
        parsed().ok_or("expected TOPIC/PARTITION/OFFSET as `list` prints it, such as civic/1/42")
    }
}

/// A dead letter or late event. They are ordered by the append time of their records.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Unfolded {
    /// When the record was appended.
    pub append_time: Millis,
    /// Where it lies.
    pub position: Position,
    /// Why it was not folded, as a code.
    pub reason: String,
    /// The reason, for people.
    pub message: String,
    /// The operator that did not fold it; empty where none got to see it.
    pub operator: String,
    /// Its tenant; empty where that could not be read.
    pub tenant: String,
    /// Its event id; empty where it has none, or where that could not be read.
    pub event_id: String,
    /// Its key, as far as it is kept.
    pub key: Option<Vec<u8>>,
    /// Its value, as far as it is kept.
    pub value: Option<Vec<u8>>,
}

impl From<DeadLetter> for Unfolded {
    fn from(unfolded: DeadLetter) -> Self {
        let DeadLetter { topic, partition, offset, append_time, .. } = unfolded;
        Self {
            append_time,
            position: Position { topic, partition, offset },
            reason: unfolded.reason,
            message: unfolded.message,
            operator: unfolded.operator,
            tenant: unfolded.tenant.unwrap_or_default(),
            event_id: unfolded.event_id.unwrap_or_default(),
            key: unfolded.record_key,
            value: unfolded.record_value,
        }
    }
}

impl From<LateEvent> for Unfolded {
    fn from(event: LateEvent) -> Self {
        let LateEvent { topic, partition, offset, append_time, .. } = event;
        Self {
            append_time,
            position: Position { topic, partition, offset },
            reason: "late".to_owned(),
            message: format!("what it would change was final to the operator {}", event.operator),
            operator: event.operator,
            tenant: event.tenant,
            event_id: event.event_id,
            key: event.record_key,
            value: event.record_value,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An unfolded record at an offset of `civic/0`, appended when the clock read the same.
    pub fn unfolded(offset: i64, reason: &str, tenant: &str) -> Unfolded {
        Unfolded {
            append_time: offset,
            position: Position { topic: "civic".into(), partition: 0, offset },
            reason: reason.into(),
            message: String::new(),
            operator: String::new(),
            tenant: tenant.into(),
            event_id: String::new(),
            key: None,
            value: None,
        }
    }

    #[test]
    fn a_position_is_read_as_it_is_printed() {
        let position = Position { topic: "civic".into(), partition: 3, offset: i64::MAX };
        assert_eq!(position.to_string().parse(), Ok(position));
        for text in [
            "",
            "civic",
            "civic/1",
            "civic/1/",
            "/1/2",
            "civic/-1/2",
            "civic/1/-2",
            "civic/x/2",
            "civic/1/2/3",
        ] {
            assert!(text.parse::<Position>().is_err(), "{text}");
        }
        assert!("civic/2147483648/0".parse::<Position>().is_err());
        assert!("civic/0/9223372036854775808".parse::<Position>().is_err());
    }
}
