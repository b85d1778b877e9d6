//! What the way from bytes to bytes has to agree with: the same by way of Avro's generic values. For tests alone.

use apache_avro::Schema;
use apache_avro::schema::{NamesRef, UnionSchema};
use apache_avro::types::Value;
use uuid::Uuid;

use super::super::types::ColumnType;
use crate::codec::json::Json;

/// The first and the last second of ClickHouse's calendar: of the years 0 and 9999. What lies beyond (the clock of a partition that
/// holds nothing yet) is moved there: ClickHouse would take it, and show a time of its own choosing.
const CALENDAR: [i64; 2] = [-62_167_219_200, 253_402_300_799];

/// How values of an Avro type are written to a column.
#[derive(Debug, PartialEq)]
pub enum Oracle {
    /// `string`, `bytes` or the symbol of an `enum`, as `String`.
    Text,
    /// `uuid`, or a `string` that spells one.
    Uuid,
    /// `boolean`, as `Bool` or `UInt8`.
    Boolean,
    /// A timestamp, as the ticks of a `DateTime64`: so many a second.
    Time {
        /// Ticks a second.
        ticks: i64,
    },
    /// `int`, `long` or a timestamp, as an integer of so many bytes.
    Integer {
        /// Width in bytes.
        bytes: usize,
        /// Whether it may be negative.
        signed: bool,
    },
    /// `float`, as `Float32`.
    Float32,
    /// `float` or `double`, as `Float64`.
    Float64,
    /// The symbol of an `enum`, as the number of the same name.
    Enum {
        /// Width in bytes.
        bytes: usize,
        /// The number of each symbol, in the order of the symbols.
        numbers: Vec<i16>,
    },
    /// A union of `null` and something, or something that is never null.
    Nullable(Box<Oracle>),
    /// `array`.
    Array(Box<Oracle>),
    /// `map`, its keys in order.
    Map(Box<Oracle>),
    /// `record`, as `Tuple`: the position of the field for each element, found by name.
    Tuple(Vec<(usize, Oracle)>),
    /// A union of records, as JSON: what it holds.
    Json,
    /// A union of records: the name of the one that it holds.
    Kind(Vec<String>),
}

/// A value that its column can't hold.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// A number is out of the column's range.
    #[error("{value} is out of the range of an integer of {bytes} bytes, signed: {signed}")]
    Range {
        /// The number.
        value: i64,
        /// Width in bytes.
        bytes: usize,
        /// Whether it may be negative.
        signed: bool,
    },
    /// A text is not a UUID.
    #[error("{0:?} is not a UUID")]
    NotUuid(String),
    /// There is no JSON for it.
    #[error("it can't be written as JSON: {0}")]
    NoJson(String),
    /// The value is not of the type that its schema announced.
    #[error("the value is not of the type that its schema announces")]
    Type,
}

