//! A row as its table has it, to the JSON that answers it: ClickHouse's RowBinary
//! (<https://clickhouse.com/docs/interfaces/formats/RowBinary>), read as it comes.

use std::collections::BTreeMap;

use serde::Serialize;
use uuid::Uuid;

use super::{FieldType, Resource};
use crate::codec::json::{text, time};
use crate::engine::Millis;

/// What [`Resource::columns`] begins with.
const HEAD: &str = "`id`, CAST(`version` AS UInt64)";

/// An answer of ClickHouse that is not what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    /// It ends within a row.
    #[error("the answer ends within a row")]
    Truncated,
    /// A time is none of the calendar: it can't be answered, whoever wrote it.
    #[error("the calendar has no time {0}")]
    Time(Millis),
    /// A text is not UTF-8.
    #[error("a text is not UTF-8")]
    NotUtf8,
    /// A value has no JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// What a row says of itself besides its JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredRow {
    /// Its id.
    pub id: Uuid,
    /// Its version.
    pub version: u64,
    /// The time that lists are sorted by.
    pub sort: Millis,
}

impl Resource {
    /// What is read of the table or its view, for [`stored`](Self::stored).
    pub fn columns(&self) -> String {
        let sort = format!("CAST(`{}` AS {})", self.declaration.sort, FieldType::Time.clickhouse());
        let fields = self
            .fields
            .iter()
            .map(|field| format!("CAST(`{}` AS {})", field.name, field.r#type.clickhouse()));
        [HEAD.to_owned(), sort].into_iter().chain(fields).collect::<Vec<_>>().join(", ")
    }

    /// Takes the next row from the front of `rest` and appends its JSON; `None` at the end.
    ///
    /// # Errors
    /// The bytes are no rows of [`columns`](Self::columns).
    pub fn stored(&self, rest: &mut &[u8], json: &mut Vec<u8>) -> Result<Option<StoredRow>, StoredError> {
        if rest.is_empty() {
            return Ok(None);
        }
        let (high, low) = (u64::from_le_bytes(take(rest)?), u64::from_le_bytes(take(rest)?));
        let id = Uuid::from_u64_pair(high, low);
        let version = u64::from_le_bytes(take(rest)?);
        let sort = i64::from_le_bytes(take(rest)?);
        json.push(b'{');
        for (place, field) in self.fields.iter().enumerate() {
            if place > 0 {
                json.push(b',');
            }
            json.push(b'"');
            json.extend_from_slice(field.name.as_bytes());
            json.extend_from_slice(b"\":");
            if field.is_version() {
                json.push(b'"');
                field.r#type.append(rest, json)?;
                json.push(b'"');
            } else {
                field.r#type.append(rest, json)?;
            }
        }
        json.push(b'}');
        Ok(Some(StoredRow { id, version, sort }))
    }
}

impl FieldType {
    /// Takes a value of ClickHouse's type from the front of `rest` and appends its JSON.
    ///
    /// # Errors
    /// Where the bytes are not a value of that type.
    pub fn append(&self, rest: &mut &[u8], json: &mut Vec<u8>) -> Result<(), StoredError> {
        match self {
            Self::Boolean => serialize(&(take::<1>(rest)? != [0]), json),
            Self::Integer => serialize(&i64::from_le_bytes(take(rest)?), json),
            Self::Float => serialize(&f32::from_le_bytes(take(rest)?), json),
            Self::Double => serialize(&f64::from_le_bytes(take(rest)?), json),
            Self::Text | Self::Uuid | Self::Enum(_) => serialize(take_text(rest)?, json),
            Self::Bytes => serialize(&text(take_bytes(rest)?), json),
            Self::Time => {
                let millis = i64::from_le_bytes(take(rest)?);
                serialize(&time(millis).ok_or(StoredError::Time(millis))?, json)
            }
            Self::Nullable(inner) => match take::<1>(rest)? {
                [0] => inner.append(rest, json),
                _ => serialize(&(), json),
            },
            Self::Array(items) => {
                json.push(b'[');
                for place in 0..take_length(rest)? {
                    if place > 0 {
                        json.push(b',');
                    }
                    items.append(rest, json)?;
                }
                json.push(b']');
                Ok(())
            }
            Self::Map(values) => {
                // In order, and of equal keys the last counts: as it is read from the log.
                let mut entries = BTreeMap::new();
                for _ in 0..take_length(rest)? {
                    let (key, mut value) = (take_text(rest)?, Vec::new());
                    values.append(rest, &mut value)?;
                    entries.insert(key, value);
                }
                json.push(b'{');
                for (place, (key, value)) in entries.into_iter().enumerate() {
                    if place > 0 {
                        json.push(b',');
                    }
                    serialize(key, json)?;
                    json.push(b':');
                    json.extend_from_slice(&value);
                }
                json.push(b'}');
                Ok(())
            }
            Self::Record(_, fields) => {
                json.push(b'{');
                for (place, field) in fields.iter().enumerate() {
                    if place > 0 {
                        json.push(b',');
                    }
                    serialize(field.name, json)?;
                    json.push(b':');
                    field.r#type.append(rest, json)?;
                }
                json.push(b'}');
                Ok(())
            }
        }
    }
}

fn serialize<T: Serialize + ?Sized>(value: &T, json: &mut Vec<u8>) -> Result<(), StoredError> {
    Ok(serde_json::to_writer(json, value)?)
}

/// Takes so many bytes.
///
/// # Errors
/// There are fewer.
pub fn take<const LENGTH: usize>(rest: &mut &[u8]) -> Result<[u8; LENGTH], StoredError> {
    let (taken, left) = rest.split_first_chunk().ok_or(StoredError::Truncated)?;
    *rest = left;
    Ok(*taken)
}

/// LEB128, unsigned.
fn take_length(rest: &mut &[u8]) -> Result<usize, StoredError> {
    let mut length = 0;
    for shift in (0..usize::BITS).step_by(7) {
        let [byte] = take(rest)?;
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(length);
        }
    }
    Err(StoredError::Truncated)
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], StoredError> {
    let length = take_length(rest)?;
    let (taken, left) = rest.split_at_checked(length).ok_or(StoredError::Truncated)?;
    *rest = left;
    Ok(taken)
}

/// Takes a `String`.
///
/// # Errors
/// Where the bytes are not a value of that type.
pub fn take_text<'a>(rest: &mut &'a [u8]) -> Result<&'a str, StoredError> {
    str::from_utf8(take_bytes(rest)?).map_err(|_| StoredError::NotUtf8)
}
