//! What a partition has to send, kept until it is committed.

use super::output::OutputRow;
use crate::codec::CodecError;

/// Where a record goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// The topic of a row.
    Rows(&'static str),
    /// The changelog's partition of the same number.
    Changelog {
        /// It is the beginning of a checkpoint, whose offset is to be known.
        is_begin: bool,
    },
}

struct Entry {
    target: Target,
    key: usize,
    value: usize,
}

/// The rows and changelog records of a partition that no transaction has committed yet, encoded, in their order. Where a
/// transaction fails they are sent again, not made again (I5).
#[derive(Default)]
pub(super) struct Outbox {
    entries: Vec<Entry>,
    bytes: Vec<u8>,
    /// So many of the entries, and of the bytes, have been handed to the open transaction.
    sent: (usize, usize),
    /// How many of the entries are rows.
    pub rows: usize,
}

impl Outbox {
    /// Adds a row.
    pub fn push_row<R: OutputRow>(&mut self, row: &R) -> Result<(), CodecError> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(row.key());
        let key = self.bytes.len() - start;
        if let Err(error) = row.encode(&mut self.bytes) {
            self.bytes.truncate(start);
            return Err(error);
        }
        let value = self.bytes.len() - start - key;
        self.entries.push(Entry { target: Target::Rows(row.topic()), key, value });
        self.rows += 1;
        Ok(())
    }

    /// Adds a record of the changelog.
    pub fn push_change(&mut self, is_begin: bool, record: &[u8]) {
        self.bytes.extend_from_slice(record);
        self.entries.push(Entry { target: Target::Changelog { is_begin }, key: 0, value: record.len() });
    }

    /// Hands on what has not been handed on yet: where to, key and value.
    pub fn send<E>(&mut self, mut each: impl FnMut(Target, &[u8], &[u8]) -> Result<(), E>) -> Result<(), E> {
        while let Some(Entry { target, key, value }) = self.entries.get(self.sent.0) {
            let start = self.sent.1;
            let (key, value) = self.bytes[start..start + key + value].split_at(*key);
            each(*target, key, value)?;
            self.sent = (self.sent.0 + 1, start + key.len() + value.len());
        }
        Ok(())
    }

    /// The transaction that it was handed to has failed: all of it goes into the next one.
    pub fn send_again(&mut self) {
        self.sent = (0, 0);
    }

    /// All of it is committed.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.bytes.clear();
        (self.sent, self.rows) = ((0, 0), 0);
    }

    /// How many bytes it holds.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i5_what_was_sent_is_sent_again_in_its_order_until_it_is_committed() {
        let mut outbox = Outbox::default();
        let mut sent = Vec::new();
        let mut send = |outbox: &mut Outbox, failing: usize| {
            let result = outbox.send(|target, _, value| {
                if sent.len() == failing {
                    return Err(());
                }
                sent.push((target, value.to_vec()));
                Ok(())
            });
            (result, sent.len())
        };
        outbox.push_change(false, b"one");
        outbox.push_change(true, b"two");
        assert_eq!(send(&mut outbox, 1), (Err(()), 1));
        assert_eq!(send(&mut outbox, 9), (Ok(()), 2));
        outbox.push_change(false, b"three");
        outbox.send_again();
        assert_eq!(send(&mut outbox, 9), (Ok(()), 5));
        outbox.clear();
        outbox.push_change(false, b"four");
        assert_eq!(send(&mut outbox, 9), (Ok(()), 6));
        let texts: Vec<_> = sent.iter().map(|(_, value)| String::from_utf8_lossy(value)).collect();
        assert_eq!(texts, ["one", "two", "one", "two", "three", "four"]);
    }
}