impl Oracle {
    /// How values of `schema` are written to a column of type `column`; `names` resolves references in the
    /// schema. `None` if that can't be done for all values, save for their range.
    pub fn new(schema: &Schema, column: &ColumnType, names: &NamesRef<'_>) -> Option<Self> {
        let schema = referenced(schema, names)?;
        let converter = match (schema, column) {
            (Schema::Union(union), ColumnType::Nullable(inner)) => {
                Self::Nullable(Box::new(Self::new(nullable(union)?, inner, names)?))
            }
            (_, ColumnType::Nullable(inner)) => Self::Nullable(Box::new(Self::new(schema, inner, names)?)),
            (Schema::String | Schema::Bytes | Schema::Enum(_), ColumnType::String) => Self::Text,
            (Schema::Union(union), ColumnType::String) => {
                records(union, names)?;
                Self::Json
            }
            (Schema::Uuid(_) | Schema::String, ColumnType::Uuid) => Self::Uuid,
            (Schema::Boolean, ColumnType::Bool | ColumnType::Integer { bytes: 1, signed: false }) => {
                Self::Boolean
            }
            (
                Schema::Int
                | Schema::Long
                | Schema::TimestampMillis
                | Schema::TimestampMicros
                | Schema::TimestampNanos,
                &ColumnType::Integer { bytes, signed },
            ) => Self::Integer { bytes, signed },
            (Schema::TimestampMillis, ColumnType::DateTime64 { digits: 3 }) => Self::Time { ticks: 1_000 },
            (Schema::TimestampMicros, ColumnType::DateTime64 { digits: 6 }) => {
                Self::Time { ticks: 1_000_000 }
            }
            (Schema::TimestampNanos, ColumnType::DateTime64 { digits: 9 }) => {
                Self::Time { ticks: 1_000_000_000 }
            }
            (Schema::Float, ColumnType::Float32) => Self::Float32,
            (Schema::Float | Schema::Double, ColumnType::Float64) => Self::Float64,
            (Schema::Enum(symbols), ColumnType::Enum { bytes, values }) => {
                let number = |symbol: &String| {
                    values.iter().find(|(name, _)| name == symbol).map(|(_, number)| *number)
                };
                let numbers = symbols.symbols.iter().map(number).collect::<Option<_>>()?;
                Self::Enum { bytes: *bytes, numbers }
            }
            (Schema::Array(array), ColumnType::Array(items)) => {
                Self::Array(Box::new(Self::new(&array.items, items, names)?))
            }
            (Schema::Map(map), ColumnType::Map(key, value)) if **key == ColumnType::String => {
                Self::Map(Box::new(Self::new(&map.types, value, names)?))
            }
            (Schema::Record(record), ColumnType::Tuple(elements)) => {
                let element = |(name, column): &(String, ColumnType)| {
                    let position = *record.lookup.get(name)?;
                    Some((position, Self::new(&record.fields[position].schema, column, names)?))
                };
                Self::Tuple(elements.iter().map(element).collect::<Option<_>>()?)
            }
            _ => return None,
        };
        Some(converter)
    }

    /// How which record a union of records holds is written to a column of type `column`.
    pub fn kind(schema: &Schema, column: &ColumnType, names: &NamesRef<'_>) -> Option<Self> {
        match (referenced(schema, names)?, column) {
            (Schema::Union(union), ColumnType::String) => Some(Self::Kind(records(union, names)?)),
            _ => None,
        }
    }

