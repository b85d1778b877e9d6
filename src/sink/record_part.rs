//! What a record of the log is besides its value, as far as columns can hold it.

use rdkafka::message::Message;

use super::row_binary::{ValueError, write_bytes, write_integer, write_time};
use super::types::ColumnType;

/// A part of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordPart {
    /// `log_partition`: the partition in which it lies.
    Partition,
    /// `log_offset`: its offset there.
    Offset,
    /// `log_append_time`: when it was appended.
    AppendTime,
    /// `log_key`: its key; null where it has none.
    Key,
}

impl RecordPart {
    /// The part that a column of this name holds.
    pub fn named(column: &str) -> Option<Self> {
        match column {
            "log_partition" => Some(Self::Partition),
            "log_offset" => Some(Self::Offset),
            "log_append_time" => Some(Self::AppendTime),
            "log_key" => Some(Self::Key),
            _ => None,
        }
    }

    /// Its type, as Avro would name it.
    pub fn avro_type(self) -> &'static str {
        match self {
            Self::Partition => "int",
            Self::Offset => "long",
            Self::AppendTime => "timestamp-millis",
            Self::Key => "null or bytes",
        }
    }
}

/// How a part is written to a column.
#[derive(Debug, PartialEq, Eq)]
pub enum PartConverter {
    /// A number, as an integer of so many bytes.
    Integer {
        /// The part.
        part: RecordPart,
        /// Width in bytes.
        bytes: usize,
        /// Whether it may be negative.
        signed: bool,
    },
    /// When it was appended, as `DateTime64(3)`.
    Time,
    /// Its key, as `Nullable(String)`.
    Key,
}

impl PartConverter {
    /// How `part` is written to a column of type `column`; `None` if that can't be done.
    pub fn new(part: RecordPart, column: &ColumnType) -> Option<Self> {
        match (part, column) {
            (RecordPart::Key, ColumnType::Nullable(inner)) if **inner == ColumnType::String => {
                Some(Self::Key)
            }
            (RecordPart::Key, _) => None,
            (RecordPart::AppendTime, ColumnType::DateTime64 { digits: 3 }) => Some(Self::Time),
            (part, &ColumnType::Integer { bytes, signed }) => Some(Self::Integer { part, bytes, signed }),
            _ => None,
        }
    }

    /// Appends the part of `record` to `row`.
    ///
    /// # Errors
    /// The column can't hold it.
    pub fn write(&self, record: &impl Message, row: &mut Vec<u8>) -> Result<(), ValueError> {
        let time = || record.timestamp().to_millis().unwrap_or_default();
        match *self {
            Self::Integer { part, bytes, signed } => {
                let value = match part {
                    RecordPart::Partition => i64::from(record.partition()),
                    RecordPart::Offset => record.offset(),
                    RecordPart::AppendTime | RecordPart::Key => time(),
                };
                write_integer(value, bytes, signed, row)?;
            }
            Self::Time => write_time(time(), 1_000, row),
            Self::Key => match record.key() {
                None => row.push(1),
                Some(key) => {
                    row.push(0);
                    write_bytes(key, row);
                }
            },
        }
        Ok(())
    }
}
