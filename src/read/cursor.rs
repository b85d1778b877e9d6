//! Where the next page of a list begins that is sorted by a time and the id.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use uuid::Uuid;

use crate::engine::Millis;

/// The last row of a page: the next one begins behind it, whatever was added or corrected before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Cursor {
    /// The time that the list is sorted by.
    pub sort: Millis,
    /// Its id.
    pub id: Uuid,
}

impl Cursor {
    /// As the API gives it out.
    pub fn encode(self) -> String {
        let mut bytes = self.sort.to_be_bytes().to_vec();
        bytes.extend_from_slice(self.id.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// What was given out; `None` where this was not.
    pub fn decode(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (sort, id) = bytes.split_first_chunk()?;
        Some(Self { sort: Millis::from_be_bytes(*sort), id: Uuid::from_slice(id).ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_back_and_others_refused() {
        let cursor = Cursor { sort: -5, id: Uuid::from_u128(7) };
        let text = cursor.encode();
        assert_eq!(Cursor::decode(&text), Some(cursor));
        for bad in ["", "x", "!!!!", &text[1..], &format!("{text}AAAA")] {
            assert_eq!(Cursor::decode(bad), None, "{bad}");
        }
    }
}
