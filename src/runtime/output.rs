//! Rows on their way to the log.

use crate::codec::{self, CodecError};
use crate::engine::rows::{DerivedRow, OperatorRow, ReadRow};

/// A row as the log takes it.
pub trait OutputRow {
    /// Its topic.
    fn topic(&self) -> &'static str;
    /// Its key there.
    fn key(&self) -> &[u8];
    /// Appends its value.
    ///
    /// # Errors
    /// Its topic has no schema, or it does not follow that: a fault of the program.
    fn encode(&self, buffer: &mut Vec<u8>) -> Result<(), CodecError>;
}

/// The value of an operator's row is Avro of the newest schema of its topic.
impl<R: OperatorRow> OutputRow for R {
    fn topic(&self) -> &'static str {
        OperatorRow::topic(self)
    }

    fn key(&self) -> &[u8] {
        OperatorRow::key(self)
    }

    fn encode(&self, buffer: &mut Vec<u8>) -> Result<(), CodecError> {
        codec::encode_newest(OperatorRow::topic(self), self, buffer)
    }
}

/// A row of the engine itself, which no operator emits.
pub(crate) struct Engine<'a, R>(pub &'a R);

impl<R: DerivedRow> OutputRow for Engine<'_, R> {
    fn topic(&self) -> &'static str {
        R::TOPIC
    }

    fn key(&self) -> &[u8] {
        self.0.key()
    }

    fn encode(&self, buffer: &mut Vec<u8>) -> Result<(), CodecError> {
        codec::encode_newest(R::TOPIC, self.0, buffer)
    }
}

/// The value of a row, as it lies in the log.
pub struct Value<'a>(pub Option<&'a [u8]>);

impl ReadRow for Value<'_> {
    type Error = CodecError;

    fn read<R: DerivedRow>(self) -> Result<R, CodecError> {
        codec::decode(R::TOPIC, self.0)
    }
}
