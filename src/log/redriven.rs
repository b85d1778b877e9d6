//! Records that are sent again: what their headers say.

use rdkafka::message::{Header, Headers, Message, OwnedHeaders};

/// Where the record lay that could not be folded: for people, nothing reads it.
pub const FROM: &str = "tidewatch-redriven";
/// The operator that could not fold it: to others, which have folded it, it is a repeat (I7). Without it the record is for all.
const OPERATOR: &str = "tidewatch-redriven-for";

/// The headers of a record that lay at `from` and is sent again for an operator; an empty one stands for all.
pub fn headers(from: &str, operator: &str) -> OwnedHeaders {
    let headers = OwnedHeaders::new().insert(Header { key: FROM, value: Some(from) });
    if operator.is_empty() {
        return headers;
    }
    headers.insert(Header { key: OPERATOR, value: Some(operator) })
}

/// Whether a record is sent again for another operator than this one.
pub fn is_for_another(message: &impl Message, operator: &str) -> bool {
    let Some(headers) = message.headers() else { return false };
    let mut named = headers.iter().filter(|header| header.key == OPERATOR).filter_map(|header| header.value);
    named.next().is_some_and(|named| named != operator.as_bytes())
}
