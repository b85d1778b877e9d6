//! When a record was first appended (I3): a copy of it in another topic says so in a header, which wins over the copy's own
//! append time.

use rdkafka::message::{Header, Headers, Message, OwnedHeaders};

use crate::engine::Millis;

/// The header of a copy: milliseconds since the Unix epoch, in decimal.
pub const HEADER: &str = "tidewatch-append-time";

/// When the record was first appended to the log, as a copy or not. The earliest time of all where Kafka gives none.
pub fn append_time<M: Message>(message: &M) -> Millis {
    let said = || {
        let headers = message.headers()?;
        let header = headers.iter().find(|header| header.key == HEADER)?;
        std::str::from_utf8(header.value?).ok()?.parse().ok()
    };
    said().or_else(|| message.timestamp().to_millis()).unwrap_or(Millis::MIN)
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
    fn i3_the_first_append_time_wins() {
        let message =
            |timestamp, headers| OwnedMessage::new(None, None, "t".into(), timestamp, 0, 0, headers);
        let text = |text: &str| OwnedHeaders::new().insert(Header { key: HEADER, value: Some(text) });
        let at = Timestamp::LogAppendTime(9);
        for (timestamp, headers, expected) in [
            (at, None, 9),
            (at, Some(headers(7)), 7),
            (at, Some(text("soon")), 9),
            (at, Some(OwnedHeaders::new()), 9),
            (Timestamp::NotAvailable, None, Millis::MIN),
        ] {
            assert_eq!(append_time(&message(timestamp, headers)), expected);
        }
    }
}
