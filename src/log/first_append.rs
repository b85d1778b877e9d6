//! When a record was first appended (I3): a copy of it in a family topic says so in a header. Nothing else goes by that header: the
//! clock of a partition is the broker's.

use rdkafka::message::{Header, Headers, Message, OwnedHeaders};

use crate::engine::Millis;

/// The header of a copy: milliseconds since the Unix epoch, in decimal.
pub const HEADER: &str = "tidewatch-append-time";

/// When a record was appended to the intake topic from which it is a copy; `None` where it is no copy.
pub fn of_copy<M: Message>(message: &M) -> Option<Millis> {
    let header = message.headers()?.iter().find(|header| header.key == HEADER)?;
    std::str::from_utf8(header.value?).ok()?.parse().ok()
}

/// The headers of a copy of a record that was first appended then.
pub fn headers(append_time: Millis) -> OwnedHeaders {
    OwnedHeaders::new().insert(Header { key: HEADER, value: Some(&append_time.to_string()) })
}

#[cfg(test)]
mod tests {
    use rdkafka::Timestamp;
    use rdkafka::message::OwnedMessage;

    use super::*;

    #[test]
    fn i3_a_copy_says_when_it_was_first_appended() {
        let message =
            |headers| OwnedMessage::new(None, None, "t".into(), Timestamp::LogAppendTime(9), 0, 0, headers);
        let text = |text: &str| OwnedHeaders::new().insert(Header { key: HEADER, value: Some(text) });
        for (headers, expected) in [
            (None, None),
            (Some(headers(7)), Some(7)),
            (Some(text("soon")), None),
            (Some(OwnedHeaders::new()), None),
        ] {
            assert_eq!(of_copy(&message(headers)), expected);
        }
    }
}