    /// Appends `value` to `row`. After an error `row` holds a part of it.
    pub fn write(&self, value: &Value, row: &mut Vec<u8>) -> Result<(), ValueError> {
        match (self, value) {
            (Self::Nullable(inner), value) => {
                let value = if let Value::Union(_, value) = value { value } else { value };
                if *value == Value::Null {
                    row.push(1);
                } else {
                    row.push(0);
                    inner.write(value, row)?;
                }
            }
            (Self::Text, Value::String(text) | Value::Enum(_, text)) => write_bytes(text.as_bytes(), row),
            (Self::Text, Value::Bytes(bytes)) => write_bytes(bytes, row),
            (Self::Uuid, Value::Uuid(uuid)) => write_uuid(*uuid, row),
            (Self::Uuid, Value::String(text)) => {
                write_uuid(Uuid::parse_str(text).map_err(|_| ValueError::NotUuid(text.clone()))?, row);
            }
            (Self::Boolean, Value::Boolean(value)) => row.push(u8::from(*value)),
            (&Self::Integer { bytes, signed }, Value::Int(value)) => {
                write_integer(i64::from(*value), bytes, signed, row)?;
            }
            (
                &Self::Integer { bytes, signed },
                Value::Long(value)
                | Value::TimestampMillis(value)
                | Value::TimestampMicros(value)
                | Value::TimestampNanos(value),
            ) => write_integer(*value, bytes, signed, row)?,
            (
                Self::Time { ticks },
                Value::TimestampMillis(value) | Value::TimestampMicros(value) | Value::TimestampNanos(value),
            ) => {
                let [first, last] = CALENDAR.map(|second| second.saturating_mul(*ticks));
                row.extend_from_slice(&value.clamp(&first, &last).to_le_bytes());
            }
            (Self::Float32, Value::Float(value)) => row.extend_from_slice(&value.to_le_bytes()),
            (Self::Float64, Value::Float(value)) => row.extend_from_slice(&f64::from(*value).to_le_bytes()),
            (Self::Float64, Value::Double(value)) => row.extend_from_slice(&value.to_le_bytes()),
            (Self::Enum { bytes, numbers }, Value::Enum(index, _)) => {
                let number = numbers.get(*index as usize).ok_or(ValueError::Type)?;
                row.extend_from_slice(&number.to_le_bytes()[..*bytes]);
            }
            (Self::Array(items), Value::Array(values)) => {
                write_length(values.len(), row);
                for value in values {
                    items.write(value, row)?;
                }
            }
            (Self::Map(values), Value::Map(entries)) => {
                // In order, so that equal values are equal bytes.
                let mut entries: Vec<_> = entries.iter().collect();
                entries.sort_unstable_by_key(|(key, _)| *key);
                write_length(entries.len(), row);
                for (key, value) in entries {
                    write_bytes(key.as_bytes(), row);
                    values.write(value, row)?;
                }
            }
            (Self::Tuple(elements), Value::Record(fields)) => {
                for (position, converter) in elements {
                    let (_, value) = fields.get(*position).ok_or(ValueError::Type)?;
                    converter.write(value, row)?;
                }
            }
            (Self::Json, Value::Union(_, value)) => {
                let json = serde_json::to_vec(&Json(value))
                    .map_err(|error| ValueError::NoJson(error.to_string()))?;
                write_bytes(&json, row);
            }
            (Self::Kind(names), Value::Union(index, _)) => {
                write_bytes(names.get(*index as usize).ok_or(ValueError::Type)?.as_bytes(), row);
            }
            _ => return Err(ValueError::Type),
        }
        Ok(())
    }
}

/// The schema that a reference names, or the schema itself.
pub fn referenced<'a>(schema: &'a Schema, names: &NamesRef<'a>) -> Option<&'a Schema> {
    match schema {
        Schema::Ref { name } => names.get(name).copied(),
        schema => Some(schema),
    }
}

/// What a union of `null` and one other type holds when it isn't null.
fn nullable(union: &UnionSchema) -> Option<&Schema> {
    match union.variants() {
        [Schema::Null, inner] | [inner, Schema::Null] => Some(inner),
        _ => None,
    }
}

/// The names of the records of which a union is made, and of nothing else.
fn records(union: &UnionSchema, names: &NamesRef<'_>) -> Option<Vec<String>> {
    let name = |variant| match referenced(variant, names)? {
        Schema::Record(record) => Some(record.name.name().to_owned()),
        _ => None,
    };
    union.variants().iter().map(name).collect()
}

fn write_integer(value: i64, bytes: usize, signed: bool, row: &mut Vec<u8>) -> Result<(), ValueError> {
    let bits = 8 * bytes as u32 - u32::from(signed);
    let most = (1_i128 << bits) - 1;
    let least = if signed { -most - 1 } else { 0 };
    if !(least..=most).contains(&i128::from(value)) {
        return Err(ValueError::Range { value, bytes, signed });
    }
    // Two's complement, little endian: what is in range has all its meaning in the lower bytes.
    row.extend_from_slice(&value.to_le_bytes()[..bytes]);
    Ok(())
}

/// Two 64-bit halves, the high one first, each little endian.
fn write_uuid(uuid: Uuid, row: &mut Vec<u8>) {
    let (high, low) = uuid.as_u64_pair();
    row.extend_from_slice(&high.to_le_bytes());
    row.extend_from_slice(&low.to_le_bytes());
}

fn write_bytes(bytes: &[u8], row: &mut Vec<u8>) {
    write_length(bytes.len(), row);
    row.extend_from_slice(bytes);
}

/// LEB128, unsigned.
fn write_length(mut length: usize, row: &mut Vec<u8>) {
    while length >= 0x80 {
        row.push(length as u8 | 0x80);
        length >>= 7;
    }
    row.push(length as u8);
}
