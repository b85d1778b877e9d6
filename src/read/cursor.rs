//! Where the next page of a list begins that is sorted by first arrival and id.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use crate::engine::Millis;

/// The last row of a page: the next one begins behind it, whatever was added or corrected before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// Its first arrival.
    pub first_arrival: Millis,
    /// Its id.
    pub id: Uuid,
}

impl Cursor {
    /// As the API gives it out.
    pub fn encode(self) -> String {
        let mut bytes = self.first_arrival.to_be_bytes().to_vec();
        bytes.extend_from_slice(self.id.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// What was given out; `None` where this was not.
    pub fn decode(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (first_arrival, id) = bytes.split_first_chunk()?;
        Some(Self { first_arrival: Millis::from_be_bytes(*first_arrival), id: Uuid::from_slice(id).ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_back_and_others_refused() {
        let cursor = Cursor { first_arrival: -5, id: Uuid::from_u128(7) };
        let text = cursor.encode();
        assert_eq!(Cursor::decode(&text), Some(cursor));
        for bad in ["", "x", "!!!!", &text[1..], &format!("{text}AAAA")] {
            assert_eq!(Cursor::decode(bad), None, "{bad}");
        }
    }
}
